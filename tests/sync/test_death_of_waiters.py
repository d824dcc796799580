"""Condition, Event and Barrier when those who wait are killed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.sync.children import Child, forked, hold, killed_while
from tests.sync.threads import OtherThread, until


@contextmanager
def waiting(condition: treadle.Condition, count: int) -> Iterator[list[Child]]:
    """Processes that wait for the condition, in this order."""
    children: list[Child] = []
    try:
        for number in range(count):
            children.append(Child(_wait_for_notification, condition))
            until(lambda number=number: condition.statistics().waiting == number + 1)
        yield children
    finally:
        for child in children:
            child.dispose()


@pytest.mark.parametrize("lock", [treadle.Lock, treadle.RLock])
def test_notify_passes_over_the_dead(lock: Any) -> None:
    condition = treadle.Condition(lock())
    with waiting(condition, 3) as children:
        children[0].kill()
        children[1].kill()
        with condition:
            condition.notify(1)
        children[2].expect("notified")
        children[2].join()


def test_notify_wakes_as_many_of_the_living_as_it_should() -> None:
    condition = treadle.Condition()
    with waiting(condition, 6) as children:
        for dead in (0, 2, 3):
            children[dead].kill()
        with condition:
            condition.notify(2)
        for notified in (1, 4):
            children[notified].expect("notified")
            children[notified].join()
        assert not children[5].line.poll()
        with condition:
            condition.notify()
        children[5].expect("notified")
        children[5].join()


def test_notify_all_wakes_the_living() -> None:
    condition = treadle.Condition()
    with waiting(condition, 5) as children:
        for dead in (0, 4):
            children[dead].kill()
        with condition:
            condition.notify_all()
        for child in children[1:4]:
            child.expect("notified")
            child.join()
        with condition:
            assert condition.statistics().waiting == 0


def test_notify_goes_on_when_all_are_dead() -> None:
    condition = treadle.Condition()
    with waiting(condition, 3) as children:
        for child in children:
            child.kill()
        with condition:
            condition.notify()
            condition.notify_all()
            assert condition.wait(timeout=0.01) is False
            assert condition.statistics().waiting == 0


def test_a_zombie_is_not_notified() -> None:
    condition = treadle.Condition()
    with forked(_let_a_thread_wait, condition) as child:
        child.expect("a thread waits")
        child.until_zombie()
        with waiting_thread(condition) as wait:
            with condition:
                condition.notify(1)
            assert wait.result() is True


@contextmanager
def waiting_thread(condition: treadle.Condition) -> Iterator[Any]:
    thread = OtherThread()
    before = condition.statistics().waiting

    def wait() -> bool:
        with condition:
            return condition.wait()

    result = thread.start(wait)
    until(lambda: condition.statistics().waiting == before + 1)
    yield result
    thread.end()


def test_who_was_notified_and_dies_before_it_has_the_lock_harms_nobody() -> None:
    condition = treadle.Condition()
    with waiting(condition, 2) as children:
        with condition:
            condition.notify(1)
            lock = condition.statistics
            until(lambda: lock().lock.waiting == 1)  # it wants the lock again
            children[0].kill()
        with condition:
            condition.notify(1)
        children[1].expect("notified")
        children[1].join()


def test_who_dies_holding_the_lock_of_a_condition_is_reported_to_who_waits() -> None:
    """The waiter comes back with the lock held, as the end of its with block expects."""
    for lock in (treadle.Lock(label="jobs"), treadle.RLock(label="jobs")):
        condition = treadle.Condition(lock)
        thread = OtherThread()
        held_in_between: list[Any] = []

        def wait(condition=condition, lock=lock, held=held_in_between) -> None:
            with condition:
                try:
                    condition.wait()
                finally:
                    held.append(lock.owner.thread_id)

        result = thread.start(wait)
        until(lambda condition=condition: condition.statistics().waiting == 1)
        pid = killed_while(lambda condition=condition: (condition.acquire(), condition.notify()))
        error = result.exception()
        assert isinstance(error, treadle.OwnerDiedError)
        assert f"lock 'jobs' was held by pid {pid} " in str(error)
        assert held_in_between == [thread.native_id]
        thread.end()
        # Nobody has repaired anything by leaving the block.
        with pytest.raises(treadle.OwnerDiedError), condition:
            pass
        with lock.recover() as needed:
            assert needed is True
        with condition:
            condition.notify_all()


def test_a_waiter_takes_over_a_lock_that_recovers_by_itself() -> None:
    condition = treadle.Condition(treadle.Lock(on_owner_death="recover"))
    with pytest.warns(treadle.OwnerDiedWarning) as warned, waiting_thread(condition) as wait:
        pid = killed_while(lambda: (condition.acquire(), condition.notify()))
        assert wait.result() is True
    messages = [str(w.message) for w in warned if w.category is treadle.OwnerDiedWarning]
    assert len(messages) == 1
    assert f"pid {pid} " in messages[0]
    with condition:
        pass


def test_set_wakes_the_living_beside_the_dead() -> None:
    event = treadle.Event()
    children = [Child(_wait_for_event, event) for _ in range(4)]
    try:
        until(lambda: event.statistics().waiting == 4)
        children[0].kill()
        children[3].kill()
        assert event.statistics().waiting == 2
        event.set()
        for child in children[1:3]:
            child.expect(True)
            child.join()
    finally:
        for child in children:
            child.dispose()
    event.clear()
    event.set()
    assert event.wait() is True


def test_a_party_that_dies_waiting_breaks_the_barrier_and_is_named() -> None:
    barrier = treadle.Barrier(3, label="gate")
    with forked(_wait_at, barrier, "digger") as party:
        until(lambda: barrier.n_waiting == 1)
        other = OtherThread()
        result = other.start(barrier.wait)
        until(lambda: barrier.n_waiting == 2)
        party.kill()
        expected = (
            f"barrier 'gate' is broken: pid {party.pid} (thread digger) ended while it waited"
        )
        assert str(result.exception()) == expected
        assert isinstance(result.exception(), treadle.BrokenBarrierError)
        other.end()
    assert barrier.broken is True
    with pytest.raises(treadle.BrokenBarrierError, match=f"pid {party.pid} "):
        barrier.wait()


def test_all_who_wait_learn_who_died() -> None:
    barrier = treadle.Barrier(5)
    children = [Child(_expect_broken, barrier) for _ in range(4)]
    try:
        until(lambda: barrier.n_waiting == 4)
        children[2].kill()
        for child in (children[0], children[1], children[3]):
            message = child.hear()
            assert f"pid {children[2].pid} " in message
            child.join()
    finally:
        for child in children:
            child.dispose()


def test_a_barrier_that_a_death_broke_is_reset() -> None:
    barrier = treadle.Barrier(2)
    killed_with_one_waiting(barrier)
    with pytest.raises(treadle.BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert barrier.broken is False
    with forked(_wait_at, barrier, "MainThread"):
        assert barrier.wait() in (0, 1)
    barrier.abort()
    with pytest.raises(treadle.BrokenBarrierError, match="aborted"):  # the dead are forgotten
        barrier.wait()


def killed_with_one_waiting(barrier: treadle.Barrier) -> None:
    with forked(_wait_at, barrier, "MainThread") as party:
        until(lambda: barrier.n_waiting == 1)
        party.kill()


def test_who_comes_last_does_not_go_on_with_the_dead() -> None:
    """The dead party has arrived, but nobody who is left was with it."""
    barrier = treadle.Barrier(2)
    killed_with_one_waiting(barrier)
    with pytest.raises(treadle.BrokenBarrierError):
        barrier.wait()


def test_a_party_that_dies_in_the_action_breaks_the_barrier() -> None:
    barrier = treadle.Barrier(2, _die)
    with forked(_wait_at, barrier, "MainThread", 1) as party:
        with pytest.raises(treadle.BrokenBarrierError, match=f"pid {party.pid} "):
            barrier.wait()
        party.until_zombie()
        party.status = 0


def test_a_party_that_dies_before_it_comes_is_waited_for_until_the_timeout() -> None:
    barrier = treadle.Barrier(2)
    with forked(hold, lambda: None) as child:
        child.expect("holding")
        child.kill()
    with pytest.raises(treadle.BrokenBarrierError, match="in time"):
        barrier.wait(timeout=0.3)


# ---- What the children do


def _wait_for_notification(line: Connection, condition: treadle.Condition) -> None:
    with condition:
        assert condition.wait() is True
    line.send("notified")


def _let_a_thread_wait(line: Connection, condition: treadle.Condition) -> None:
    threading.Thread(target=_wait_for_notification, args=(line, condition), daemon=True).start()
    until(lambda: condition.statistics().waiting == 1)
    line.send("a thread waits")


def _wait_for_event(line: Connection, event: treadle.Event) -> None:
    line.send(event.wait())


def _wait_at(
    line: Connection, barrier: treadle.Barrier, name: str, after: int | None = None
) -> None:
    if after is not None:
        until(lambda: barrier.n_waiting == after)
    thread = threading.Thread(target=barrier.wait, name=name)
    thread.start()
    thread.join()


def _expect_broken(line: Connection, barrier: treadle.Barrier) -> None:
    with pytest.raises(treadle.BrokenBarrierError) as caught:
        barrier.wait()
    line.send(str(caught.value))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
