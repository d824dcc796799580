"""multiprocessing.Queue has no shutdown (python/cpython#147965)."""

from __future__ import annotations

import asyncio
import multiprocessing
from typing import Any

import pytest

import treadle
from tests.names.conftest import Start as StartProgram
from tests.pains.programs import seen_in_this_version
from tests.queue.workers import PROCESSES, Start
from tests.sync.threads import until


@seen_in_this_version
def test_the_standard_library_has_none() -> None:
    for queue in (multiprocessing.Queue(), multiprocessing.JoinableQueue()):
        assert not hasattr(queue, "shutdown")
        queue.close()
    assert not hasattr(multiprocessing.SimpleQueue(), "shutdown")


every_queue = pytest.mark.parametrize(
    "of", [treadle.Queue, treadle.PriorityQueue, treadle.LifoQueue]
)
every_worker = pytest.mark.parametrize("by_task", [False, True], ids=["thread", "task"])


@pytest.mark.slow
@every_queue
@every_worker
@pytest.mark.parametrize("kind", PROCESSES)
def test_with_treadle_no_worker_needs_a_sentinel(
    of: Any, by_task: bool, start: Start, kind: str
) -> None:
    """However many workers there are, and whether they work or wait: the queue ends for all."""
    jobs, results, ready = of(), of(), treadle.Semaphore(0)
    work = square_all_by_task if by_task else square_all
    workers = [start(kind, work, jobs, results, ready) for _ in range(2)]
    for _ in workers:
        ready.acquire()
    jobs.put_many(range(100))
    jobs.shutdown()
    for worker in workers:
        worker.join()
    assert sorted(results.get_many(1000)) == sorted(n * n for n in range(100))
    with pytest.raises(treadle.ShutDown):
        jobs.put(1)


def square_all(jobs: treadle.Queue, results: treadle.Queue, ready: treadle.Semaphore) -> None:
    ready.release()
    for number in jobs:
        results.put(number * number)


def square_all_by_task(
    jobs: treadle.Queue, results: treadle.Queue, ready: treadle.Semaphore
) -> None:
    async def main() -> None:
        ready.release()
        async for number in jobs.aio:
            await results.aio.put(number * number)

    asyncio.run(main())


@pytest.mark.slow
@every_queue
@every_worker
@pytest.mark.parametrize("kind", PROCESSES)
def test_producers_are_stopped_as_well(of: Any, by_task: bool, start: Start, kind: str) -> None:
    jobs, stopped = of(3), treadle.Semaphore(0)
    work = put_until_told_by_task if by_task else put_until_told
    workers = [start(kind, work, jobs, stopped) for _ in range(2)]
    until(jobs.full)
    jobs.shutdown(immediate=True)
    for worker in workers:
        worker.join()
    assert jobs.empty()
    assert stopped.get_value() == 2


def put_until_told(jobs: treadle.Queue, stopped: treadle.Semaphore) -> None:
    try:
        while True:
            jobs.put("another")
    except treadle.ShutDown:
        stopped.release()


def put_until_told_by_task(jobs: treadle.Queue, stopped: treadle.Semaphore) -> None:
    async def main() -> None:
        try:
            while True:
                await jobs.aio.put("another")
        except treadle.ShutDown:
            stopped.release()

    asyncio.run(main())


@pytest.mark.slow
def test_unrelated_programs_are_told_by_the_queue_s_name(start_program: StartProgram) -> None:
    one, two = start_program(), start_program()
    for program in one, two:
        program.tell("queue = treadle.Queue(name='jobs')")
    one.begin("queue.get()")
    while two.tell("queue.statistics().waiting") != 1:
        pass
    two.tell("queue.shutdown()")
    assert one.answer().startswith("ShutDown")
