"""Subclasses that reach for what the pure Python queue is made of (others: test_queue_asked.py).

What is run over both modules is what treadle's and the standard library's have in common.
"""

from __future__ import annotations

import heapq
import inspect
import queue as stdlib
import threading
import time
from typing import Any

import pytest

from tests.sync.threads import OtherThread
from treadle import queue
from treadle import threading as drop_in

both = pytest.mark.parametrize("module", [stdlib, queue], ids=["stdlib", "treadle"])
kinds = pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])
conditions = pytest.mark.parametrize(
    "condition", [threading.Condition, drop_in.Condition], ids=["stdlib's", "treadle's"]
)
NAMES = ["Queue", "LifoQueue", "PriorityQueue", "SimpleQueue"]


def peekable(module: Any, kind: str = "Queue") -> Any:
    """No hooks, but methods that use the items: what is in most programs."""

    class Peekable(getattr(module, kind)):  # type: ignore[misc]
        def peek(self) -> Any:
            with self.mutex:
                return self.queue[0]

        def clear(self) -> None:
            with self.mutex:
                self.queue.clear()
                self.unfinished_tasks = 0
                self.all_tasks_done.notify_all()
                self.not_full.notify_all()

        def to_front(self, item: Any) -> None:
            with self.mutex:
                self.queue.appendleft(item)
                self.unfinished_tasks += 1
                self.not_empty.notify()

        def waiting_peek(self) -> Any:
            with self.not_empty:
                while not self._qsize():
                    self.not_empty.wait()
                return self.queue[0]

        def when_room(self) -> str:
            with self.not_full:
                while 0 < self.maxsize <= self._qsize():
                    self.not_full.wait()
                return "room"

        def join_for(self, seconds: float) -> bool:
            with self.all_tasks_done:
                end = time.monotonic() + seconds
                while self.unfinished_tasks and (left := end - time.monotonic()) > 0:
                    self.all_tasks_done.wait(left)
                return not self.unfinished_tasks

    return Peekable


# ---- Items


@both
@kinds
def test_the_items_lie_in_a_list(module: Any, kind: str) -> None:
    jobs = peekable(module, kind)()
    for number in (3, 1, 2):
        jobs.put(number)
    expected = [1, 3, 2] if kind == "PriorityQueue" else [3, 1, 2]
    assert list(jobs.queue) == expected
    assert jobs.peek() == expected[0]
    jobs.queue.remove(1)
    if kind == "PriorityQueue":
        heapq.heapify(jobs.queue)
    assert jobs.qsize() == 2
    assert sorted(jobs.get_nowait() for _ in range(2)) == [2, 3]


@both
def test_what_is_thrown_away_makes_room_and_leaves_nothing_to_join(module: Any) -> None:
    jobs = peekable(module)(1)
    jobs.put(1)
    putting = OtherThread()
    put = putting.start(jobs.put, 2)
    jobs.clear()
    put.result()
    putting.end()
    jobs.clear()
    jobs.join()
    assert jobs.empty()


@both
def test_an_item_put_in_by_hand_is_got(module: Any) -> None:
    jobs = peekable(module)()
    getting = OtherThread()
    got = getting.start(jobs.get)
    jobs.to_front("first")
    assert got.result() == "first"
    getting.end()


# ---- Conditions


@both
def test_who_waits_for_the_conditions_is_woken_by_the_methods(module: Any) -> None:
    jobs = peekable(module)(1)
    other = OtherThread()
    peeking = other.start(jobs.waiting_peek)
    jobs.put("job")
    assert peeking.result() == "job"
    waiting = other.start(jobs.when_room)
    jobs.get()
    assert waiting.result() == "room"
    joining = other.start(jobs.join_for, 3600)
    jobs.task_done()
    assert joining.result()
    other.end()


@both
@pytest.mark.skipif(not hasattr(stdlib.Queue, "shutdown"), reason="from Python 3.13 on")
def test_a_shutdown_wakes_whoever_waits_for_a_condition(module: Any) -> None:
    jobs = peekable(module)()
    other = OtherThread()

    def wait() -> bool:
        with jobs.not_empty:
            while not jobs.is_shutdown:
                jobs.not_empty.wait()
            return True

    waiting = other.start(wait)
    jobs.shutdown()
    assert waiting.result()
    other.end()


@both
def test_a_condition_of_a_queue_is_used_with_its_lock_held(module: Any) -> None:
    jobs = peekable(module)()
    with pytest.raises(RuntimeError, match="un-acquired lock"):
        jobs.not_empty.wait()
    with pytest.raises(RuntimeError, match="un-acquired lock"):
        jobs.not_full.notify()
    assert jobs.all_tasks_done.acquire()
    assert jobs.mutex.locked()
    assert not jobs.not_empty.wait(timeout=0.001)
    assert not jobs.not_empty.wait_for(jobs._qsize, timeout=0.001)
    jobs.all_tasks_done.release()
    assert not jobs.mutex.locked()


# ---- The mutex as a lock


@both
def test_the_mutex_is_acquired_as_any_lock(module: Any) -> None:
    jobs = peekable(module)()
    other = OtherThread()
    assert jobs.mutex.acquire(timeout=1)
    for arguments in [(False,), (True, 0.001)]:
        assert not jobs.mutex.acquire(*arguments)
        assert not other.do(jobs.mutex.acquire, *arguments)
    assert jobs.mutex.locked()
    with pytest.raises(ValueError, match="timeout"):
        jobs.mutex.acquire(False, 1)
    jobs.mutex.release()
    assert jobs.mutex.acquire(blocking=False)
    jobs.mutex.release()
    other.end()


@both
@conditions
def test_a_condition_is_made_of_the_mutex(module: Any, condition: Any) -> None:
    jobs = peekable(module)()
    try:
        of_mutex = condition(jobs.mutex)
    except TypeError:
        of_mutex = condition(jobs.mutex, shared=False)
    seen: list[int] = []
    other = OtherThread()

    def wait() -> None:
        with of_mutex:
            of_mutex.wait_for(lambda: seen)

    waiting = other.start(wait)
    with of_mutex:
        seen.append(1)
        of_mutex.notify()
    waiting.result()
    jobs.put(1)
    assert jobs.get() == 1
    other.end()


# ---- What is shown


@pytest.mark.parametrize("name", NAMES)
def test_the_signature_is_the_standard_one(name: str) -> None:
    ours = getattr(queue, name)
    expected = "(maxsize=0)" if name != "SimpleQueue" else "()"
    assert str(inspect.signature(ours)) == expected
    assert ours.__name__ == ours.__qualname__ == name
    assert "Private" not in (ours.__doc__ or "")
    assert "--" not in (ours.__doc__ or "")
