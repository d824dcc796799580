"""Condition."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.sync.children import Child, forked
from tests.sync.kinds import both_storages
from tests.sync.threads import OtherThread, until, until_parked

pytestmark = both_storages


class Waiters:
    """Threads that wait for a condition, one after the other; who was notified says so."""

    def __init__(self, condition: treadle.Condition, count: int) -> None:
        self.condition = condition
        self.notified: list[int] = []
        self.threads: list[OtherThread] = []
        self.waits: list[Any] = []
        for number in range(count):
            thread = OtherThread()
            self.threads.append(thread)
            self.waits.append(thread.start(self._wait, number))
            until_parked(condition, thread.native_id)

    def _wait(self, number: int) -> None:
        with self.condition:
            assert self.condition.wait() is True
            self.notified.append(number)

    def until_notified(self, numbers: set[int]) -> None:
        """Wait until these are, and see that nobody else is."""
        for number in numbers:
            self.waits[number].result()
        assert set(self.notified) == numbers
        assert self.condition.statistics().waiting == len(self.waits) - len(numbers)

    def end(self) -> None:
        for thread in self.threads:
            thread.end()


def test_notify_wakes_who_has_waited_longest(shared: bool) -> None:
    condition = treadle.Condition(shared=shared)
    waiters = Waiters(condition, 5)
    with condition:
        condition.notify()
    waiters.until_notified({0})
    with condition:
        condition.notify(n=2)
    waiters.until_notified({0, 1, 2})
    with condition:
        condition.notify(0)
        condition.notify(-1)
    waiters.until_notified({0, 1, 2})
    with condition:
        condition.notify(100)
    waiters.until_notified({0, 1, 2, 3, 4})
    waiters.end()


def test_notify_all_wakes_all(shared: bool) -> None:
    condition = treadle.Condition(shared=shared)
    waiters = Waiters(condition, 40)  # more than there is room for at first
    with condition:
        condition.notify_all()
    waiters.until_notified(set(range(40)))
    waiters.end()


def test_a_notification_for_nobody_is_not_kept(shared: bool) -> None:
    condition = treadle.Condition(shared=shared)
    with condition:
        condition.notify()
        condition.notify_all()
        assert condition.wait(timeout=0.01) is False


def test_who_gave_up_waiting_is_not_notified(shared: bool, other: OtherThread) -> None:
    condition = treadle.Condition(shared=shared)
    with condition:
        assert condition.wait(timeout=0) is False
        assert condition.wait(timeout=0.01) is False
    waiters = Waiters(condition, 1)
    with condition:
        condition.notify()
    waiters.until_notified({0})
    waiters.end()


def test_waits_that_run_out_beside_a_sleeper_leave_nothing_behind(
    shared: bool, other: OtherThread
) -> None:
    """A table of waiters whose oldest one stays does not fill up with those who came and went."""
    condition = treadle.Condition(shared=shared)
    waiters = Waiters(condition, 1)
    with condition:
        for _ in range(2000):
            assert condition.wait(timeout=0) is False
        assert condition.statistics().waiting < 100
        condition.notify()
    waiters.until_notified({0})
    waiters.end()


def test_a_wait_releases_the_lock_and_takes_it_again(shared: bool, other: OtherThread) -> None:
    condition = treadle.Condition(shared=shared)

    def notify() -> str:
        with condition:
            condition.notify()
            # Who is notified does not go on before the lock is free.
            until(lambda: condition.statistics().waiting == 0)
            return "notified"

    with condition:
        notifying = other.start(notify)
        assert condition.wait() is True
        assert notifying.result() == "notified"
        assert other.do(condition.acquire, False) is False


def test_a_wait_releases_an_rlock_altogether_and_restores_its_depth(
    shared: bool, other: OtherThread
) -> None:
    lock = treadle.RLock(shared=shared)
    condition = treadle.Condition(lock, shared=shared)

    def notify() -> None:
        with condition:
            condition.notify()

    with lock, lock, lock:
        notifying = other.start(notify)
        assert condition.wait() is True
        notifying.result()
        assert lock.statistics().recursion == 3
        assert condition.wait(timeout=0.01) is False
        assert lock.statistics().recursion == 3
    assert not lock.locked()


@pytest.mark.parametrize("of", [treadle.Lock, treadle.RLock, threading.Lock, threading.RLock])
def test_its_lock_may_be_any(of: Callable[..., Any], shared: bool, other: OtherThread) -> None:
    foreign = of in (threading.Lock, threading.RLock)
    if foreign and shared:
        pytest.skip("refused: see test_condition_lock.py")
    lock = of() if foreign else of(shared=shared)
    condition = treadle.Condition(lock, shared=shared)
    for call in (condition.wait, condition.notify, condition.notify_all):
        with pytest.raises(RuntimeError, match="un-acquired"):
            call()

    def notify() -> None:
        with condition:
            condition.notify()

    with condition:
        notifying = other.start(notify)
        assert condition.wait() is True
        assert other.do(lock.acquire, False) is False
    notifying.result()
    assert lock.acquire(False) is True
    lock.release()


def test_without_the_lock_it_refuses(shared: bool, other: OtherThread) -> None:
    condition = treadle.Condition(shared=shared)
    for call in (condition.wait, condition.notify, condition.notify_all):
        with pytest.raises(RuntimeError, match="un-acquired"):
            call()
        with condition, pytest.raises(RuntimeError, match="un-acquired"):
            other.do(call)
    with pytest.raises(RuntimeError, match="un-acquired"):
        condition.wait_for(lambda: False)


def test_wait_for_returns_what_the_predicate_says(shared: bool, other: OtherThread) -> None:
    condition = treadle.Condition(shared=shared)
    stock: list[str] = []

    def supply() -> None:
        for item in "ab":
            with condition:
                stock.append(item)
                condition.notify()

    with condition:
        assert condition.wait_for(lambda: "at once") == "at once"
        supplying = other.start(supply)
        assert condition.wait_for(lambda: len(stock) == 2 and stock) == ["a", "b"]
    supplying.result()


def test_wait_for_has_one_deadline_for_all_its_waits(shared: bool, other: OtherThread) -> None:
    condition = treadle.Condition(shared=shared)
    late = False

    def notify_until_late() -> None:
        while not late:
            with condition:
                condition.notify()

    notifying = other.start(notify_until_late)
    began = time.monotonic()
    with condition:
        assert condition.wait_for(lambda: 0, timeout=0.05) == 0
    late = True
    assert time.monotonic() - began >= 0.05
    notifying.result()


def test_an_error_of_the_predicate_leaves_the_lock_held(shared: bool, other: OtherThread) -> None:
    condition = treadle.Condition(shared=shared)
    with condition:
        with pytest.raises(ZeroDivisionError):
            condition.wait_for(lambda: 1 / 0)
        assert other.do(condition.acquire, False) is False
        assert condition.statistics().waiting == 0


@pytest.mark.parametrize(
    ("timeout", "error"),
    [(math.nan, ValueError), (math.inf, OverflowError), ("1", TypeError)],
)
def test_a_timeout_that_is_none_is_refused_and_nobody_waits(
    shared: bool, timeout: Any, error: type[Exception], other: OtherThread
) -> None:
    condition = treadle.Condition(shared=shared)
    with condition:
        with pytest.raises(error):
            condition.wait(timeout)
        assert other.do(condition.acquire, False) is False
        condition.notify()
        assert condition.wait(0) is False


@pytest.mark.parametrize("n", ["1", 1.5, None])
def test_a_number_of_notifications_that_is_none_is_refused(shared: bool, n: Any) -> None:
    condition = treadle.Condition(shared=shared)
    with condition, pytest.raises(TypeError):
        condition.notify(n)


def test_processes_take_turns_with_it(shared: bool) -> None:
    condition = treadle.Condition(shared=shared)
    if not shared:
        with condition, forked(_notify_own, condition) as child:
            child.expect("free")  # its parent's lock is not its own
        return
    turns = treadle.Semaphore(0)
    children = [Child(_take_turns, condition, turns, number) for number in range(3)]
    try:
        for child in children:
            child.join()
        assert turns.get_value() == 30
    finally:
        for child in children:
            child.dispose()


def _notify_own(line: Connection, condition: treadle.Condition) -> None:
    condition.notify_all()  # the forking thread holds it, and is this one
    condition.release()
    assert OtherThread().do(condition.acquire, False) is True
    line.send("free")


def _take_turns(
    line: Connection, condition: treadle.Condition, turns: treadle.Semaphore, number: int
) -> None:
    for _ in range(10):
        with condition:
            assert condition.wait_for(lambda: turns.get_value() % 3 == number)
            turns.release()
            condition.notify_all()
