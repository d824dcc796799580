"""Queues that are no subclass's, asked for what a pure Python one is made of, whoever is inside."""

from __future__ import annotations

import asyncio
import gc
import queue as stdlib
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import treadle
from tests.sync.threads import OtherThread, until, until_parked
from treadle import queue

both = pytest.mark.parametrize("module", [stdlib, queue], ids=["stdlib", "treadle"])
kinds = pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])
PARTS = ["queue", "mutex", "not_empty", "not_full", "all_tasks_done"]


def take_all(jobs: Any) -> list[Any]:
    return [jobs.get_nowait() for _ in range(jobs.qsize())]


# ---- What it is asked for


@both
@kinds
def test_a_queue_is_emptied_under_its_mutex(module: Any, kind: str) -> None:
    jobs = getattr(module, kind)(3)
    for number in (3, 1, 2):
        jobs.put(number)
    assert jobs.full()
    with jobs.mutex:
        assert type(jobs.queue) is type(getattr(stdlib, kind)().queue)
        assert jobs._qsize() == 3
        jobs.queue.clear()
        jobs.unfinished_tasks = 0
        jobs.all_tasks_done.notify_all()
    assert jobs.empty()
    jobs.join()
    jobs.put_nowait("new")
    assert jobs.get_nowait() == "new"


@both
@kinds
def test_the_items_lie_in_it_in_their_order_and_may_be_replaced(module: Any, kind: str) -> None:
    jobs = getattr(module, kind)()
    for number in (3, 1, 2):
        jobs.put(number)
    assert list(jobs.queue) == ([1, 3, 2] if kind == "PriorityQueue" else [3, 1, 2])
    with jobs.mutex:
        jobs.queue = type(jobs.queue)([7, 8, 9])
    assert take_all(jobs) == ([9, 8, 7] if kind == "LifoQueue" else [7, 8, 9])


@kinds
@pytest.mark.parametrize("name", PARTS)
def test_whatever_it_is_asked_for_first_it_goes_on_as_it_was(kind: str, name: str) -> None:
    jobs, like = getattr(queue, kind)(5), getattr(queue, kind)(5)
    for each in (jobs, like):
        for number in (4, 2, 5, 3):
            each.put(number)
        each.task_done()
        each.get()
    before = jobs.statistics()
    assert getattr(jobs, name) is getattr(jobs, name)
    assert jobs.statistics() == before
    assert (jobs.maxsize, jobs.unfinished_tasks, jobs.full()) == (5, 3, False)
    assert take_all(jobs) == take_all(like)
    assert jobs.statistics().gets == 4


@kinds
@pytest.mark.parametrize("immediate", [False, True])
def test_one_that_is_shut_down_stays_so(kind: str, immediate: bool) -> None:
    jobs = getattr(queue, kind)()
    jobs.put(1)
    jobs.shutdown(immediate)
    assert len(jobs.queue) == (0 if immediate else 1)
    assert jobs.is_shutdown
    with pytest.raises(queue.ShutDown):
        jobs.put(2)
    if not immediate:
        assert jobs.get() == 1
    with pytest.raises(queue.ShutDown):
        jobs.get()


def test_a_subclass_without_room_for_attributes_can_be_asked_too() -> None:
    class Slotted(queue.LifoQueue):
        __slots__ = ()

    jobs = Slotted()
    jobs.put(1)
    with jobs.mutex:
        assert jobs.queue == [1]


# ---- Who is inside


@kinds
@pytest.mark.parametrize("timeout", [None, 3600.0])
def test_threads_that_wait_are_served_by_what_is_done_by_hand(
    kind: str, timeout: float | None
) -> None:
    jobs = getattr(queue, kind)(1)
    others = [OtherThread() for _ in range(3)]
    gets = [other.start(jobs.get, True, timeout) for other in others]
    for other in others:
        until_parked(jobs, other.native_id)
    with jobs.mutex:
        jobs.queue.append("by hand")
    jobs.put("put")
    assert treadle.Queue.join(jobs, 0) is False
    jobs.put("another")
    assert {get.result() for get in gets} == {"by hand", "put", "another"}
    for other in others:
        other.end()


