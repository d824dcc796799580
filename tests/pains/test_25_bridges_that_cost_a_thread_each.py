"""Bridges between asyncio, threads and processes are slow or cost a thread each
(aio-libs/janus#419). How fast treadle's are is a matter of the bench.
"""

from __future__ import annotations

import asyncio
import queue
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.aio.loops import native_threads, settle, until
from tests.pains.programs import seen_in_this_version
from tests.sync.children import forked
from tests.sync.kinds import both_storages
from tests.sync.threads import OtherThread

_TASKS = 3000


@seen_in_this_version
def test_the_standard_way_costs_a_thread_for_each_task_that_waits() -> None:
    """And those who wait for no thread to be left wait for more than the queue."""
    jobs: queue.Queue[int] = queue.Queue()
    width = 20

    async def main() -> None:
        loop = asyncio.get_running_loop()
        before = native_threads()
        with ThreadPoolExecutor(width) as executor:
            waiting = [loop.run_in_executor(executor, jobs.get) for _ in range(width + 1)]
            await until(lambda: native_threads() == before + width)
            assert await loop.run_in_executor(None, jobs.qsize) == 0
            for number in range(width + 1):
                jobs.put(number)
            assert sorted(await asyncio.gather(*waiting)) == list(range(width + 1))

    asyncio.run(main())


@pytest.mark.slow
@both_storages
@pytest.mark.parametrize("of", [treadle.Queue, treadle.PriorityQueue, treadle.LifoQueue])
def test_thousands_of_tasks_wait_for_a_thread_without_one(
    of: Any, shared: bool, other: OtherThread
) -> None:
    jobs = of(shared=shared)

    async def main() -> None:
        before = native_threads()
        waiting = [asyncio.create_task(jobs.aio.get()) for _ in range(_TASKS)]
        await settle()
        assert native_threads() <= before + shared  # the reactor, one for all objects
        other.start(jobs.put_many, range(_TASKS))
        assert sorted(await asyncio.gather(*waiting)) == list(range(_TASKS))
        assert native_threads() <= before + shared

    asyncio.run(main())


@pytest.mark.slow
@both_storages
def test_a_thread_waits_for_thousands_of_tasks(shared: bool, other: OtherThread) -> None:
    results = treadle.Queue(100, shared=shared)

    async def main() -> None:
        before = native_threads()
        taking = other.start(lambda: [results.get() for _ in range(_TASKS)])
        await asyncio.gather(*(results.aio.put(number) for number in range(_TASKS)))
        assert native_threads() <= before + shared
        assert sorted(await asyncio.wrap_future(taking)) == list(range(_TASKS))

    asyncio.run(main())


@pytest.mark.slow
def test_thousands_of_tasks_talk_with_another_process_through_one_thread() -> None:
    questions, answers = treadle.Queue(), treadle.Queue()
    events = [treadle.Event() for _ in range(_TASKS)]

    async def ask(number: int) -> int:
        await questions.aio.put(number)
        await events[number].aio.wait()
        answer: int = await answers.aio.get()
        return answer

    async def main() -> None:
        before = native_threads()
        asking = [asyncio.create_task(ask(number)) for number in range(_TASKS)]
        await settle()
        assert native_threads() <= before + 1
        assert sorted(await asyncio.gather(*asking)) == [2 * n for n in range(_TASKS)]
        assert native_threads() <= before + 1

    with forked(_answer, questions, answers, events):
        asyncio.run(main())


def _answer(
    line: Connection, questions: treadle.Queue, answers: treadle.Queue, events: list[treadle.Event]
) -> None:
    for _ in events:
        number = questions.get()
        answers.put(2 * number)
        events[number].set()
