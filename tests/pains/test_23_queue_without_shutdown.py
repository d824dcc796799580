"""multiprocessing.Queue has no shutdown (python/cpython#147965)."""

from __future__ import annotations

import multiprocessing

import pytest

import treadle
from tests.pains.programs import seen_in_this_version
from tests.queue.workers import PROCESSES, Start, until_waiting


@seen_in_this_version
def test_the_standard_library_has_none() -> None:
    for queue in (multiprocessing.Queue(), multiprocessing.JoinableQueue()):
        assert not hasattr(queue, "shutdown")
        queue.close()
    assert not hasattr(multiprocessing.SimpleQueue(), "shutdown")


@pytest.mark.slow
@pytest.mark.parametrize("kind", PROCESSES)
def test_with_treadle_no_worker_needs_a_sentinel(start: Start, kind: str) -> None:
    """However many workers there are, and whether they work or wait: the queue ends for all."""
    jobs, results = treadle.Queue(), treadle.Queue()
    workers = [start(kind, square_all, jobs, results) for _ in range(2)]
    until_waiting(jobs, 2)
    jobs.put_many(range(100))
    jobs.shutdown()
    for worker in workers:
        worker.join()
    assert sorted(results.get_many(1000)) == sorted(n * n for n in range(100))
    with pytest.raises(treadle.ShutDown):
        jobs.put(1)


def square_all(jobs: treadle.Queue, results: treadle.Queue) -> None:
    for number in jobs:
        results.put(number * number)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PROCESSES)
def test_producers_are_stopped_as_well(start: Start, kind: str) -> None:
    jobs = treadle.Queue(3)
    workers = [start(kind, put_until_told, jobs) for _ in range(2)]
    until_waiting(jobs, 2)
    jobs.shutdown(immediate=True)
    for worker in workers:
        worker.join()
    assert jobs.empty()


def put_until_told(jobs: treadle.Queue) -> None:
    try:
        while True:
            jobs.put("another")
    except treadle.ShutDown:
        pass
