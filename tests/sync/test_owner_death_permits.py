"""What becomes of a semaphore's permits when the process that held them ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.sync.children import Child, forked, hold, killed_while
from tests.sync.threads import OtherThread, until_parked

_RECLAIMING = {
    "BoundedSemaphore": treadle.BoundedSemaphore,
    "Semaphore": partial(treadle.Semaphore, reclaim=True),
}
_FORGETFUL = {
    "BoundedSemaphore": partial(treadle.BoundedSemaphore, reclaim=False),
    "Semaphore": treadle.Semaphore,
}
reclaiming = pytest.mark.parametrize("of", _RECLAIMING.values(), ids=_RECLAIMING)
forgetful = pytest.mark.parametrize("of", _FORGETFUL.values(), ids=_FORGETFUL)

_WAYS: dict[str, Callable[[Any], Any]] = {
    "acquire": lambda semaphore: semaphore.acquire(),
    "try": lambda semaphore: semaphore.acquire(False),
    "with": lambda semaphore: semaphore.__enter__(),
    "timeout": lambda semaphore: semaphore.acquire(timeout=60),
}


@reclaiming
@pytest.mark.parametrize("ask", _WAYS.values(), ids=_WAYS)
def test_the_permits_of_the_dead_come_back_with_a_warning(
    of: Callable[..., Any], ask: Callable[[Any], Any]
) -> None:
    semaphore = of(3, label="connections")
    assert semaphore.acquire() is True
    pid = killed_while(lambda: [semaphore.acquire() for _ in range(2)])
    assert semaphore.get_value() == 0
    expected = rf"semaphore 'connections': pid {pid} \(thread MainThread\) ended holding permits"
    with pytest.warns(treadle.OwnerDiedWarning, match=expected) as warned:
        assert ask(semaphore) is True
    assert len(warned) == 1
    assert semaphore.get_value() == 1
    assert semaphore.acquire(False) is True
    assert semaphore.acquire(False) is False
    semaphore.release(3)
    assert semaphore.get_value() == 3


@reclaiming
def test_who_waits_when_it_happens_gets_one(of: Callable[..., Any], other: OtherThread) -> None:
    semaphore = of(2)
    with forked(hold, lambda: [semaphore.acquire() for _ in range(2)]) as owner:
        owner.expect("holding")
        with pytest.warns(treadle.OwnerDiedWarning, match=f"pid {owner.pid} ") as warned:
            waiters = [OtherThread(), OtherThread()]
            asking = [waiter.start(semaphore.acquire) for waiter in waiters]
            for waiter in waiters:
                until_parked(semaphore, waiter.native_id)
            owner.kill()
            assert [a.result() for a in asking] == [True, True]
        assert len(warned) == 1
    assert semaphore.get_value() == 0
    for waiter in waiters:
        waiter.end()


@reclaiming
def test_each_of_the_dead_is_named(of: Callable[..., Any]) -> None:
    semaphore = of(3)
    dead = [killed_while(semaphore.acquire) for _ in range(3)]
    named = []
    for _ in range(3):
        with pytest.warns(treadle.OwnerDiedWarning) as warned:
            assert semaphore.acquire() is True
        named += [pid for pid in dead for w in warned if f"pid {pid} " in str(w.message)]
    assert sorted(named) == sorted(dead)
    assert semaphore.acquire(False) is False


@reclaiming
def test_only_what_the_dead_had_left_comes_back(of: Callable[..., Any]) -> None:
    semaphore = of(4)
    with forked(_acquire_and_release_some, semaphore) as child:
        child.expect(1)  # permits that it holds
        semaphore.release()  # on its behalf
        assert semaphore.get_value() == 4
        child.kill()
    for _ in range(4):
        assert semaphore.acquire() is True  # and nobody is warned
    assert semaphore.acquire(timeout=0.3) is False  # long enough to look for the dead
    assert semaphore.get_value() == 0


@reclaiming
def test_while_there_are_permits_the_dead_are_let_rest(of: Callable[..., Any]) -> None:
    semaphore = of(2)
    killed_while(semaphore.acquire)
    for _ in range(3):
        with semaphore:
            pass
    assert semaphore.get_value() == 1


@reclaiming
def test_a_process_that_ends_by_itself_is_dead_too(of: Callable[..., Any]) -> None:
    semaphore = of(1)
    with forked(lambda line: semaphore.acquire()) as child:
        child.until_zombie()
        with pytest.warns(treadle.OwnerDiedWarning, match=f"pid {child.pid} "):
            assert semaphore.acquire(timeout=60) is True


@reclaiming
def test_a_thread_that_ends_holding_a_permit_leaves_it_to_its_process(
    of: Callable[..., Any],
) -> None:
    semaphore = of(1)
    thread = OtherThread()
    thread.do(semaphore.acquire)
    thread.end()
    assert semaphore.acquire(timeout=0.3) is False
    semaphore.release()
    assert semaphore.acquire(False) is True


@reclaiming
def test_a_warning_that_is_an_error_leaves_the_permit_free(of: Callable[..., Any]) -> None:
    semaphore = of(1)
    pid = killed_while(semaphore.acquire)
    with pytest.raises(treadle.OwnerDiedWarning, match=f"pid {pid} "):  # as pytest is configured
        semaphore.acquire()
    assert semaphore.get_value() == 1


@reclaiming
def test_a_bound_holds_after_a_death(of: Callable[..., Any]) -> None:
    semaphore = of(1)
    killed_while(semaphore.acquire)
    with pytest.warns(treadle.OwnerDiedWarning):
        semaphore.acquire()
    semaphore.release()
    if semaphore.statistics().bound is not None:
        with pytest.raises(ValueError, match="too many times"):
            semaphore.release()
    assert semaphore.get_value() == 1


@forgetful
def test_permits_that_may_be_signals_do_not_come_back(
    of: Callable[..., Any], other: OtherThread
) -> None:
    semaphore = of(1)
    killed_while(semaphore.acquire)
    assert semaphore.acquire(False) is False
    assert semaphore.acquire(timeout=0.3) is False  # long enough to look for the dead
    assert semaphore.get_value() == 0
    waiting = other.start(semaphore.acquire)
    until_parked(semaphore, other.native_id)
    semaphore.release()
    assert waiting.result() is True


@pytest.mark.parametrize("of", [*_RECLAIMING.values(), *_FORGETFUL.values()])
def test_who_dies_waiting_harms_nobody(of: Callable[..., Any], other: OtherThread) -> None:
    semaphore = of(1)
    semaphore.acquire()
    children = [Child(_acquire, semaphore) for _ in range(3)]
    try:
        while semaphore.statistics().waiting < 3:
            pass
        asking = other.start(semaphore.acquire)
        until_parked(semaphore, other.native_id)
        for child in children:
            child.kill()
    finally:
        for child in children:
            child.dispose()
    semaphore.release()
    assert asking.result() is True


@reclaiming
def test_many_deaths_one_after_the_other(of: Callable[..., Any]) -> None:
    """The places of the dead in the book of holders are used again."""
    semaphore = of(1)
    for _ in range(15):
        pid = killed_while(semaphore.acquire)
        with pytest.warns(treadle.OwnerDiedWarning, match=f"pid {pid} "):
            assert semaphore.acquire() is True
        semaphore.release()
        assert semaphore.get_value() == 1


def _acquire(line: Connection, semaphore: Any) -> None:
    semaphore.acquire()


def _acquire_and_release_some(line: Connection, semaphore: Any) -> None:
    for _ in range(3):
        semaphore.acquire()
    semaphore.release(2)
    line.send(1)
    line.recv()


def test_polling_finds_the_permits_of_all_the_dead_at_once() -> None:
    """A look that found somebody dead is followed by another with the next call, however soon."""
    permits = treadle.BoundedSemaphore(5)
    for _ in range(5):
        killed_while(permits.acquire)
    with pytest.warns(treadle.OwnerDiedWarning):
        had = [permits.acquire(blocking=False) for _ in range(6)]
    assert had == [True] * 5 + [False]
