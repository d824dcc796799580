"""What a program finds on a queue beside its methods: a bound that may change, the work left."""

from __future__ import annotations

import queue as stdlib
import threading
from typing import Any

import pytest

from tests.sync.threads import OtherThread, until_parked
from treadle import queue

# What is shown of both is what the two have in common.
both = pytest.mark.parametrize("module", [stdlib, queue], ids=["stdlib", "treadle"])
kinds = pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])


class Hooked(queue.Queue):
    """Keeps its items itself."""

    def _put(self, item: Any) -> None:
        super()._put(item)


bounded = pytest.mark.parametrize(
    "make", [queue.Queue, queue.LifoQueue, queue.PriorityQueue, Hooked]
)


# ---- maxsize


@both
@kinds
def test_a_larger_bound_makes_room(module: Any, kind: str) -> None:
    jobs = getattr(module, kind)(1)
    jobs.put(1)
    jobs.maxsize = 2
    assert (jobs.maxsize, jobs.full()) == (2, False)
    jobs.put(2, block=False)
    with pytest.raises(module.Full):
        jobs.put_nowait(3)


@both
@kinds
def test_a_smaller_bound_leaves_what_is_there(module: Any, kind: str) -> None:
    jobs = getattr(module, kind)(3)
    for number in range(3):
        jobs.put(number)
    jobs.maxsize = 1
    assert (jobs.qsize(), jobs.full()) == (3, True)
    for _ in range(2):
        jobs.get()
        with pytest.raises(module.Full):
            jobs.put(9, timeout=0.001)
    jobs.get()
    jobs.put(9)


@both
@kinds
@pytest.mark.parametrize("none", [0, -1])
def test_no_bound_at_all(module: Any, kind: str, none: int) -> None:
    jobs = getattr(module, kind)(1)
    jobs.put(1)
    jobs.maxsize = none
    for number in range(100):
        jobs.put_nowait(number)
    assert not jobs.full()
    jobs.maxsize = 5
    assert jobs.full()


@bounded
def test_who_waits_for_room_is_told_of_a_new_bound(make: Any, other: OtherThread) -> None:
    """The standard library's putters learn of it from the next get."""
    jobs = make(1)
    jobs.put(1)
    putting = other.start(jobs.put, 2)
    until_parked(jobs, other.native_id)
    jobs.maxsize = 2
    putting.result()
    assert jobs.qsize() == 2


@bounded
def test_all_who_wait_for_room_are_told_that_there_is_no_bound(make: Any) -> None:
    jobs = make(1)
    jobs.put(0)
    others = [OtherThread() for _ in range(4)]
    puts = [other.start(jobs.put, number + 1) for number, other in enumerate(others)]
    for other in others:
        until_parked(jobs, other.native_id)
    jobs.maxsize = 0
    for put in puts:
        put.result()
    for other in others:
        other.end()
    assert sorted(jobs.get() for _ in range(5)) == [0, 1, 2, 3, 4]


@pytest.mark.slow
@bounded
def test_a_bound_that_keeps_changing_loses_nothing_and_strands_nobody(make: Any) -> None:
    jobs, got = make(1), []
    stop = threading.Event()

    def change() -> None:
        bound = 0
        while not stop.is_set():
            bound = bound % 5 + 1
            jobs.maxsize = bound

    def put(first: int) -> None:
        for number in range(first, first + 200):
            jobs.put(number)

    threads = [threading.Thread(target=put, args=(first,)) for first in (0, 200, 400)]
    threads.append(threading.Thread(target=lambda: got.extend(jobs.get() for _ in range(600))))
    changing = threading.Thread(target=change)
    for thread in (changing, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    changing.join()
    assert sorted(got) == list(range(600))
    assert jobs.empty()


@bounded
@pytest.mark.parametrize("bad", ["1", None])
def test_a_bound_is_a_number(make: Any, bad: Any) -> None:
    jobs = make(3)
    with pytest.raises(TypeError):
        jobs.maxsize = bad
    assert jobs.maxsize == 3


# ---- unfinished_tasks


@both
@kinds
def test_unfinished_tasks_are_those_that_were_put_and_not_done(module: Any, kind: str) -> None:
    jobs = getattr(module, kind)()
    jobs.put(1)
    jobs.put(2)
    assert jobs.unfinished_tasks == 2
    jobs.get()
    assert jobs.unfinished_tasks == 2
    jobs.task_done()
    assert jobs.unfinished_tasks == 1
    jobs.unfinished_tasks = 0
    jobs.join()
    with pytest.raises(ValueError, match="called too many times"):
        jobs.task_done()
    jobs.put(3)
    assert jobs.unfinished_tasks == 1


@bounded
def test_who_joins_is_told_when_the_count_is_set_to_none(make: Any, other: OtherThread) -> None:
    jobs = make()
    jobs.put(1)
    joining = other.start(jobs.join)
    until_parked(jobs, other.native_id)
    jobs.unfinished_tasks = 2
    assert not joining.done()
    jobs.unfinished_tasks = 0
    joining.result()