@kinds
def test_threads_that_wait_for_room_or_the_end_of_work_are_served(kind: str) -> None:
    jobs = getattr(queue, kind)(1)
    jobs.put(1)
    others = [OtherThread() for _ in range(3)]
    puts = [others[0].start(jobs.put, 2), others[1].start(jobs.put, 2, True, 3600)]
    join = others[2].start(jobs.join)
    for other in others:
        until_parked(jobs, other.native_id)
    with jobs.mutex:
        jobs.queue.clear()
    jobs.get()
    for put in puts:
        put.result()
    assert jobs.get() == 2
    assert not join.done()
    for _ in range(3):
        jobs.task_done()
    join.result()
    for other in others:
        other.end()


@both
@kinds
def test_the_time_of_who_waits_goes_on(module: Any, kind: str) -> None:
    jobs, other = getattr(module, kind)(), OtherThread()
    got = other.start(jobs.get, True, 0.05)
    with jobs.mutex:
        pass
    assert isinstance(got.exception(), module.Empty)
    other.end()


@kinds
def test_tasks_that_wait_are_served(kind: str) -> None:
    jobs = getattr(queue, kind)(1)

    async def main() -> None:
        gets = [asyncio.ensure_future(jobs.aio.get()) for _ in range(2)]
        await asyncio.sleep(0)
        with jobs.mutex:
            jobs.queue.append("by hand")
        await jobs.aio.put("put")
        assert sorted(await asyncio.gather(*gets)) == ["by hand", "put"]

    async def cancelled() -> None:
        getting = asyncio.ensure_future(jobs.aio.get())
        await asyncio.sleep(0)
        assert not jobs.queue
        getting.cancel()
        await asyncio.wait([getting])
        jobs.put(1)
        assert await jobs.aio.get() == 1

    asyncio.run(main())
    jobs = getattr(queue, kind)(1)
    asyncio.run(cancelled())


def test_who_asks_waits_for_a_comparison_that_is_under_way(other: OtherThread) -> None:
    jobs: Any = queue.PriorityQueue()
    comparing, go_on = threading.Event(), threading.Event()

    class Slow(int):
        def __lt__(self, than: int) -> bool:
            comparing.set()
            assert go_on.wait(60)
            return int(self) < int(than)

    jobs.put(Slow(2))
    put = other.start(jobs.put, Slow(1))
    assert comparing.wait(60)
    asking = OtherThread()
    asked = asking.start(lambda: list(jobs.queue))
    assert not asked.done()
    go_on.set()
    put.result()
    assert asked.result() == [1, 2]
    asking.end()


def test_a_comparison_cannot_ask_its_own_queue() -> None:
    jobs: Any = queue.PriorityQueue()

    class Curious(int):
        def __lt__(self, other: int) -> bool:
            return bool(jobs.queue)

    jobs.put(Curious(1))
    with pytest.raises(RuntimeError, match="puts its items in order"):
        jobs.put(Curious(2))
    assert list(jobs.queue) == [1]


# ---- Leases


@kinds
def test_what_is_out_on_lease_comes_back_or_is_done(kind: str) -> None:
    jobs = getattr(queue, kind)()
    for number in range(3):
        jobs.put(number)
    lost, done = jobs.lease(), jobs.lease()
    left = {0, 1, 2} - {lost.item, done.item}
    assert set(jobs.queue) == left
    assert jobs.statistics().leased == 2
    done.ack()
    lost.nack()
    with jobs.lease() as again:
        assert (again.item, again.deliveries) == (lost.item, 2)
    assert jobs.get() in left
    jobs.task_done()
    jobs.join()
    assert jobs.statistics().redelivered == 1


@kinds
def test_what_has_come_back_lies_beside_the_others(kind: str) -> None:
    jobs = getattr(queue, kind)()
    for number in range(3):
        jobs.put(number)
    lease = jobs.lease()
    lease.nack()
    with jobs.mutex:
        jobs.queue.clear()
    assert jobs.qsize() == 1
    with jobs.lease() as again:
        assert (again.item, again.deliveries) == (lease.item, 2)


