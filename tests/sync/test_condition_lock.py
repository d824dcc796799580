"""Which locks a condition takes."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from typing import Any

import pytest

import treadle
from tests.sync.kinds import both_storages
from treadle import threading as drop_in


@pytest.mark.parametrize("of", [treadle.Lock, treadle.RLock])
def test_a_shared_condition_takes_no_private_lock(of: Callable[..., Any]) -> None:
    lock = of(shared=False, label="mine")
    with pytest.raises(ValueError, match="'mine' is private"):
        treadle.Condition(lock)
    with treadle.Condition(lock, shared=False) as held:
        assert held


_FOREIGN = [threading.Lock, threading.RLock, multiprocessing.Lock, multiprocessing.RLock]


@pytest.mark.parametrize("of", _FOREIGN)
def test_a_shared_condition_takes_no_lock_of_another_library(of: Callable[..., Any]) -> None:
    for options in ({}, {"shared": True}):
        with pytest.raises(ValueError, match=r"another library's; give it a treadle\.Lock .* or"):
            treadle.Condition(of(), **options)


@pytest.mark.parametrize("of", _FOREIGN[:3])  # an RLock of multiprocessing fails threading's, too
def test_a_private_condition_takes_any_lock(of: Callable[..., Any]) -> None:
    for condition in (treadle.Condition(of(), shared=False), drop_in.Condition(of())):
        assert not condition.shared
        with condition:
            assert not condition.wait(timeout=0.001)
        with pytest.raises(RuntimeError):
            condition.notify()


def test_what_acquires_and_releases_is_a_lock() -> None:
    assert treadle.Condition(treadle.Semaphore(1)).acquire()
    with pytest.raises(ValueError, match="'mine' is private"):
        treadle.Condition(treadle.Semaphore(1, shared=False, label="mine"))


@both_storages
@pytest.mark.parametrize("it", ["x", treadle.RWLock(), treadle.Event(), object()])
def test_what_is_no_lock_is_refused_and_the_error_says_what_is_taken(it: Any, shared: bool) -> None:
    accepted = r"must be a treadle\.Lock or treadle\.RLock, not .*acquire\(\) and release\(\)"
    with pytest.raises(TypeError, match=accepted):
        treadle.Condition(it, shared=shared)


@pytest.mark.parametrize("name", ["acquire", "release"])
def test_the_lock_s_methods_are_the_class_s_too(name: str) -> None:
    """For ``help`` and editors; an instance has the lock's own, which cost a call less."""
    method = getattr(treadle.Condition, name)
    assert method.__doc__
    lock = treadle.Lock()
    condition = treadle.Condition(lock)
    assert getattr(condition, name) == getattr(lock, name)
    if name == "release":
        treadle.Condition.acquire(condition)
    method(condition)
    assert lock.locked() is (name == "acquire")
