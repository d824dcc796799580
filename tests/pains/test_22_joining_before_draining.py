"""Joining a process before draining its queue hangs (python/cpython#73983)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import treadle
from tests.names.conftest import Start as StartProgram
from tests.pains.programs import hangs, output_of, seen_in_this_version
from tests.queue.workers import KINDS, Start
from tests.sync.children import forked

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
@pytest.mark.parametrize("of", [treadle.Queue, treadle.PriorityQueue, treadle.LifoQueue])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by_task", [False, True], ids=["thread", "task"])
def test_with_treadle_the_process_ends_and_its_items_stay(
    of: Any, start: Start, kind: str, by_task: bool
) -> None:
    queue = of()
    start(kind, put_all_by_task if by_task else put_all, queue).join()
    assert queue.qsize() == COUNT
    numbers = range(COUNT)
    for number in reversed(numbers) if of is treadle.LifoQueue else numbers:
        got, data = queue.get_nowait()
        assert (got, len(data)) == (number, SIZE)


def put_all(queue: treadle.Queue) -> None:
    for number in range(COUNT):
        queue.put((number, bytes(SIZE)))


def put_all_by_task(queue: treadle.Queue) -> None:
    async def main() -> None:
        for number in range(COUNT):
            await queue.aio.put((number, bytes(SIZE)))

    asyncio.run(main())


def test_with_treadle_the_process_ends_and_its_messages_stay_in_the_pipe() -> None:
    """Those that a pipe takes, that is; sent without a reader."""
    here, there = treadle.Pipe()
    with forked(send_all, there):
        pass
    there.close()
    for number in range(COUNT // 10):
        assert here.recv() == (number, bytes(SIZE))
    with pytest.raises(EOFError):
        here.recv()


def send_all(line: object, end: Any) -> None:
    for number in range(COUNT // 10):
        end.send((number, bytes(SIZE)))


@pytest.mark.slow
def test_an_unrelated_program_ends_and_its_items_stay_under_their_name(
    start_program: StartProgram,
) -> None:
    one, two = start_program(), start_program()
    for program in one, two:
        program.tell("queue = treadle.Queue(name='jobs')")
    one.tell(f"for number in range({COUNT}): queue.put((number, bytes({SIZE})))")
    one.end()
    assert two.tell("queue.qsize()") == COUNT
    assert two.tell("[number for number, _ in queue.get_many(5000)]") == list(range(COUNT))


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
