"""Bridges between asyncio, threads and processes cost a thread each (aio-libs/janus#419).

Each count of threads is taken in a process of its own, where nobody else begins or ends any; it is
what the kernel counts, whoever made them.
"""

from __future__ import annotations

import asyncio
import queue as standard_queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Self

import pytest

import treadle
import treadle.queue
from tests.aio.kinds import NAMED, WAITS
from tests.aio.loops import native_threads, settle
from tests.queue.kinds import KINDS
from tests.queue.workers import Worker
from tests.sync.children import forked

# ---- The usual way


def test_with_an_executor_each_that_waits_has_a_thread() -> None:
    with forked(wait_in_executor, 50) as child:
        assert child.hear() == 50


def wait_in_executor(line: Connection, count: int) -> None:
    queue: standard_queue.Queue[int] = standard_queue.Queue()

    async def main() -> None:
        before = native_threads()
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(count) as pool:
            waits = [loop.run_in_executor(pool, queue.get) for _ in range(count)]
            line.send(native_threads() - before)
            for number in range(count):
                queue.put(number)
            assert sorted(await asyncio.gather(*waits)) == list(range(count))

    asyncio.run(main())


def test_with_too_few_threads_who_waits_keeps_who_would_wake_it_from_running() -> None:
    """The default executor has few, and all who use it wait for each other."""

    async def main() -> None:
        queue: standard_queue.Queue[str] = standard_queue.Queue()
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(2) as pool:
            waits = [loop.run_in_executor(pool, queue.get) for _ in range(2)]
            waking = loop.run_in_executor(pool, queue.put, "item")
            done, _ = await asyncio.wait([waking, *waits], timeout=0.1)
            assert not done
            queue.put("one")
            queue.put("two")
            assert len(await asyncio.gather(*waits)) == 2

    asyncio.run(main())


# ---- treadle: nobody waits in a thread


async def begin_reactor() -> None:
    """The one thread that a process has for all its tasks, from the first wait for a shared one."""
    event = treadle.Event()
    wait = asyncio.create_task(event.aio.wait())
    await settle()
    event.set()
    await wait


async def without_threads(waits: list[Any], feed: Callable[[], object]) -> list[Any]:
    """Have all wait, feed them, and see that this makes no thread; returns what they return."""
    before = native_threads()

    async def count_after(wait: Any) -> tuple[Any, int]:
        return await wait, native_threads()

    tasks = [asyncio.create_task(count_after(wait)) for wait in waits]
    await settle()
    assert not any(task.done() for task in tasks)
    assert native_threads() == before
    feed()
    answers, counts = zip(*await asyncio.gather(*tasks), strict=True)
    assert set(counts) == {before}
    return list(answers)


class Feeders:
    """Threads or processes that each do their lot once told to, and then stay until the end."""

    def __init__(
        self,
        kind: str,
        function: Callable[..., object],
        *lots: tuple[Any, ...],
        before: Callable[..., object] = lambda *lot: None,
    ) -> None:
        self._go, self._end = treadle.Semaphore(0), treadle.Semaphore(0)
        ready = treadle.Semaphore(0)
        told = ready, self._go, self._end
        self._workers = [Worker(kind, do_when_told, *told, before, function, *lot) for lot in lots]
        for _ in lots:
            ready.acquire()

    def feed(self) -> None:
        self._go.release(len(self._workers))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: object, *error: object) -> None:
        try:
            if not failed:
                self._end.release(len(self._workers))
                for worker in self._workers:
                    worker.join()
        finally:
            for worker in self._workers:
                worker.dispose()


def do_when_told(
    ready: treadle.Semaphore,
    go: treadle.Semaphore,
    end: treadle.Semaphore,
    before: Callable[..., object],
    function: Callable[..., object],
    *lot: Any,
) -> None:
    before(*lot)
    ready.release()
    go.acquire()
    function(*lot)
    end.acquire()


# ---- Queues: thousands of tasks at one

# Private ones, and those of the drop-in, are used by threads; shared ones by processes as well.
QUEUES = [
    pytest.param(partial(kind, shared=shared), by, id=f"{kind.__name__}, by {by}, {shared=}")
    for kind in KINDS
    for shared, by in [(False, "thread"), (True, "thread"), (True, "fork")]
]
DROP_INS = [
    pytest.param(kind, "thread", id=f"treadle.queue.{kind.__name__}, by thread")
    for kind in (treadle.queue.Queue, treadle.queue.PriorityQueue, treadle.queue.LifoQueue)
]
UNBOUNDED = [pytest.param(treadle.queue.SimpleQueue, "thread", id="treadle.queue.SimpleQueue")]
COUNT = 2000


