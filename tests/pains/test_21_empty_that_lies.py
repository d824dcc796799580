"""empty() lies just after put() (python/cpython#77060)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import treadle
from tests.names.conftest import Start as StartProgram
from tests.pains.programs import output_of, seen_in_this_version
from tests.queue.workers import PROCESSES, Start


@pytest.mark.slow
@seen_in_this_version
def test_in_the_standard_library_it_lies() -> None:
    said = output_of(
        """
import multiprocessing
queue = multiprocessing.Queue()
lies = 0
for number in range(200):
    queue.put(number)
    lies += queue.empty()
    queue.get()
print(lies)
"""
    )
    assert int(said) > 0


def repr_of_type(item: object) -> str:
    return type(item).__name__


every_queue = pytest.mark.parametrize(
    "of", [treadle.Queue, treadle.PriorityQueue, treadle.LifoQueue]
)


@every_queue
@pytest.mark.parametrize("item", [1, "x" * 100, bytes(100_000), (1, [1])], ids=repr_of_type)
def test_in_treadle_what_was_put_is_there(of: Any, item: object) -> None:
    queue = of(1)
    for _ in range(500):
        queue.put(item)
        assert (queue.empty(), queue.qsize(), queue.full()) == (False, 1, True)
        assert queue.get_nowait() == item
        assert (queue.empty(), queue.qsize(), queue.full()) == (True, 0, False)


@every_queue
def test_what_a_task_has_put_is_there(of: Any) -> None:
    async def main() -> None:
        queue = of(1).aio
        for number in range(500):
            await queue.put(number)
            assert (queue.empty(), queue.qsize(), queue.full()) == (False, 1, True)
            assert await queue.get() == number
            assert (queue.empty(), queue.qsize(), queue.full()) == (True, 0, False)

    asyncio.run(main())


@pytest.mark.slow
def test_what_an_unrelated_program_has_put_is_there(start_program: StartProgram) -> None:
    one, two = start_program(), start_program()
    for program in one, two:
        program.tell("queue = treadle.Queue(name='jobs')")
    for number in range(50):
        one.tell(f"queue.put({number})")
        assert two.tell("queue.empty(), queue.qsize(), queue.get_nowait()") == (False, 1, number)


@pytest.mark.slow
@every_queue
@pytest.mark.parametrize("kind", PROCESSES)
def test_what_another_process_has_put_is_there_when_it_says_so(
    of: Any, start: Start, kind: str
) -> None:
    """It says so by an event, which is no queue."""
    queue, said, heard = of(), treadle.Event(), treadle.Event()
    worker = start(kind, put_and_say_so, queue, said, heard, 100)
    for number in range(100):
        said.wait()
        said.clear()
        assert (queue.empty(), queue.qsize()) == (False, 1)
        assert queue.get_nowait() == number
        heard.set()
    worker.join()


def put_and_say_so(
    queue: treadle.Queue, said: treadle.Event, heard: treadle.Event, count: int
) -> None:
    for number in range(count):
        queue.put(number)
        said.set()
        heard.wait()
        heard.clear()
        assert queue.empty()
