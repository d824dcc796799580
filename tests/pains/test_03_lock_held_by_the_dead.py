"""A lock held by a dead process is held for ever (python/cpython#88304)."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from typing import Any

import pytest

import treadle
from tests.names.conftest import Start as StartProgram
from tests.pains.parties import PARTIES, begin, call, hold
from tests.sync.children import forked, killed_while

LOCKS = ["Lock", "RLock", "BoundedSemaphore"]

each_holder = pytest.mark.parametrize("holder", PARTIES, ids="held by a {}".format)
each_asker = pytest.mark.parametrize(
    "asker",
    [
        pytest.param("thread", id="for a thread"),
        # Its loop sleeps until the reactor looks for deaths, which may take half a second.
        pytest.param("task", id="for a task", marks=pytest.mark.slow),
    ],
)


@pytest.mark.parametrize("name", LOCKS)
def test_the_standard_library_waits_for_ever(name: str) -> None:
    """For as long as one cares to wait, that is; nobody is told why."""
    lock = getattr(multiprocessing.get_context("fork"), name)()
    killed_while(lock.acquire)
    assert lock.acquire(timeout=0.2) is False


# ---- Of all kinds of locks: who held it, and who asks for it


def killed_holding(holder: str, lock: Any, method: str) -> int:
    with forked(hold, holder, lock, method) as child:
        child.expect("holding")
        child.kill()
    return child.pid


# The class, the call by which the dead had it, and the call of who asks.
each_lock = pytest.mark.parametrize(
    ("of", "taken", "asked"),
    [
        pytest.param(treadle.Lock, "acquire", "acquire", id="Lock"),
        pytest.param(treadle.RLock, "acquire", "acquire", id="RLock"),
        pytest.param(treadle.RWLock, "acquire_write", "acquire_read", id="RWLock to read"),
        pytest.param(treadle.RWLock, "acquire_write", "acquire_write", id="RWLock to write"),
    ],
)


@each_asker
@each_holder
@each_lock
def test_treadle_tells_who_died_and_lets_the_next_one_repair(
    of: Callable[..., Any], taken: str, asked: str, holder: str, asker: str
) -> None:
    lock = of(label="jobs")
    pid = killed_holding(holder, lock, taken)
    expected = rf"lock 'jobs' was held by pid {pid} .*; call recover\(\) before use"
    with pytest.raises(treadle.OwnerDiedError, match=expected):
        call(asker, lock, asked)
    with lock.recover() as needed:
        assert needed is True
        assert lock.owner.pid == os.getpid()
    assert call(asker, lock, asked) is True


@each_asker
@each_holder
@each_lock
def test_treadle_tells_those_who_wait_already(
    of: Callable[..., Any], taken: str, asked: str, holder: str, asker: str
) -> None:
    lock = of(label="jobs")
    with forked(hold, holder, lock, taken) as child:
        child.expect("holding")
        asking = begin(asker, lock, asked)
        child.kill()
        with pytest.raises(treadle.OwnerDiedError, match=f"'jobs' was held by pid {child.pid} "):
            asking.result()
    with lock.recover() as needed:
        assert needed is True


@each_asker
@each_holder
@each_lock
def test_treadle_goes_on_by_itself_where_it_is_told_to(
    of: Callable[..., Any], taken: str, asked: str, holder: str, asker: str
) -> None:
    lock = of(on_owner_death="recover")
    pid = killed_holding(holder, lock, taken)
    with pytest.warns(treadle.OwnerDiedWarning, match=f"pid {pid} "):
        assert call(asker, lock, asked) is True


# ---- What the dead had together with others


@each_asker
@each_holder
def test_treadle_forgets_a_reader_that_died(holder: str, asker: str) -> None:
    """It has changed nothing, so there is nothing to repair."""
    lock = treadle.RWLock()
    with forked(hold, holder, lock, "acquire_read") as child:
        child.expect("holding")
        writing = begin(asker, lock, "acquire_write")
        child.kill()
        assert writing.result() is True


@each_asker
@each_holder
def test_treadle_gives_permits_back(holder: str, asker: str) -> None:
    semaphore = treadle.BoundedSemaphore(1)
    with forked(hold, holder, semaphore) as child:
        child.expect("holding")
        asking = begin(asker, semaphore, "acquire")
        with pytest.warns(treadle.OwnerDiedWarning, match=f"pid {child.pid} "):
            child.kill()
            assert asking.result() is True


# ---- Programs that were started separately


@pytest.mark.slow
@pytest.mark.parametrize(("holder", "asker"), [PARTIES, PARTIES[::-1]])
@each_lock
def test_treadle_tells_an_unrelated_program_that_uses_the_name(
    start_program: StartProgram,
    of: Callable[..., Any],
    taken: str,
    asked: str,
    holder: str,
    asker: str,
) -> None:
    doomed, waiter = start_program(), start_program()
    for program in doomed, waiter:
        program.tell("from tests.pains import parties")
        program.tell(f"it = treadle.{of.__name__}(name='jobs')")
    doomed.begin(f"parties.hold(parties.Stdio(), {holder!r}, it, {taken!r})")
    assert doomed.answer() == "holding"
    waiter.begin(f"parties.wait(parties.Stdio(), {asker!r}, it, {asked!r})")
    assert waiter.answer() == "waiting"
    doomed.kill()
    expected = f"OwnerDiedError: lock 'jobs' was held by pid {doomed.pid} "
    assert waiter.answer().startswith(expected)

    # Its successor meets the lock at the same name, and repairs what it guards.
    successor = start_program()
    successor.tell(f"it = treadle.{of.__name__}(name='jobs')")
    assert successor.tell(f"it.{asked}()").startswith(expected)
    successor.tell("with it.recover() as needed: pass")
    assert successor.tell("needed") is True
    assert waiter.tell(f"it.{asked}()") is True
