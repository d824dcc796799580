"""A lock held by a dead process is held for ever (python/cpython#88304)."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from typing import Any

import pytest

import treadle
from tests.sync.children import killed_while

LOCKS = ["Lock", "RLock", "BoundedSemaphore"]


@pytest.mark.parametrize("name", LOCKS)
def test_the_standard_library_waits_for_ever(name: str) -> None:
    """For as long as one cares to wait, that is; nobody is told why."""
    lock = getattr(multiprocessing.get_context("fork"), name)()
    killed_while(lock.acquire)
    assert lock.acquire(timeout=0.2) is False


@pytest.mark.parametrize("of", [treadle.Lock, treadle.RLock])
def test_treadle_tells_who_died_and_lets_the_next_one_repair(of: Callable[..., Any]) -> None:
    lock = of(label="jobs")
    pid = killed_while(lock.acquire)
    expected = rf"lock 'jobs' was held by pid {pid} .*; call recover\(\) before use"
    with pytest.raises(treadle.OwnerDiedError, match=expected):
        lock.acquire()
    with lock.recover() as needed:
        assert needed is True
    with lock:
        assert lock.owner.pid == os.getpid()


@pytest.mark.parametrize("of", [treadle.Lock, treadle.RLock])
def test_treadle_goes_on_by_itself_where_it_is_told_to(of: Callable[..., Any]) -> None:
    lock = of(on_owner_death="recover")
    pid = killed_while(lock.acquire)
    with pytest.warns(treadle.OwnerDiedWarning, match=f"pid {pid} "):
        assert lock.acquire() is True


def test_treadle_gives_permits_back() -> None:
    semaphore = treadle.BoundedSemaphore(1)
    pid = killed_while(semaphore.acquire)
    with pytest.warns(treadle.OwnerDiedWarning, match=f"pid {pid} "):
        assert semaphore.acquire() is True