def test_what_has_come_back_and_is_not_the_next_keeps_its_place() -> None:
    stack: Any = queue.LifoQueue()
    for number in range(2):
        stack.put(number)
    stack.lease().nack()
    stack.put(2)
    assert stack.queue == [0, 1, 2]
    jobs: Any = queue.PriorityQueue()
    jobs.put(2)
    jobs.lease().nack()
    jobs.put(1)
    assert jobs.get() == 1
    jobs.put(1)
    assert jobs.queue == [1, 2]
    assert take_all(jobs) == [1, 2]


def test_who_waits_after_a_shutdown_for_a_lease_gets_what_comes_back(other: OtherThread) -> None:
    jobs: Any = queue.Queue()
    jobs.put(1)
    lease = jobs.lease()
    jobs.shutdown()
    getting = other.start(jobs.get)
    until_parked(jobs, other.native_id)
    assert not jobs.queue
    lease.nack()
    assert getting.result() == 1


# ---- Memory


@kinds
def test_nothing_is_kept_that_was_taken(kind: str) -> None:
    class Item:
        def __lt__(self, other: object) -> bool:
            return False

    jobs = getattr(queue, kind)()
    items = [Item() for _ in range(20)]
    seen = [weakref.ref(item) for item in items]
    while items:
        jobs.put(items.pop())
    assert len(jobs.queue) == 20
    gc.collect()
    assert all(each() for each in seen)
    while not jobs.empty():
        jobs.get()
    assert not any(each() for each in seen)
    jobs.put(jobs)  # a cycle, for the collector
    gone = weakref.ref(jobs)
    del jobs
    gc.collect()
    assert gone() is None


@kinds
def test_a_finalizer_may_put_while_the_queue_is_asked(kind: str) -> None:
    """One that runs wherever something is allocated, as the collector has it."""
    jobs = getattr(queue, kind)()
    put = 0

    class Trash:
        def __del__(self) -> None:
            nonlocal put
            jobs.put(put)
            put += 1

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(50):
            trash = Trash()
            trash.itself = trash  # type: ignore[attr-defined]
            del trash
            jobs.put(-1)
            assert jobs.mutex
            taken = set()
            while not jobs.empty():
                taken.add(jobs.get_nowait())
            assert -1 in taken
            jobs.__init__()
    finally:
        gc.set_threshold(*before)
    assert put


# ---- All at once


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads change hands all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.slow
@pytest.mark.usefixtures("restless")
@kinds
@pytest.mark.parametrize("maxsize", [0, 2])
def test_items_are_neither_lost_nor_doubled_when_it_is_asked_under_load(
    kind: str, maxsize: int
) -> None:
    """Threads and a loop's tasks put and get, while one more asks."""
    part = iter(PARTS * 100)
    for _ in range(30):
        jobs = getattr(queue, kind)(maxsize)
        got: list[int] = []

        def put(first: int, jobs: Any = jobs) -> None:
            for number in range(first, first + 100):
                jobs.put(number)

        def get(jobs: Any = jobs, got: list[int] = got) -> None:
            for _ in range(100):
                got.append(jobs.get())
                jobs.task_done()

        def in_loop(jobs: Any = jobs, got: list[int] = got) -> None:
            async def each(number: int) -> None:
                await jobs.aio.put(number)
                got.append(await jobs.aio.get(timeout=60))
                jobs.task_done()

            async def main() -> None:
                await asyncio.gather(*(each(1000 + number) for number in range(40)))

            asyncio.run(main())

        calls: list[Callable[[], Any]] = [
            lambda put=put: put(0),
            lambda put=put: put(100),
            get,
            get,
        ]
        threads = [threading.Thread(target=call) for call in (*calls, in_loop)]
        for thread in threads:
            thread.start()
        until(lambda got=got: got)
        assert getattr(jobs, next(part)) is not None
        for thread in threads:
            thread.join()
        assert sorted(got) == [*range(200), *range(1000, 1040)]
        assert jobs.empty()
        jobs.join()
