"""Joining a process before draining its queue hangs (python/cpython#73983)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import treadle
from tests.names.conftest import Start as StartProgram
from tests.pains.parties import PARTIES
from tests.pains.programs import hangs, output_of, seen_in_this_version
from tests.queue.kinds import KINDS
from tests.queue.workers import KINDS as WORKERS
from tests.queue.workers import Start

pytestmark = pytest.mark.slow

COUNT = 1000
SIZE = 10_000  # together far more than any pipe holds

each_queue = pytest.mark.parametrize("kind", KINDS)


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


@each_queue
@pytest.mark.parametrize(
    ("worker", "party"), [*((worker, "thread") for worker in WORKERS), ("fork", "task")]
)
def test_with_treadle_the_process_ends_and_its_items_stay(
    start: Start, worker: str, party: str, kind: type[Any]
) -> None:
    queue = kind()
    start(worker, put_all, party, queue).join()
    check_all(queue)


def put_all(party: str, queue: Any) -> None:
    async def put_all_as_task() -> None:
        for number in range(COUNT):
            await queue.aio.put((number, [bytes(SIZE)]))

    if party == "task":
        asyncio.run(put_all_as_task())
    else:
        for number in range(COUNT):
            queue.put((number, [bytes(SIZE)]))


def check_all(queue: Any) -> None:
    assert queue.qsize() == COUNT
    numbers = range(COUNT)
    for number in reversed(numbers) if isinstance(queue, treadle.LifoQueue) else numbers:
        got, [data] = queue.get_nowait()
        assert (got, len(data)) == (number, SIZE)
    assert queue.empty()


@each_queue
@pytest.mark.parametrize("party", PARTIES)
def test_a_program_ends_and_its_items_stay_at_their_name(
    start_program: StartProgram, kind: type[Any], party: str
) -> None:
    """For as long as another program is there."""
    producer, consumer = start_program(), start_program()
    for program in producer, consumer:
        program.tell(f"from {__name__} import *")
        program.tell(f"it = treadle.{kind.__name__}(name='x')")
    assert producer.tell(f"put_all({party!r}, it)") is None
    producer.end()
    assert consumer.tell("check_all(it)") is None


@each_queue
def test_a_program_ends_whatever_is_left_in_its_queues(kind: type[Any]) -> None:
    said = output_of(
        f"""
import asyncio, treadle
queue = treadle.{kind.__name__}()
queue.put_many([(number, [bytes(10_000)]) for number in range(1000)])
lease = queue.lease()
asyncio.run(queue.aio.put((1000, ["by a task"])))
print("the end")
"""
    )
    assert said == "the end\n"


def test_a_program_ends_whatever_is_left_in_its_pipes() -> None:
    said = output_of(
        """
import asyncio, treadle
here, there = treadle.Pipe()
for _ in range(100):
    here.send_bytes(bytes(10_000))
asyncio.run(there.aio.send("by a task"))
print("the end")
"""
    )
    assert said == "the end\n"
