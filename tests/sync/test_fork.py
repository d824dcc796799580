"""What a fork does to objects that are held and waited for: nothing to the shared ones; and of
the private ones the child has its own, in which only the thread that forked lives on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.sync.children import Child, forked
from tests.sync.kinds import LOCK_TYPES, LockType
from tests.sync.threads import OtherThread, until, until_parked

_OWNED = [kind for kind in LOCK_TYPES if "emaphore" not in kind.name]
locks_with_an_owner = pytest.mark.parametrize("kind", _OWNED, ids=lambda kind: kind.name)
semaphores = pytest.mark.parametrize(
    "kind", [kind for kind in LOCK_TYPES if kind not in _OWNED], ids=lambda kind: kind.name
)
every_lock = pytest.mark.parametrize("kind", LOCK_TYPES, ids=lambda kind: kind.name)
both_locks = pytest.mark.parametrize("of", [treadle.Lock, treadle.RLock])


# ---- Private ones


@locks_with_an_owner
def test_a_private_lock_that_another_thread_held_is_free_in_the_child(
    kind: LockType, other: OtherThread
) -> None:
    lock = kind.factory(shared=False)
    other.do(lock.acquire)
    waiter = OtherThread()
    waiting = waiter.start(lock.acquire)
    until_parked(lock, waiter.native_id)
    with forked(_use_free, lock):
        pass
    assert lock.acquire(False) is False  # here it is held as before
    other.do(lock.release)
    assert waiting.result() is True
    waiter.do(lock.release)


@both_locks
def test_it_looks_free_in_the_child_and_a_release_is_not_due(
    of: Callable[..., Any], other: OtherThread
) -> None:
    lock = of(shared=False)
    other.do(lock.acquire)
    with forked(_look_free, lock):
        pass
    other.do(lock.release)


@locks_with_an_owner
def test_a_private_lock_that_the_forking_thread_held_is_held_in_the_child(
    kind: LockType, other: OtherThread
) -> None:
    lock = kind.factory(shared=False)
    with lock, forked(_release_held, lock) as child:
        child.join()
        assert other.do(lock.acquire, False) is False  # whatever the child did to its own
    assert other.do(lock.acquire, False) is True
    other.do(lock.release)


def test_a_private_rlock_keeps_its_depth(other: OtherThread) -> None:
    lock = treadle.RLock(shared=False)
    with lock, lock, forked(_release_twice, lock):
        pass


def test_the_thread_that_forks_need_not_be_the_main_one(other: OtherThread) -> None:
    mine, others = treadle.Lock(shared=False), treadle.Lock(shared=False)
    mine.acquire()
    other.do(others.acquire)
    child = other.do(Child, _expect_held, others, mine)
    try:
        child.join()
    finally:
        child.dispose()


def test_what_is_held_is_held_in_grandchildren_too(other: OtherThread) -> None:
    mine, others = treadle.RLock(shared=False), treadle.RLock(shared=False)
    other.do(others.acquire)
    with mine, forked(_fork_again, mine, others):
        pass
    other.do(others.release)


@semaphores
def test_the_child_has_as_many_permits_of_a_private_semaphore(kind: LockType) -> None:
    semaphore = kind.factory(2, shared=False)
    semaphore.acquire()
    with forked(_take_the_last_permit, semaphore) as child:
        child.join()
        assert semaphore.get_value() == 1


def test_a_private_event_is_as_it_was_and_the_child_has_its_own(other: OtherThread) -> None:
    event = treadle.Event(shared=False)
    waiting = other.start(event.wait)
    until_parked(event, other.native_id)
    with forked(_set_and_wait, event) as child:
        child.join()
        assert event.is_set() is False
    event.set()
    assert waiting.result() is True


def test_those_who_waited_for_a_private_condition_do_not_wait_in_the_child(
    other: OtherThread,
) -> None:
    condition = treadle.Condition(shared=False)

    def wait() -> bool:
        with condition:
            return condition.wait()

    waiting = other.start(wait)
    until_parked(condition, other.native_id)
    with forked(_notify_a_new_waiter, condition):
        pass
    with condition:
        condition.notify()
    assert waiting.result() is True


def test_those_who_waited_at_a_private_barrier_are_missed_in_the_child(other: OtherThread) -> None:
    barrier = treadle.Barrier(2, shared=False)
    waiting = other.start(barrier.wait)
    until(lambda: barrier.n_waiting == 1)
    with forked(_find_broken_then_reset, barrier):
        pass
    assert barrier.broken is False
    assert {barrier.wait(), waiting.result()} == {0, 1}


# ---- Shared ones


@every_lock
def test_a_shared_lock_stays_with_its_owner(kind: LockType, other: OtherThread) -> None:
    lock = kind.factory()
    other.do(lock.acquire)
    with forked(_wait_for_it, lock) as child:
        child.expect("held")
        until(lambda: getattr(lock, "_lock", lock).statistics().waiting == 1)
        other.do(lock.release)
        child.expect("acquired")
        assert lock.acquire(False) is False
        child.say("release")
        child.join()
        assert lock.acquire(False) is True
        lock.release()


def test_the_child_does_not_own_what_the_forking_thread_held() -> None:
    lock = treadle.RLock()
    with lock, forked(_expect_not_mine, lock):
        pass
    assert lock.locked() is False


def test_a_child_keeps_alive_what_its_parent_drops() -> None:
    lock, event = treadle.Lock(), treadle.Event()
    with forked(_use_after, lock, event) as child:
        del lock
        event.set()
        child.join()


def test_a_child_that_ends_takes_nothing_from_its_parent() -> None:
    lock, event = treadle.Lock(), treadle.Event()
    for _ in range(20):
        with forked(lambda line: None):
            pass
    treadle.sweep()
    with lock:
        event.set()
    assert event.is_set()


def test_what_a_child_makes_is_of_the_same_arena() -> None:
    with forked(_send_new_lock) as child:
        lock = child.hear()
        assert lock.owner.pid == child.pid
        child.say("release")
        assert lock.acquire() is True
        child.join()
    lock.release()


# ---- What the children do


def _use_free(line: Connection, lock: Any) -> None:
    assert lock.acquire(False) is True
    assert OtherThread().do(lock.acquire, False) is False
    lock.release()
    with lock:
        pass
    assert OtherThread().do(lock.acquire) is True


def _look_free(line: Connection, lock: Any) -> None:
    assert lock.locked() is False
    assert lock.owner is None
    assert repr(lock).startswith("<unlocked")
    assert lock.statistics().locked is False
    assert lock.statistics().inconsistent is False
    with pytest.raises(RuntimeError):
        lock.release()
    assert lock.acquire() is True
    assert lock.owner.pid == os.getpid()


def _release_held(line: Connection, lock: Any) -> None:
    inner = getattr(lock, "_lock", lock)
    assert inner.locked() is True
    assert inner.owner.pid == os.getpid()
    assert OtherThread().do(lock.acquire, False) is False
    lock.release()
    assert OtherThread().do(lock.acquire, False) is True


def _release_twice(line: Connection, lock: treadle.RLock) -> None:
    assert lock.statistics().recursion == 2
    lock.release()
    assert OtherThread().do(lock.acquire, False) is False
    lock.release()
    with pytest.raises(RuntimeError):
        lock.release()


def _expect_held(line: Connection, held: treadle.Lock, free: treadle.Lock) -> None:
    assert held.acquire(False) is False
    held.release()
    assert free.acquire(False) is True


def _fork_again(line: Connection, held: treadle.RLock, free: treadle.RLock) -> None:
    assert free.acquire(False) is True
    assert OtherThread().do(held.acquire, False) is False
    of_here = treadle.RLock(shared=False)
    OtherThread().do(of_here.acquire)
    with forked(_at_the_end, (held, free), of_here):
        pass


def _at_the_end(line: Connection, held: tuple[treadle.RLock, ...], free: treadle.RLock) -> None:
    for lock in held:
        assert OtherThread().do(lock.acquire, False) is False
        lock.release()
        assert OtherThread().do(lock.acquire, False) is True
    assert free.acquire(False) is True


def _take_the_last_permit(line: Connection, semaphore: Any) -> None:
    assert semaphore.get_value() == 1
    assert semaphore.acquire(False) is True
    assert semaphore.acquire(False) is False
    semaphore.release(2)


def _set_and_wait(line: Connection, event: treadle.Event) -> None:
    assert event.is_set() is False
    event.set()
    assert event.wait() is True


def _notify_a_new_waiter(line: Connection, condition: treadle.Condition) -> None:
    thread = OtherThread()

    def wait() -> bool:
        with condition:
            return condition.wait()

    waiting = thread.start(wait)
    until_parked(condition, thread.native_id)
    with condition:
        condition.notify(1)
    assert waiting.result() is True


def _find_broken_then_reset(line: Connection, barrier: treadle.Barrier) -> None:
    with pytest.raises(treadle.BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    waiting = OtherThread().start(barrier.wait)
    assert {barrier.wait(), waiting.result()} == {0, 1}


def _wait_for_it(line: Connection, lock: Any) -> None:
    assert lock.acquire(False) is False
    line.send("held")
    assert lock.acquire() is True
    line.send("acquired")
    line.recv()
    lock.release()


def _expect_not_mine(line: Connection, lock: treadle.RLock) -> None:
    assert lock.acquire(False) is False
    assert lock.owner is not None
    assert lock.owner.pid == os.getppid()
    with pytest.raises(RuntimeError):
        lock.release()


def _use_after(line: Connection, lock: treadle.Lock, event: treadle.Event) -> None:
    event.wait()
    with lock:
        assert lock.locked()


def _send_new_lock(line: Connection) -> None:
    lock = treadle.Lock()
    lock.acquire()
    line.send(lock)
    line.recv()
    lock.release()