@pytest.mark.slow
@pytest.mark.parametrize(("make", "by"), QUEUES + DROP_INS + UNBOUNDED)
def test_thousands_of_tasks_get_what_others_put(make: Callable[[], Any], by: str) -> None:
    with forked(get_by_thousands, make, by) as child:
        child.expect("each has got one")


def get_by_thousands(line: Connection, make: Callable[[], Any], by: str) -> None:
    queue = make()
    halves = range(COUNT // 2), range(COUNT // 2, COUNT)

    async def main() -> None:
        await begin_reactor()
        got = await without_threads([queue.aio.get() for _ in range(COUNT)], feeders.feed)
        assert sorted(got) == list(range(COUNT))

    with Feeders(by, put_all, *((queue, half) for half in halves)) as feeders:
        asyncio.run(main())
    line.send("each has got one")


def put_all(queue: Any, items: range) -> None:
    for item in items:
        queue.put(item)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "by"), QUEUES + DROP_INS)
def test_others_get_what_thousands_of_tasks_put(make: Callable[..., Any], by: str) -> None:
    """There is room for one item at a time."""
    with forked(put_by_thousands, make, by) as child:
        child.expect("all have come")


def put_by_thousands(line: Connection, make: Callable[..., Any], by: str) -> None:
    queue, got = make(1), treadle.Queue()
    queue.put(-1)

    async def main() -> None:
        await begin_reactor()
        await without_threads([queue.aio.put(number) for number in range(COUNT)], feeders.feed)
        numbers = [await got.aio.get() for _ in range(COUNT)]
        assert sorted([*numbers, await queue.aio.get()]) == list(range(-1, COUNT))

    with Feeders(by, get_half, (queue, got), (queue, got)) as feeders:
        asyncio.run(main())
    line.send("all have come")


def get_half(queue: Any, got: treadle.Queue) -> None:
    for _ in range(COUNT // 2):
        got.put(queue.get())


# ---- All objects: a hundred tasks at each of them, at once

EACH = 100


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shared", "by"),
    [
        pytest.param(False, "thread", id="private ones, by a thread"),
        pytest.param(True, "thread", id="shared ones, by a thread"),
        pytest.param(True, "fork", id="shared ones, by a process"),
    ],
)
def test_thousands_of_tasks_that_wait_for_all_kinds_of_objects(shared: bool, by: str) -> None:
    with forked(wait_for_all_kinds, shared, by) as child:
        child.expect("none waits any more")


def wait_for_all_kinds(line: Connection, shared: bool, by: str) -> None:
    things = {wait.name: wait.make(shared) for wait in WAITS if shared in wait.storages()}

    async def main() -> None:
        await begin_reactor()
        waits = [NAMED[name].use(thing) for name, thing in things.items() for _ in range(EACH)]
        assert all(await without_threads(waits, holder.feed))

    with Feeders(by, let_all_through, (things,), before=hold_all) as holder:
        asyncio.run(main())
    for name, thing in things.items():
        NAMED[name].settled(thing)
    line.send("none waits any more")


def hold_all(things: dict[str, Any]) -> None:
    for name, thing in things.items():
        NAMED[name].hold(thing)


def let_all_through(things: dict[str, Any]) -> None:
    for name, thing in things.items():
        for _ in range(EACH if NAMED[name].one_each else 1):
            NAMED[name].end(thing)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["thread", "fork"])
def test_thousands_of_tasks_that_receive_at_pipes(by: str) -> None:
    with forked(receive_by_thousands, by) as child:
        child.expect("each has received one")


def receive_by_thousands(line: Connection, by: str) -> None:
    pipes = [treadle.Pipe() for _ in range(20)]

    async def main() -> None:
        await begin_reactor()
        waits = [here.aio.recv() for here, _ in pipes for _ in range(EACH)]
        got = await without_threads(waits, sender.feed)
        assert sorted(got) == sorted([*range(EACH)] * len(pipes))

    with Feeders(by, send_to_all, ([there for _, there in pipes],)) as sender:
        asyncio.run(main())
    line.send("each has received one")


def send_to_all(ends: list[treadle.Connection]) -> None:
    for number in range(EACH):
        for end in ends:
            end.send(number)
