"""Labels, reprs and statistics: an object says what it is and how it stands."""

from __future__ import annotations

import dataclasses
import os
import pickle
import re
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.sync.children import forked
from tests.sync.kinds import LockType, all_lock_types, all_objects, both_storages
from tests.sync.threads import OtherThread, until

pytestmark = both_storages


@all_objects
def test_a_label_is_what_it_is_called(make: Callable[..., Any], shared: bool) -> None:
    thing = make(shared=shared, label="jobs")
    assert thing.label == "jobs"
    assert thing.statistics().label == "jobs"
    assert "'jobs'" in repr(thing)


@all_objects
def test_without_a_label_it_is_called_after_the_line_that_made_it(
    make: Callable[..., Any], shared: bool
) -> None:
    first = make(shared=shared)
    second = make(shared=shared)
    module, line = first.label.rsplit(":", 1)
    if module.endswith("kinds"):  # a function there makes it
        assert second.label == first.label
    else:
        assert module.endswith("test_description")
        assert second.label == f"{module}:{int(line) + 1}"


@all_objects
@pytest.mark.parametrize(
    "label",
    ["", "x" * 500, "ü" * 500, "\N{SPOOL OF THREAD}" * 500, "a\0b", "a\ud800"],
    ids=["empty", "ASCII", "two bytes", "four bytes", "null", "surrogate"],
)
def test_a_label_may_be_any_text_and_is_cut_where_it_is_too_long(
    make: Callable[..., Any], shared: bool, label: str
) -> None:
    kept = make(shared=shared, label=label).label
    assert len(kept.encode()) <= 51
    assert label.replace("\ud800", "?").startswith(kept)
    assert kept or not label


@all_objects
def test_a_label_that_is_no_text_is_refused(make: Callable[..., Any], shared: bool) -> None:
    with pytest.raises(TypeError, match="label must be a str, not int"):
        make(shared=shared, label=7)


@all_objects
def test_a_label_cannot_be_changed(make: Callable[..., Any], shared: bool) -> None:
    with pytest.raises(AttributeError):
        make(shared=shared).label = "other"


@all_objects
def test_a_repr_tells_the_class_and_the_storage(make: Callable[..., Any], shared: bool) -> None:
    thing = make(shared=shared)
    assert f"treadle.{type(thing).__name__} " in repr(thing)
    assert ("shared" if shared else "private") in repr(thing)


@pytest.mark.parametrize("of", [treadle.Lock, treadle.RLock])
def test_the_repr_of_a_lock_tells_who_holds_it(
    of: Callable[..., Any], shared: bool, other: OtherThread
) -> None:
    lock = of(shared=shared)
    assert repr(lock).startswith("<unlocked treadle.")
    assert "held" not in repr(lock)
    with lock:
        me = threading.current_thread().name
        assert repr(lock).startswith("<locked treadle.")
        assert f"held by pid {os.getpid()} (thread {me})" in repr(lock)
    other.do(lock.acquire)
    assert f"held by pid {os.getpid()} (thread other)" in repr(lock)


def test_the_repr_of_an_rwlock_tells_who_writes_or_how_many_read(
    shared: bool, other: OtherThread
) -> None:
    lock = treadle.RWLock(shared=shared)
    assert repr(lock).startswith("<unlocked treadle.RWLock ")
    with lock.read():
        other.do(lock.acquire_read)
        assert repr(lock).startswith("<locked treadle.RWLock ")
        assert repr(lock).endswith(", read by 2>")
    other.do(lock.release_read)
    other.do(lock.acquire_write)
    assert repr(lock).startswith("<locked treadle.RWLock ")
    assert repr(lock).endswith(f", written by pid {os.getpid()} (thread other)>")


def test_the_repr_of_a_latch_tells_what_is_left(shared: bool) -> None:
    latch = treadle.Latch(3, shared=shared)
    assert repr(latch).endswith(": count=3/3>")
    latch.count_down()
    assert repr(latch).endswith(": count=2/3>")


def test_the_repr_of_a_semaphore_tells_its_value(shared: bool) -> None:
    semaphore = treadle.Semaphore(3, shared=shared)
    assert repr(semaphore).endswith("value=3>")
    semaphore.acquire()
    assert repr(semaphore).endswith("value=2>")
    bounded = treadle.BoundedSemaphore(3, shared=shared)
    bounded.acquire()
    assert repr(bounded).endswith("value=2/3>")


def test_the_repr_of_an_event_tells_whether_it_is_set(shared: bool) -> None:
    event = treadle.Event(shared=shared)
    assert repr(event).endswith(" unset>")
    event.set()
    assert repr(event).endswith(" set>")


def test_the_repr_of_a_condition_tells_its_lock_and_how_many_wait(
    shared: bool, other: OtherThread
) -> None:
    condition = treadle.Condition(shared=shared)
    assert re.fullmatch("<treadle.Condition .* of <unlocked .*>, 0 waiting>", repr(condition))

    def wait() -> None:
        with condition:
            condition.wait()

    waiting = other.start(wait)
    until(lambda: "1 waiting" in repr(condition))
    with condition:
        assert re.fullmatch("<treadle.Condition .* of <locked .*>, 1 waiting>", repr(condition))
        condition.notify()
    waiting.result()


