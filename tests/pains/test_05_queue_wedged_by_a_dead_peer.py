"""A queue wedges when a peer dies inside it (python/cpython#87971, #85880)."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.pains.programs import hangs, seen_in_this_version
from tests.queue.workers import Start
from tests.stress.family import sleeps
from tests.sync.children import Child, forked
from tests.sync.threads import until

# The child dies with half an item in the pipe, and with the lock for writing.
KILLED_IN_PUT = """
import multiprocessing, os, signal
context = multiprocessing.get_context("fork")
queue = context.Queue()
child = context.Process(target=queue.put, args=(bytes(1 << 20),))
child.start()
while not queue._reader.poll(): pass
child.kill(); child.join()
print("killed", flush=True)
"""
# The child dies waiting, with the lock for reading.
KILLED_IN_GET = """
import multiprocessing
context = multiprocessing.get_context("fork")
queue = context.Queue()
child = context.Process(target=queue.get)
child.start()
while queue._rlock.acquire(block=False): queue._rlock.release()
child.kill(); child.join()
queue.put("item")
print("killed", flush=True)
"""


@pytest.mark.slow
@seen_in_this_version
@pytest.mark.parametrize(
    "program",
    [
        pytest.param(KILLED_IN_PUT + "queue.get()", id="who gets after a death in put"),
        pytest.param(
            KILLED_IN_PUT + "context.Process(target=queue.put, args=(1,)).start()",
            id="who puts after a death in put",
        ),
        pytest.param(KILLED_IN_GET + "queue.get()", id="who gets after a death in get"),
    ],
)
def test_the_standard_library_hangs(program: str) -> None:
    assert hangs(program)


# ---- treadle: the peers are processes, or tasks of processes

every_queue = pytest.mark.parametrize(
    "of", [treadle.Queue, treadle.PriorityQueue, treadle.LifoQueue]
)
every_peer = pytest.mark.parametrize("by_task", [False, True], ids=["process", "task"])


def put(line: Connection, queue: treadle.Queue, item: object, by_task: bool) -> None:
    line.send("about to put")
    if by_task:
        asyncio.run(queue.aio.put(item))
    else:
        queue.put(item)


def get(line: Connection, queue: treadle.Queue, by_task: bool) -> None:
    line.send("about to get")
    if by_task:
        asyncio.run(queue.aio.get())
    else:
        queue.get()


@every_queue
@every_peer
@pytest.mark.parametrize("item", ["small", "large" * 200_000], ids=["small", "large"])
def test_treadle_goes_on_after_a_death_in_put(of: Any, by_task: bool, item: object) -> None:
    queue = of(1)
    queue.put("there before")
    with forked(put, queue, item, by_task) as child:
        until_asleep(child)
        child.kill()
    with forked(put, queue, "by another process", by_task) as child:
        until_asleep(child)
        assert queue.get() == "there before"
        assert queue.get() == "by another process"
    queue.put("goes on")
    assert queue.get() == "goes on"
    assert queue.empty()


@every_queue
@every_peer
def test_treadle_goes_on_after_a_death_in_get(of: Any, by_task: bool) -> None:
    queue = of()
    with forked(get, queue, by_task) as child:
        until_asleep(child)
        child.kill()
    with forked(get, queue, by_task) as child:
        until_asleep(child)
        queue.put("for the other process")
    queue.put("goes on")
    assert queue.get() == "goes on"


def until_asleep(child: Child) -> None:
    """It has said that it is about to, and then blocks in the kernel: there is nothing else."""
    child.hear()
    until(lambda: sleeps(child.pid))


@pytest.mark.slow
@every_queue
@every_peer
def test_treadle_goes_on_whenever_its_peers_die(of: Any, by_task: bool, start: Start) -> None:
    """Producers are killed in the midst: of each, all that came is whole, without a gap."""
    queue = of(10)
    dice = random.Random(11)
    taken: dict[int, list[int]] = {}
    for life in range(40):
        producer = start("fork", produce_by_task if by_task else produce, queue, life)
        for _ in range(dice.randrange(1, 30)):
            take(queue, taken)
        while life not in taken:
            take(queue, taken)
        time.sleep(dice.random() / 1000)  # wherever it is by then
        producer.kill()
    while not queue.empty():
        take(queue, taken)
    assert set(taken) == set(range(40))
    for numbers in taken.values():
        if of is treadle.LifoQueue:
            numbers.sort()
        assert numbers == list(range(len(numbers)))
    queue.put("goes on")
    assert queue.get() == "goes on"


def produce(queue: treadle.Queue, life: int) -> None:
    for number in itertools.count():
        queue.put((life, number, contents(number)))


def produce_by_task(queue: treadle.Queue, life: int) -> None:
    async def main() -> None:
        for number in itertools.count():
            await queue.aio.put((life, number, contents(number)))

    asyncio.run(main())


def take(queue: treadle.Queue, taken: dict[int, list[int]]) -> None:
    life, number, data = queue.get()
    assert data == contents(number)
    taken.setdefault(life, []).append(number)


def contents(number: int) -> bytes:
    return bytes([number % 251]) * (0, 10, 3000, 20_000, 200_000)[number % 5]


# ---- treadle: a pipe says at once that the other end is gone


@every_peer
def test_treadle_s_pipe_ends_where_its_peer_died(by_task: bool) -> None:
    here, there = treadle.Pipe()
    with forked(send_for_ever, there, by_task) as child:
        there.close()
        for number in range(100):
            assert here.recv() == (number, contents(number))
        child.kill()
        with pytest.raises(EOFError):
            for number in itertools.count(100):
                assert here.recv() == (number, contents(number))
        with pytest.raises(BrokenPipeError):
            here.send("anybody there?")


def send_for_ever(line: Connection, end: Any, by_task: bool) -> None:
    async def main() -> None:
        for number in itertools.count():
            await end.aio.send((number, contents(number)))

    if by_task:
        asyncio.run(main())
    for number in itertools.count():
        end.send((number, contents(number)))
