"""multiprocessing.Queue has no shutdown (python/cpython#147965)."""

from __future__ import annotations

import asyncio
import multiprocessing
from contextlib import suppress
from typing import Any

import pytest

import treadle
from tests.names.conftest import Start as StartProgram
from tests.pains.parties import PARTIES, begin, call, wait
from tests.pains.programs import seen_in_this_version
from tests.queue.kinds import KINDS
from tests.queue.workers import PROCESSES, Start, until_waiting
from tests.sync.children import forked
from tests.sync.threads import OtherThread, until, until_parked
from treadle import queue as drop_in

each_queue = pytest.mark.parametrize("kind", KINDS)
each_party = pytest.mark.parametrize("party", PARTIES)
each_worker = pytest.mark.parametrize(
    ("process", "party"), [*((process, "thread") for process in PROCESSES), ("fork", "task")]
)
# A call that waits, and by what the queue is such that it does.
each_wait = pytest.mark.parametrize(
    ("method", "argument", "filled"),
    [("get", None, 0), ("put", "another", 1), ("get_many", 3, 0), ("lease", None, 0)],
    ids=["get", "put", "get_many", "lease"],
)


@seen_in_this_version
def test_the_standard_library_has_none() -> None:
    for queue in (multiprocessing.Queue(), multiprocessing.JoinableQueue()):
        assert not hasattr(queue, "shutdown")
        queue.close()
    assert not hasattr(multiprocessing.SimpleQueue(), "shutdown")


# ---- Who works


@pytest.mark.slow
@each_queue
@each_worker
def test_with_treadle_no_worker_needs_a_sentinel(
    start: Start, process: str, party: str, kind: type[Any]
) -> None:
    """However many workers there are, and whether they work or wait: the queue ends for all."""
    jobs, results = kind(), treadle.Queue()
    workers = [start(process, square_all, party, jobs, results) for _ in range(2)]
    if party == "thread":
        until_waiting(jobs, 2)
    jobs.put_many(range(100))
    jobs.shutdown()
    for worker in workers:
        worker.join()
    assert sorted(results.get_many(1000)) == sorted(n * n for n in range(100))
    with pytest.raises(treadle.ShutDown):
        jobs.put(1)


def square_all(party: str, jobs: Any, results: treadle.Queue) -> None:
    async def square_all_as_task() -> None:
        async for number in jobs.aio:
            await results.aio.put(number * number)

    async def square_all_as_tasks() -> None:
        await asyncio.gather(*(square_all_as_task() for _ in range(5)))

    if party == "task":
        asyncio.run(square_all_as_tasks())
        return
    for number in jobs:
        results.put(number * number)


@pytest.mark.slow
@each_queue
@each_worker
def test_producers_are_stopped_as_well(
    start: Start, process: str, party: str, kind: type[Any]
) -> None:
    jobs = kind(3)
    workers = [start(process, put_until_told, party, jobs) for _ in range(2)]
    if party == "thread":
        until_waiting(jobs, 2)
    until(jobs.full)
    jobs.shutdown(immediate=True)
    for worker in workers:
        worker.join()
    assert jobs.empty()


def put_until_told(party: str, jobs: Any) -> None:
    async def put_until_told_as_task() -> None:
        with suppress(treadle.ShutDown):
            while True:
                await jobs.aio.put("another")

    async def put_until_told_as_tasks() -> None:
        await asyncio.gather(*(put_until_told_as_task() for _ in range(5)))

    if party == "task":
        asyncio.run(put_until_told_as_tasks())
        return
    with suppress(treadle.ShutDown):
        while True:
            jobs.put("another")


# ---- Who waits


@each_wait
@each_party
@each_queue
def test_those_who_wait_in_other_processes_are_woken(
    kind: type[Any], party: str, method: str, argument: object, filled: int
) -> None:
    queue = kind(1)
    queue.put_many(["there before"] * filled)
    arguments = [] if argument is None else [argument]
    with (
        forked(wait_for_the_end, "thread", queue, method, *arguments) as thread,
        forked(wait_for_the_end, "task", queue, method, *arguments) as task,
    ):
        thread.expect("waiting")
        task.expect("waiting")
        call(party, queue, "shutdown")
        thread.expect("shut down")
        task.expect("shut down")
    assert queue.qsize() == filled, "what was there before can still be got"


def wait_for_the_end(line: Any, party: str, queue: Any, method: str, *arguments: object) -> None:
    with pytest.raises(treadle.ShutDown):
        wait(line, party, queue, method, *arguments)
    line.send("shut down")


@each_wait
@each_party
@each_queue
def test_those_who_wait_at_a_private_queue_are_woken(
    kind: type[Any], party: str, method: str, argument: object, filled: int
) -> None:
    queue = kind(1, shared=False)
    queue.put_many(["there before"] * filled)
    arguments = [] if argument is None else [argument]
    answers = [begin(waiter, queue, method, *arguments) for waiter in PARTIES]
    call(party, queue, "shutdown")
    for answer in answers:
        assert isinstance(answer.exception(), treadle.ShutDown)


@pytest.mark.parametrize("immediate", [False, True])
@pytest.mark.parametrize("name", ["Queue", "PriorityQueue", "LifoQueue"])
def test_the_drop_ins_have_it_in_every_version(name: str, immediate: bool) -> None:
    """The standard library's have it from 3.13 on."""
    getters, putters = ([OtherThread() for _ in range(2)] for _ in range(2))
    empty, full = (getattr(drop_in, name)(1) for _ in range(2))
    full.put(1)
    answers = [thread.start(empty.get) for thread in getters]
    answers += [thread.start(full.put, 2) for thread in putters]
    for thread in getters:
        until_parked(empty, thread.native_id)
    for thread in putters:
        until_parked(full, thread.native_id)
    for queue in (empty, full):
        queue.shutdown(immediate=immediate)
    for answer in answers:
        assert isinstance(answer.exception(), drop_in.ShutDown)
    if not immediate:
        assert full.get() == 1
    with pytest.raises(drop_in.ShutDown):
        full.get()
    with pytest.raises(drop_in.ShutDown):
        full.put(3)
    for thread in (*getters, *putters):
        thread.end()


@pytest.mark.slow
@each_party
@each_queue
def test_unrelated_programs_that_wait_at_a_name_are_woken(
    start_program: StartProgram, kind: type[Any], party: str
) -> None:
    thread, task, other = (start_program() for _ in range(3))
    for program in thread, task, other:
        program.tell("from tests.pains import parties")
        program.tell(f"it = treadle.{kind.__name__}(name='jobs')")
    for program, waiter in (thread, "thread"), (task, "task"):
        program.begin(f"parties.wait(parties.Stdio(), {waiter!r}, it, 'get')")
        assert program.answer() == "waiting"
    other.tell(f"parties.call({party!r}, it, 'shutdown')")
    for program in thread, task:
        assert program.answer().startswith("ShutDown")

    late = start_program()
    late.tell(f"it = treadle.{kind.__name__}(name='jobs')")
    assert late.tell("it.put(1)").startswith("ShutDown")
    assert late.tell("[*it]") == []