def test_the_repr_of_a_barrier_tells_who_has_come(shared: bool, other: OtherThread) -> None:
    barrier = treadle.Barrier(2, shared=shared)
    assert repr(barrier).endswith(": waiters=0/2>")
    waiting = other.start(barrier.wait)
    until(lambda: repr(barrier).endswith(": waiters=1/2>"))
    barrier.abort()
    assert repr(barrier).endswith(": broken>")
    assert waiting.exception() is not None


@all_objects
def test_statistics_are_a_frozen_snapshot(make: Callable[..., Any], shared: bool) -> None:
    statistics = make(shared=shared).statistics()
    assert dataclasses.is_dataclass(statistics)
    assert statistics.shared is shared
    with pytest.raises(dataclasses.FrozenInstanceError):
        statistics.label = "other"
    assert pickle.loads(pickle.dumps(statistics)) == statistics


@pytest.mark.parametrize("of", [treadle.Lock, treadle.RLock])
def test_the_statistics_of_a_lock(of: Callable[..., Any], shared: bool) -> None:
    lock = of(shared=shared, label="jobs")
    free = treadle.LockStatistics(
        label="jobs", shared=shared, locked=False, inconsistent=False, owner=None, recursion=0,
        waiting=0,
    )  # fmt: skip
    assert lock.statistics() == free
    with lock:
        held = dataclasses.replace(free, locked=True, owner=lock.owner, recursion=1)
        assert lock.statistics() == held
    assert lock.statistics() == free


def test_the_statistics_of_an_rwlock(shared: bool) -> None:
    lock = treadle.RWLock(shared=shared, label="index")
    free = treadle.RWLockStatistics(
        label="index", shared=shared, locked=False, inconsistent=False, owner=None, readers=0,
        waiting=0,
    )  # fmt: skip
    assert lock.statistics() == free
    with lock.read(), lock.read():
        assert lock.statistics() == dataclasses.replace(free, locked=True, readers=2)
    with lock.write():
        assert lock.statistics() == dataclasses.replace(free, locked=True, owner=lock.owner)
    assert lock.statistics() == free


def test_the_statistics_of_a_latch(shared: bool) -> None:
    latch = treadle.Latch(3, shared=shared, label="ready")
    latch.count_down(2)
    assert latch.statistics() == treadle.LatchStatistics(
        label="ready", shared=shared, count=1, initial=3, waiting=0
    )


def test_the_statistics_of_a_semaphore(shared: bool) -> None:
    semaphore = treadle.Semaphore(3, shared=shared, label="tickets")
    semaphore.acquire()
    assert semaphore.statistics() == treadle.SemaphoreStatistics(
        label="tickets", shared=shared, value=2, initial=3, bound=None, reclaim=False, waiting=0
    )
    bounded = treadle.BoundedSemaphore(3, shared=shared, label="tickets")
    # Nobody dies alone in one process: a private one has nothing to reclaim.
    assert bounded.statistics() == treadle.SemaphoreStatistics(
        label="tickets", shared=shared, value=3, initial=3, bound=3, reclaim=shared, waiting=0
    )


def test_the_statistics_of_an_event(shared: bool) -> None:
    event = treadle.Event(shared=shared, label="ready")
    for is_set in (False, True):
        assert event.statistics() == treadle.EventStatistics(
            label="ready", shared=shared, is_set=is_set, waiting=0
        )
        event.set()


def test_the_statistics_of_a_condition(shared: bool) -> None:
    condition = treadle.Condition(shared=shared, label="news")
    lock = condition.statistics().lock
    assert lock is not None
    assert (lock.label, lock.locked) == ("news", False)
    with condition:
        statistics = condition.statistics()
        assert statistics.lock is not None
        assert (statistics.waiting, statistics.lock.locked) == (0, True)
    foreign = treadle.Condition(threading.Lock(), shared=False)
    assert foreign.statistics().lock is None


def test_the_statistics_of_a_barrier(shared: bool) -> None:
    barrier = treadle.Barrier(3, shared=shared, label="gate")
    for broken in (False, True):
        assert barrier.statistics() == treadle.BarrierStatistics(
            label="gate", shared=shared, parties=3, waiting=0, broken=broken
        )
        barrier.abort()


@all_lock_types
def test_those_who_wait_for_a_shared_one_are_counted_in_all_processes(
    kind: LockType, shared: bool, other: OtherThread
) -> None:
    lock = kind.factory(shared=shared)
    counted = getattr(lock, "_lock", lock)  # of a condition, those who wait for its lock
    lock.acquire()
    if not shared:
        assert counted.statistics().waiting == 0
        return
    waiting = other.start(lock.acquire)
    until(lambda: counted.statistics().waiting == 1)
    with forked(_acquire_and_release, lock) as child:
        until(lambda: counted.statistics().waiting == 2)
        child.kill()
    assert counted.statistics().waiting == 1  # the dead wait for nothing
    lock.release()
    assert waiting.result() is True
    assert counted.statistics().waiting == 0


def _acquire_and_release(line: Connection, lock: Any) -> None:
    lock.acquire()
    lock.release()
