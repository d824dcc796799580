"""What becomes of a Lock or RLock whose owner ended while it held it."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.sync.children import Child, forked, hold, killed_while
from tests.sync.threads import OtherThread, until_parked

both_locks = pytest.mark.parametrize("of", [treadle.Lock, treadle.RLock])

# All the ways to ask for a lock.
_WAYS: dict[str, Callable[[Any], Any]] = {
    "acquire": lambda lock: lock.acquire(),
    "try": lambda lock: lock.acquire(False),
    "with": lambda lock: lock.__enter__(),
    "timeout": lambda lock: lock.acquire(timeout=60),
    "no time": lambda lock: lock.acquire(timeout=0),
}
every_way = pytest.mark.parametrize("ask", _WAYS.values(), ids=_WAYS)


@both_locks
@every_way
def test_whoever_asks_learns_who_died_and_what_to_do(
    of: Callable[..., Any], ask: Callable[[Any], Any]
) -> None:
    lock = of(label="jobs")
    pid = killed_while(lock.acquire, thread_name="digger")
    with pytest.raises(treadle.OwnerDiedError) as caught:
        ask(lock)
    assert str(caught.value) == (
        f"lock 'jobs' was held by pid {pid} (thread digger), which was killed or ended without "
        "releasing it; call recover() before use"
    )
    with pytest.raises(treadle.OwnerDiedError) as caught:
        ask(lock)
    assert str(caught.value) == (
        f"lock 'jobs' was held by pid {pid} (thread digger), which ended, and nobody has repaired "
        "it yet; call recover() before use"
    )


@both_locks
def test_everybody_learns_of_it(of: Callable[..., Any], other: OtherThread) -> None:
    lock = of()
    pid = killed_while(lock.acquire)
    for _ in range(3):
        with pytest.raises(treadle.OwnerDiedError, match=f"pid {pid} "):
            lock.acquire()
        with pytest.raises(treadle.OwnerDiedError, match=f"pid {pid} "):
            other.do(lock.acquire)
        with forked(_expect_inconsistent, lock, pid):
            pass


@both_locks
def test_those_who_wait_when_it_happens_learn_of_it(
    of: Callable[..., Any], other: OtherThread
) -> None:
    lock = of()
    with forked(hold, lock.acquire) as owner:
        owner.expect("holding")
        waiters = [OtherThread() for _ in range(3)]
        asking = [waiter.start(lock.acquire) for waiter in waiters]
        for waiter in waiters:
            until_parked(lock, waiter.native_id)
        with forked(_expect_inconsistent, lock, owner.pid) as elsewhere:
            owner.kill()
            elsewhere.join()
        for a in asking:
            error = a.exception()
            assert isinstance(error, treadle.OwnerDiedError)
            assert f"pid {owner.pid} " in str(error)
    for waiter in waiters:
        waiter.end()


@both_locks
def test_a_lock_whose_owner_died_is_not_held(of: Callable[..., Any]) -> None:
    lock = of()
    killed_while(lock.acquire)
    with pytest.raises(treadle.OwnerDiedError):
        lock.acquire()
    assert lock.locked() is False
    assert lock.owner is None
    statistics = lock.statistics()
    assert statistics.inconsistent is True
    assert statistics.locked is False
    assert statistics.recursion == 0
    assert "<inconsistent" in repr(lock)
    with pytest.raises(RuntimeError):
        lock.release()
    with pytest.raises(treadle.OwnerDiedError):
        lock.acquire()


@both_locks
@pytest.mark.parametrize("found_out_before", [True, False])
def test_a_recovery_makes_it_sound(
    of: Callable[..., Any], found_out_before: bool, other: OtherThread
) -> None:
    lock = of()
    killed_while(lock.acquire)
    if found_out_before:
        with pytest.raises(treadle.OwnerDiedError):
            lock.acquire()
    with lock.recover() as needed:
        assert needed is True
        assert lock.locked() is True
        assert lock.owner.pid == os.getpid()
        assert lock.statistics().recursion == 1
        assert other.do(lock.acquire, False) is False
    assert lock.locked() is False
    assert lock.statistics().inconsistent is False
    with lock:
        assert other.do(lock.acquire, False) is False
    with lock.recover() as needed:
        assert needed is False
    with forked(_acquire_and_release, lock):
        pass


@both_locks
def test_who_asks_during_a_recovery_waits_for_its_end(
    of: Callable[..., Any], other: OtherThread
) -> None:
    lock = of()
    killed_while(lock.acquire)
    with lock.recover():
        asking = other.start(lock.acquire)
        until_parked(lock, other.native_id)
        assert not asking.done()
    assert asking.result() is True
    other.do(lock.release)


@both_locks
def test_of_those_who_recover_at_once_one_repairs(of: Callable[..., Any]) -> None:
    lock = of()
    killed_while(lock.acquire)
    children = [Child(_recover, lock) for _ in range(4)]
    try:
        needed = [child.hear() for child in children]
        for child in children:
            child.join()
    finally:
        for child in children:
            child.dispose()
    assert sorted(needed) == [False, False, False, True]


@both_locks
def test_a_recovery_that_fails_leaves_it_inconsistent(of: Callable[..., Any]) -> None:
    lock = of(label="jobs")
    killed_while(lock.acquire)
    for _ in range(2):
        with pytest.raises(KeyError), lock.recover() as needed:
            assert needed is True
            raise KeyError
        assert lock.locked() is False
        with pytest.raises(treadle.OwnerDiedError) as caught:
            lock.acquire()
        me = f"pid {os.getpid()} (thread {threading.current_thread().name})"
        assert str(caught.value) == (
            f"lock 'jobs' is inconsistent, and {me}, which took it to repair it, gave up; "
            "call recover() before use"
        )
    with lock.recover() as needed:
        assert needed is True
    _acquire_and_release(None, lock)


@both_locks
def test_a_lock_that_is_released_during_its_recovery_stays_inconsistent(
    of: Callable[..., Any],
) -> None:
    lock = of()
    killed_while(lock.acquire)
    with pytest.raises(RuntimeError, match="during its recovery"), lock.recover():
        lock.release()
    with pytest.raises(treadle.OwnerDiedError):
        lock.acquire()


@both_locks
def test_who_recovers_may_die_as_well(of: Callable[..., Any], other: OtherThread) -> None:
    lock = of()
    killed_while(lock.acquire)
    for _ in range(3):
        recoverer = killed_while(lock.recover().__enter__)
        with pytest.raises(treadle.OwnerDiedError, match=f"pid {recoverer} "):
            lock.acquire()
    with forked(hold, lock.recover().__enter__) as child:
        child.expect("holding")
        asking = other.start(lock.acquire)
        until_parked(lock, other.native_id)
        child.kill()
    assert isinstance(asking.exception(), treadle.OwnerDiedError)
    with lock.recover() as needed:
        assert needed is True
    _acquire_and_release(None, lock)


@both_locks
def test_a_process_that_ends_by_itself_holding_it_is_dead_too(of: Callable[..., Any]) -> None:
    lock = of()
    with forked(lambda line: lock.acquire()) as child:
        child.join()
    with pytest.raises(treadle.OwnerDiedError, match=f"pid {child.pid} "):
        lock.acquire()


@both_locks
def test_a_zombie_is_dead(of: Callable[..., Any]) -> None:
    lock = of()
    with forked(lambda line: lock.acquire()) as child:
        child.until_zombie()
        with pytest.raises(treadle.OwnerDiedError, match=f"pid {child.pid} "):
            lock.acquire(timeout=60)


@both_locks
def test_a_process_that_dies_without_holding_it_harms_nobody(of: Callable[..., Any]) -> None:
    lock = of()
    for act in (lock.locked, lambda: _acquire_and_release(None, lock)):
        killed_while(act)
        _acquire_and_release(None, lock)


@both_locks
def test_who_dies_waiting_for_it_harms_nobody(of: Callable[..., Any], other: OtherThread) -> None:
    lock = of()
    lock.acquire()
    children = [Child(_acquire_and_release, lock) for _ in range(3)]
    try:
        while lock.statistics().waiting < 3:
            pass
        asking = other.start(lock.acquire)
        until_parked(lock, other.native_id)
        for child in children:
            child.kill()
    finally:
        for child in children:
            child.dispose()
    lock.release()
    assert asking.result() is True
    other.do(lock.release)


def test_the_depth_of_a_dead_owner_is_not_inherited() -> None:
    lock = treadle.RLock()
    killed_while(lambda: [lock.acquire() for _ in range(5)])
    with lock.recover():
        assert lock.statistics().recursion == 1
    with lock:
        assert lock.statistics().recursion == 1
    assert lock.locked() is False


def test_a_thread_that_ends_holding_a_shared_rlock_is_dead() -> None:
    """Nobody else can release it."""
    lock = treadle.RLock(label="jobs")
    thread = OtherThread("careless")
    thread.do(lock.acquire)
    thread.end()
    expected = rf"'jobs' was held by pid {os.getpid()} \(thread careless\)"
    with pytest.raises(treadle.OwnerDiedError, match=expected):
        lock.acquire()
    with lock.recover() as needed:
        assert needed is True
    _acquire_and_release(None, lock)


def test_whoever_has_a_dead_threads_place_in_the_books_is_not_blamed() -> None:
    with forked(_let_the_innocent_follow_the_careless):
        pass


def test_a_thread_that_ends_holding_a_lock_leaves_it_to_the_others() -> None:
    """As in the standard library, where one thread may acquire and another one release."""
    lock = treadle.Lock()
    thread = OtherThread()
    thread.do(lock.acquire)
    thread.end()
    assert lock.acquire(timeout=0.01) is False
    lock.release()
    _acquire_and_release(None, lock)


@both_locks
@every_way
def test_a_lock_that_recovers_by_itself_is_taken_over_with_a_warning(
    of: Callable[..., Any], ask: Callable[[Any], Any], other: OtherThread
) -> None:
    lock = of(on_owner_death="recover", label="jobs")
    pid = killed_while(lock.acquire, thread_name="digger")
    expected = rf"lock 'jobs' was held by pid {pid} \(thread digger\), which ended"
    with pytest.warns(treadle.OwnerDiedWarning, match=expected):
        assert ask(lock) is True
    assert lock.owner.pid == os.getpid()
    assert lock.statistics().inconsistent is False
    assert lock.statistics().recursion == 1
    assert other.do(lock.acquire, False) is False
    lock.release()
    _acquire_and_release(None, lock)


@both_locks
def test_one_of_those_who_wait_takes_over_with_a_warning(
    of: Callable[..., Any], other: OtherThread
) -> None:
    lock = of(on_owner_death="recover")
    with forked(hold, lock.acquire) as owner:
        owner.expect("holding")
        with pytest.warns(treadle.OwnerDiedWarning, match=f"pid {owner.pid} ") as warned:
            waiters = [OtherThread() for _ in range(3)]
            asking = [waiter.start(_acquire_and_release, None, lock) for waiter in waiters]
            for waiter in waiters:
                until_parked(lock, waiter.native_id)
            owner.kill()
            for a in asking:
                a.result()
        assert len(warned) == 1
    for waiter in waiters:
        waiter.end()


@both_locks
def test_a_warning_that_is_an_error_leaves_the_lock_free(of: Callable[..., Any]) -> None:
    lock = of(on_owner_death="recover")
    pid = killed_while(lock.acquire)
    with pytest.raises(treadle.OwnerDiedWarning, match=f"pid {pid} "):  # as pytest is configured
        lock.acquire()
    _acquire_and_release(None, lock)


@both_locks
def test_a_lock_that_recovers_by_itself_may_be_recovered(of: Callable[..., Any]) -> None:
    lock = of(on_owner_death="recover")
    killed_while(lock.acquire)
    with lock.recover() as needed:
        assert needed is True
    _acquire_and_release(None, lock)


@both_locks
def test_how_a_lock_meets_death_travels_with_its_handle(of: Callable[..., Any]) -> None:
    lock = pickle.loads(pickle.dumps(of(on_owner_death="recover")))
    killed_while(lock.acquire)
    with pytest.warns(treadle.OwnerDiedWarning):
        assert lock.acquire() is True


@both_locks
def test_many_deaths_one_after_the_other(of: Callable[..., Any]) -> None:
    lock = of()
    for _ in range(15):
        pid = killed_while(lock.acquire)
        with pytest.raises(treadle.OwnerDiedError, match=f"pid {pid} "):
            lock.acquire()
        with lock.recover() as needed:
            assert needed is True


def _expect_inconsistent(line: Connection, lock: Any, pid: int) -> None:
    with pytest.raises(treadle.OwnerDiedError, match=f"pid {pid} "):
        lock.acquire()


def _acquire_and_release(line: Connection | None, lock: Any) -> None:
    with lock:
        pass


def _recover(line: Connection, lock: Any) -> None:
    with lock.recover() as needed:
        line.send(needed)


def _let_the_innocent_follow_the_careless(line: Connection) -> None:
    """In a process of its own, where no other place is free."""
    lock = treadle.RLock()
    careless = OtherThread("careless")
    careless.do(lock.acquire)
    careless.end()
    OtherThread("innocent").do(treadle.RLock().acquire)
    with pytest.raises(treadle.OwnerDiedError) as caught:
        lock.acquire()
    assert f"pid {os.getpid()}" in str(caught.value)
    assert "innocent" not in str(caught.value)


def test_a_holder_s_own_recovery_of_an_rlock_is_refused_and_changes_nothing() -> None:
    lock = treadle.RLock(label="jobs")
    with lock:
        with pytest.raises(RuntimeError, match="this thread holds lock 'jobs'"), lock.recover():
            pass
        assert lock.statistics().recursion == 1
    assert not lock.locked()


@pytest.mark.parametrize("ends_well", [True, False])
def test_what_was_acquired_in_a_recovery_does_not_outlive_it(ends_well: bool) -> None:
    lock = treadle.RLock()
    killed_while(lock.acquire)

    def recover() -> None:
        with lock.recover():
            lock.acquire()
            lock.acquire()
            if not ends_well:
                raise LookupError

    if not ends_well:
        with pytest.raises(LookupError):
            recover()
    recover() if ends_well else lock.recover().__enter__()
    if ends_well:
        lock.acquire()
    assert lock.statistics().recursion == 1


def test_a_recovery_does_not_release_a_lock_that_another_has_by_then(other: OtherThread) -> None:
    lock = treadle.Lock()
    with pytest.raises(RuntimeError), lock.recover():
        lock.release()
        other.do(lock.acquire)
    assert lock.locked()


def test_a_recovery_is_made_by_its_lock() -> None:
    recovery = type(treadle.Lock().recover())()
    with pytest.raises(TypeError, match="recover"), recovery:
        pass
