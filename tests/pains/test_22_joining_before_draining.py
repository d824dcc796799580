"""Joining a process before draining its queue hangs (python/cpython#73983)."""

from __future__ import annotations

import pytest

import treadle
from tests.pains.programs import hangs, output_of, seen_in_this_version
from tests.queue.workers import KINDS, Start

COUNT = 1000
SIZE = 10_000  # together far more than any pipe holds


@pytest.mark.slow
@seen_in_this_version
def test_the_standard_library_hangs() -> None:
    assert hangs(
        f"""
import multiprocessing
context = multiprocessing.get_context("fork")
queue = context.Queue()
child = context.Process(target=queue.put, args=(bytes({SIZE * 100}),))
child.start()
print("about to join", flush=True)
child.join()
"""
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_with_treadle_the_process_ends_and_its_items_stay(start: Start, kind: str) -> None:
    queue = treadle.Queue()
    start(kind, put_all, queue).join()
    assert queue.qsize() == COUNT
    for number in range(COUNT):
        got, data = queue.get_nowait()
        assert (got, len(data)) == (number, SIZE)


def put_all(queue: treadle.Queue) -> None:
    for number in range(COUNT):
        queue.put((number, bytes(SIZE)))


@pytest.mark.slow
def test_a_program_ends_whatever_is_left_in_its_queues() -> None:
    said = output_of(
        """
import treadle
queue = treadle.Queue()
queue.put_many([bytes(10_000)] * 1000)
lease = queue.lease()
print("the end")
"""
    )
    assert said == "the end\n"
