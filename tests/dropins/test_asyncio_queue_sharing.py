"""asyncio queues with hooks: cancelled, shut down, collected, shared with threads and loops."""

from __future__ import annotations

import asyncio as stdlib
import gc
import sys
import weakref
from typing import Any

import pytest

from tests.aio.loops import OtherLoop, settle, steps
from tests.dropins.subclasses import (
    both,
    can_shut_down,
    kinds,
    own_heap,
    run,
    seen_queue,
    set_queue,
)
from tests.sync.threads import OtherThread, until_parked
from treadle import asyncio

# ---- Cancelled, shut down, described, collected


@both
def test_a_cancelled_get_takes_nothing_and_its_notification_is_passed_on(module: Any) -> None:
    async def main(before: int) -> None:
        jobs = set_queue(module)()
        victim, heir = (stdlib.create_task(jobs.get()) for _ in range(2))
        await settle()
        await jobs.put("job")
        await steps(before)
        victim.cancel()
        if await stdlib.gather(victim, return_exceptions=True) == ["job"]:
            await jobs.put("another")
            assert await heir == "another"
        else:
            assert await heir == "job"
        assert jobs.empty()

    for before in range(4):
        run(main, before)


@both
def test_a_cancelled_put_puts_nothing_or_all(module: Any) -> None:
    async def main(before: int) -> None:
        jobs = seen_queue(module)(1)
        await jobs.put(0)
        victim, heir = (stdlib.create_task(jobs.put(number)) for number in (1, 2))
        await settle()
        assert await jobs.get() == 0
        await steps(before)
        victim.cancel()
        [outcome] = await stdlib.gather(victim, return_exceptions=True)
        expected = [2] if isinstance(outcome, stdlib.CancelledError) else [1, 2]
        got = [await jobs.get() for _ in expected]
        await heir
        assert got == expected
        assert jobs.empty()

    for before in range(4):
        run(main, before)


@can_shut_down
@both
def test_a_shutdown_lets_out_what_the_hooks_keep(module: Any) -> None:
    async def main() -> None:
        jobs = own_heap(module)(2)
        for job in (2, 1):
            await jobs.put(job)
        putting = stdlib.create_task(jobs.put(3))
        await settle()
        jobs.shutdown()
        with pytest.raises(stdlib.QueueShutDown):
            await putting
        with pytest.raises(stdlib.QueueShutDown):
            jobs.put_nowait(4)
        assert [await jobs.get(), jobs.get_nowait()] == [1, 2]
        with pytest.raises(stdlib.QueueShutDown):
            await jobs.get()

    run(main)


@can_shut_down
@both
def test_a_shutdown_at_once_takes_all_out_by_the_hook(module: Any) -> None:
    async def main() -> None:
        jobs = own_heap(module)()
        for job in (2, 1):
            await jobs.put(job)
        joining = stdlib.create_task(jobs.join())
        await settle()
        jobs.shutdown(immediate=True)
        await joining
        assert jobs.heap == []
        for call in (jobs.get_nowait, lambda: jobs.put_nowait(1)):
            with pytest.raises(stdlib.QueueShutDown):
                call()

    run(main)


@can_shut_down
@kinds
@pytest.mark.parametrize(
    "hooks", [{}, {"_init": lambda self, n: type(self).__base__._init(self, n)}]
)
def test_a_full_queue_that_was_shut_down_says_so(kind: str, hooks: dict[str, Any]) -> None:
    async def main() -> None:
        jobs = type("Jobs", (getattr(asyncio, kind),), hooks)(1)
        jobs.put_nowait(1)
        jobs.shutdown()
        with pytest.raises(stdlib.QueueShutDown):
            jobs.put_nowait(2)
        with pytest.raises(stdlib.QueueShutDown):
            await jobs.put(2)

    run(main)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Python 3.13 has it")
@kinds
def test_there_is_no_shutdown_where_the_standard_library_has_none(kind: str) -> None:
    assert not hasattr(getattr(asyncio, kind)(), "shutdown")


def test_it_says_what_it_is() -> None:
    jobs = set_queue(asyncio)(3)
    jobs.put_nowait(1)
    assert str(jobs) == "<SetQueue maxsize=3 qsize=1 tasks=1>"


def test_one_that_is_forgotten_goes_at_once_and_its_items_with_it() -> None:
    class Item:
        pass

    jobs = seen_queue(asyncio)()
    item = Item()
    gone = weakref.ref(item), weakref.ref(jobs)
    jobs.put_nowait(item)
    gc.disable()
    try:
        del item, jobs
        assert [ref() for ref in gone] == [None, None]
    finally:
        gc.enable()


# ---- With threads, and with other loops


def test_threads_use_the_same_hooks(other: OtherThread) -> None:
    async def main() -> None:
        jobs = own_heap(asyncio)(2)
        threads = jobs.shared_with_threads
        getting = stdlib.create_task(jobs.get())
        await settle()
        other.do(threads.put, 5)
        assert await getting == 5
        waiting = other.start(threads.get)
        until_parked(threads, other.native_id)
        await jobs.put(7)
        assert await stdlib.wrap_future(waiting) == 7
        threads.put(2)
        threads.put(1)
        assert (threads.full(), threads.qsize(), threads.maxsize) == (True, 2, 2)
        assert await jobs.get() == 1

    run(main)


def test_what_threads_have_outlives_the_queue_and_is_collected() -> None:
    jobs = own_heap(asyncio)()
    threads, gone = jobs.shared_with_threads, weakref.ref(jobs)
    del jobs
    gc.collect()
    threads.put(2)
    threads.put(1)
    assert threads.get() == 1
    del threads
    gc.collect()
    assert gone() is None


def test_two_loops_at_once_lose_and_double_nothing(other_loop: OtherLoop) -> None:
    count = 500

    async def put(jobs: Any, first: int) -> None:
        for number in range(first, first + count):
            await jobs.put(number)

    async def get(jobs: Any) -> list[int]:
        return [await jobs.get() for _ in range(count)]

    async def main() -> None:
        jobs = own_heap(asyncio)(3)
        elsewhere = [other_loop.spawn(put(jobs, 0)), other_loop.spawn(get(jobs))]
        _, here = await stdlib.gather(put(jobs, count), get(jobs))
        _, there = await stdlib.gather(*map(stdlib.wrap_future, elsewhere))
        assert sorted([*here, *there]) == list(range(2 * count))
        assert jobs.empty()

    run(main)
