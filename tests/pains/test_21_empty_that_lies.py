"""empty() lies just after put() (python/cpython#77060)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import treadle
from tests.names.conftest import Start as StartProgram
from tests.pains.parties import PARTIES
from tests.pains.programs import output_of, seen_in_this_version
from tests.queue.kinds import KINDS
from tests.queue.workers import PROCESSES, Start
from tests.sync.kinds import both_storages
from tests.sync.threads import OtherThread
from treadle import asyncio as drop_in_asyncio
from treadle import queue as drop_in_queue

_DROP_INS = ["Queue", "PriorityQueue", "LifoQueue", "SimpleQueue"]

each_queue = pytest.mark.parametrize("kind", KINDS)
each_party = pytest.mark.parametrize("party", PARTIES, ids="by a {}".format)


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


@each_queue
@both_storages
@each_party
@pytest.mark.parametrize("item", [1, "x" * 100, bytes(100_000), (1, [2])], ids=repr_of_type)
def test_in_treadle_what_was_put_is_there(
    item: object, party: str, shared: bool, kind: type[Any]
) -> None:
    queue = kind(1, shared=shared)

    def check_full(of: Any) -> None:
        assert (of.empty(), of.qsize(), of.full()) == (False, 1, True)

    def check_empty(of: Any) -> None:
        assert (of.empty(), of.qsize(), of.full()) == (True, 0, False)

    async def put_and_get_as_task() -> None:
        for _ in range(100):
            await queue.aio.put(item)
            check_full(queue.aio)
            check_full(queue)
            assert await queue.aio.get() == item
            check_empty(queue.aio)
            check_empty(queue)

    if party == "task":
        asyncio.run(put_and_get_as_task())
    else:
        for _ in range(100):
            queue.put(item)
            check_full(queue)
            assert queue.get_nowait() == item
            check_empty(queue)


@pytest.mark.parametrize("kind", [getattr(drop_in_queue, name) for name in _DROP_INS])
def test_in_the_drop_ins_what_another_thread_has_put_or_got_is_seen_at_once(
    kind: Callable[[], Any],
) -> None:
    queue, other = kind(), OtherThread()
    for number in range(100):
        other.do(queue.put, number)
        assert (queue.empty(), queue.qsize()) == (False, 1)
        assert other.do(queue.get, False) == number
        assert (queue.empty(), queue.qsize()) == (True, 0)
    other.end()


@pytest.mark.parametrize("name", _DROP_INS[:3])
def test_in_the_drop_ins_what_a_thread_has_put_a_task_sees_at_once(name: str) -> None:
    async def main() -> None:
        queue, other = getattr(drop_in_asyncio, name)(), OtherThread()
        for number in range(100):
            other.do(queue.shared_with_threads.put, number)
            assert (queue.empty(), queue.qsize()) == (False, 1)
            assert queue.get_nowait() == number
            assert other.do(queue.shared_with_threads.empty)
        other.end()

    asyncio.run(main())


# ---- What another process has put is there when it says so, by an event, which is no queue


@pytest.mark.slow
@each_queue
@pytest.mark.parametrize(
    ("process", "party"), [*((process, "thread") for process in PROCESSES), ("fork", "task")]
)
def test_what_another_process_has_put_is_there_when_it_says_so(
    start: Start, process: str, party: str, kind: type[Any]
) -> None:
    queue, said, heard = kind(), treadle.Event(), treadle.Event()
    worker = start(process, put_and_say_so, party, queue, said, heard, 100)
    for number in range(100):
        said.wait()
        said.clear()
        assert (queue.empty(), queue.qsize()) == (False, 1)
        assert queue.get_nowait() == number
        heard.set()
    worker.join()


def put_and_say_so(
    party: str, queue: Any, said: treadle.Event, heard: treadle.Event, count: int
) -> None:
    async def put_and_say_so_as_task() -> None:
        for number in range(count):
            await queue.aio.put(number)
            said.aio.set()
            await heard.aio.wait()
            heard.aio.clear()
            assert queue.aio.empty()

    if party == "task":
        asyncio.run(put_and_say_so_as_task())
        return
    for number in range(count):
        queue.put(number)
        said.set()
        heard.wait()
        heard.clear()
        assert queue.empty()


@pytest.mark.slow
@each_party
@each_queue
def test_what_an_unrelated_program_has_put_is_there_when_it_says_so(
    start_program: StartProgram, kind: type[Any], party: str
) -> None:
    one, two = start_program(), start_program()
    for program in one, two:
        program.tell("from tests.pains.parties import call")
        program.tell(f"it = treadle.{kind.__name__}(1, name='x')")
    for number in range(20):
        one.tell(f"call({party!r}, it, 'put', {number})")
        assert two.tell("(it.empty(), it.qsize(), it.full())") == (False, 1, True)
        assert two.tell(f"call({party!r}, it, 'get_nowait')") == number
        assert one.tell("(it.empty(), it.qsize(), it.full())") == (True, 0, False)
