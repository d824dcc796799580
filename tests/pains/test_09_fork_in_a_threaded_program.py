"""A fork in a threaded program deadlocks the child (python/cpython#105464)."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.sync.children import Child, forked
from tests.sync.kinds import LOCK_TYPES, LockType, both_storages
from tests.sync.threads import OtherThread, until, until_parked
from treadle import queue as drop_in_queue
from treadle import threading as drop_in


@pytest.fixture
def other() -> Iterator[OtherThread]:
    """A second thread, which does what it is told."""
    thread = OtherThread("other")
    yield thread
    thread.dismiss()


every_lock = pytest.mark.parametrize("kind", LOCK_TYPES, ids=lambda kind: kind.name)


@pytest.mark.parametrize(
    "held",
    [threading.Lock, threading.RLock, threading.Condition, lambda: queue.Queue().mutex],
    ids=["Lock", "RLock", "Condition", "queue.Queue"],
)
def test_in_the_standard_library_what_another_thread_held_is_held_for_ever(
    held: Callable[[], Any], other: OtherThread
) -> None:
    lock = held()
    other.do(lock.acquire)
    with forked(_cannot_acquire, lock):
        pass
    other.do(lock.release)


@every_lock
def test_what_another_thread_held_is_free_in_the_child(kind: LockType, other: OtherThread) -> None:
    """What a thread holds that does not exist there, of an object that is the child's own."""
    permits = (2,) if "emaphore" in kind.name else ()  # which nobody owns: there are others left
    lock = kind.factory(*permits, shared=False)
    other.do(lock.acquire)
    with forked(_acquire_and_release, lock):
        pass
    other.do(lock.release)


@pytest.mark.parametrize(
    "held",
    [
        drop_in.Lock,
        drop_in.RLock,
        drop_in.Condition,
        lambda: drop_in.Condition(drop_in.Lock()),
    ],
    ids=["Lock", "RLock", "Condition", "Condition of a Lock"],
)
def test_of_the_drop_ins_what_another_thread_held_is_free_in_the_child(
    held: Callable[[], Any], other: OtherThread
) -> None:
    lock = held()
    other.do(lock.acquire)
    with forked(_acquire_and_release, lock):
        pass
    other.do(lock.release)


def test_of_the_drop_ins_who_waited_in_another_thread_does_not_wait_in_the_child(
    other: OtherThread,
) -> None:
    queue: drop_in_queue.Queue[str] = drop_in_queue.Queue()

    def use(line: Connection) -> None:
        queue.put("item")
        assert queue.get() == "item"

    getting = other.start(queue.get)
    until_parked(queue, other.native_id)
    with forked(use):
        pass
    queue.put("item")
    assert getting.result() == "item"


@every_lock
def test_what_another_thread_holds_of_a_shared_one_comes_free_when_it_releases(
    kind: LockType, other: OtherThread
) -> None:
    lock = kind.factory()
    other.do(lock.acquire)
    with forked(_acquire_and_release, lock):
        until(lambda: getattr(lock, "_lock", lock).statistics().waiting == 1)
        other.do(lock.release)


@pytest.mark.slow
@both_storages
def test_a_fork_at_any_time_leaves_everything_usable(shared: bool) -> None:
    """Threads use everything without a pause while the main thread forks, and forks again."""
    things = _Things(shared)
    with _busy_threads(things):
        for _ in range(30):
            children = [Child(_use_everything, things) for _ in range(2)]
            try:
                for child in children:
                    child.join()
            finally:
                for child in children:
                    child.dispose()
    _use_everything(None, things)


class _Things:
    """One of each, and queues; with permits and places enough for all who use them."""

    def __init__(self, shared: bool) -> None:
        self.locks = [
            treadle.Lock(shared=shared),
            treadle.RLock(shared=shared),
            treadle.Condition(shared=shared),
            treadle.Semaphore(100, shared=shared),
            treadle.Semaphore(100, shared=shared, reclaim=True),
            treadle.BoundedSemaphore(100, shared=shared),
        ]
        self.event = treadle.Event(shared=shared)
        self.condition = treadle.Condition(shared=shared)
        self.barrier = treadle.Barrier(2, shared=shared)
        self.queues: list[treadle.Queue[object]] = [treadle.Queue(), treadle.Queue(maxsize=3)]

    def use(self) -> None:
        for lock in self.locks:
            with lock:
                pass
        self.event.set()
        self.event.clear()
        with self.condition:
            self.condition.wait(timeout=0)
            self.condition.notify_all()
        for q in self.queues:
            q.put(("a tuple", 1))
            q.get()
        made = treadle.Lock()
        del made

    def meet(self) -> None:
        try:
            self.barrier.wait(timeout=0.001)
        except treadle.BrokenBarrierError:
            self.barrier.reset()


@contextmanager
def _busy_threads(things: _Things) -> Iterator[None]:
    done = threading.Event()

    def be_busy(act: Callable[[], None]) -> None:
        while not done.is_set():
            act()

    threads = [OtherThread() for _ in range(4)]
    acts = [things.use, things.use, things.meet, things.meet]
    busy = [thread.start(be_busy, act) for thread, act in zip(threads, acts, strict=True)]
    try:
        yield
    finally:
        done.set()
        for b in busy:
            b.result()
        for thread in threads:
            thread.end()


# ---- What the children do


def _cannot_acquire(line: Connection, lock: Any) -> None:
    acquire = getattr(lock, "_lock", lock).acquire
    assert acquire(timeout=0.1) is False


def _acquire_and_release(line: Connection, lock: Any) -> None:
    assert lock.acquire() is True
    lock.release()


def _use_everything(line: Connection | None, things: _Things) -> None:
    for _ in range(20):
        things.use()
    things.meet()
