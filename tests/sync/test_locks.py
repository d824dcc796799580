"""Lock and RLock: what is their own, and how they differ."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.sync.children import forked
from tests.sync.kinds import both_storages
from tests.sync.threads import OtherThread, until_parked

pytestmark = both_storages

both_locks = pytest.mark.parametrize("of", [treadle.Lock, treadle.RLock])


def test_any_thread_may_release_a_lock(shared: bool, other: OtherThread) -> None:
    lock = treadle.Lock(shared=shared)
    lock.acquire()
    other.do(lock.release)
    assert not lock.locked()


def test_only_its_owner_may_release_an_rlock(shared: bool, other: OtherThread) -> None:
    lock = treadle.RLock(shared=shared)
    with lock:
        for release in (lock.release, lambda: lock.__exit__(None, None, None)):
            with pytest.raises(RuntimeError, match="un-acquired"):
                other.do(release)
        assert lock.locked()


def test_a_lock_is_not_reentrant(shared: bool) -> None:
    lock = treadle.Lock(shared=shared)
    with lock:
        assert lock.acquire(False) is False
        assert lock.acquire(timeout=0.01) is False


def test_an_rlock_is_free_after_as_many_releases(shared: bool, other: OtherThread) -> None:
    lock = treadle.RLock(shared=shared)
    depth = 1000
    for count in range(1, depth + 1):
        assert lock.acquire(timeout=1) is True
        assert lock.statistics().recursion == count
    with lock:
        assert lock.statistics().recursion == depth + 1
    for _ in range(depth):
        assert lock.locked()
        assert other.do(lock.acquire, False) is False
        lock.release()
    assert lock.statistics().recursion == 0
    assert other.do(lock.acquire, False) is True
    other.do(lock.release)


def test_an_rlock_counts_each_owners_acquires_anew(shared: bool, other: OtherThread) -> None:
    lock = treadle.RLock(shared=shared)
    with lock, lock:
        pass
    other.do(lock.acquire)
    assert lock.statistics().recursion == 1
    other.do(lock.release)
    assert not lock.locked()


@both_locks
def test_locked_tells_whether_it_is_held_by_anyone(
    of: Callable[..., Any], shared: bool, other: OtherThread
) -> None:
    lock = of(shared=shared)
    assert lock.locked() is False
    with lock:
        assert lock.locked() is True
        assert other.do(lock.locked) is True
    assert lock.locked() is False


@both_locks
def test_the_owner_is_the_thread_that_holds_it(
    of: Callable[..., Any], shared: bool, other: OtherThread
) -> None:
    lock = of(shared=shared)
    assert lock.owner is None
    before = time.monotonic()
    other.do(lock.acquire)
    after = time.monotonic()
    owner = lock.owner
    assert (owner.pid, owner.thread_id) == (os.getpid(), other.native_id)
    assert owner.thread_name == "other"
    assert before - 0.02 <= owner.since <= after  # the clock is a coarse one
    other.do(lock.release)
    assert lock.owner is None


@both_locks
def test_the_owner_is_known_in_another_process(of: Callable[..., Any], shared: bool) -> None:
    lock = of(shared=shared)
    with lock, forked(_tell_owner, lock) as child:
        owner = child.hear()
        if not shared:  # the child's lock is another one, held by the child's main thread
            assert (owner.pid, owner.thread_id) == (child.pid, child.pid)
            return
        assert owner == lock.owner
        assert owner.pid == os.getpid()
        assert owner.thread_id == threading.get_native_id()
        assert owner.thread_name == threading.current_thread().name


@pytest.mark.parametrize("name", ["", "Fädchen-3", "x" * 200, "ü" * 200])
def test_an_owner_has_any_name(name: str, shared: bool) -> None:
    lock = treadle.Lock(shared=shared)
    thread = OtherThread(name)
    thread.do(lock.acquire)
    assert lock.owner is not None
    assert lock.owner.thread_id == thread.native_id
    if len(name) < 30:
        assert name in lock.owner.thread_name  # a thread without a name is given one
    else:
        assert lock.owner.thread_name.startswith(name[0] * 19)
    repr(lock)
    thread.end()


@both_locks
def test_a_recovery_of_a_sound_lock_says_that_there_is_nothing_to_repair(
    of: Callable[..., Any], shared: bool, other: OtherThread
) -> None:
    lock = of(shared=shared)
    for timeout in ((), (1,), (0,)):
        with lock.recover(*timeout) as needed:
            assert needed is False
            assert lock.locked()
            assert other.do(lock.acquire, False) is False
        assert not lock.locked()


@both_locks
def test_a_recovery_waits_for_who_holds_the_lock(
    of: Callable[..., Any], shared: bool, other: OtherThread
) -> None:
    lock = of(shared=shared, label="jobs")
    lock.acquire()

    def recover() -> Any:
        with lock.recover() as needed:
            return needed

    recovering = other.start(recover)
    until_parked(lock, other.native_id)
    lock.release()
    assert recovering.result() is False
    other.do(lock.acquire)
    with pytest.raises(TimeoutError, match="'jobs'"), lock.recover(timeout=0.01):
        pass
    with pytest.raises(TimeoutError, match="'jobs'"), lock.recover(timeout=0):
        pass
    other.do(lock.release)


@both_locks
def test_a_recovery_with_a_timeout_that_is_none_is_refused(
    of: Callable[..., Any], shared: bool
) -> None:
    lock = of(shared=shared)
    refused = (math.nan, ValueError), (-2, ValueError), (math.inf, OverflowError), ("1", TypeError)
    for timeout, error in refused:
        with pytest.raises(error):
            lock.recover(timeout)


@both_locks
def test_a_way_to_meet_death_that_is_none_is_refused(of: Callable[..., Any], shared: bool) -> None:
    for wrong in ("ignore", "", None, True):
        with pytest.raises(ValueError, match="'raise' or 'recover'"):
            of(shared=shared, on_owner_death=wrong)


def _tell_owner(line: Connection, lock: treadle.Lock) -> None:
    line.send(lock.owner)
