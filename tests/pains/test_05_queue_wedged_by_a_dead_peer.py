"""A queue wedges when a peer dies inside it (python/cpython#87971, #85880)."""

from __future__ import annotations

import random
import time
from multiprocessing.connection import Connection

import pytest

import treadle
from tests.pains.programs import hangs, seen_in_this_version
from tests.queue.workers import Start, until_waiting
from tests.sync.children import forked

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


def put(line: Connection, queue: treadle.Queue, item: object) -> None:
    line.send("about to put")
    queue.put(item)


def get(line: Connection, queue: treadle.Queue) -> None:
    line.send("about to get")
    queue.get()


@pytest.mark.parametrize("item", ["small", bytes(1 << 20)], ids=["small", "large"])
def test_treadle_goes_on_after_a_death_in_put(item: object) -> None:
    queue = treadle.Queue(1)
    queue.put("there before")
    with forked(put, queue, item) as child:
        until_waiting(queue)
        child.kill()
    with forked(put, queue, "by another process") as child:
        until_waiting(queue)
        assert queue.get() == "there before"
        assert queue.get() == "by another process"
    queue.put("goes on")
    assert queue.get() == "goes on"
    assert queue.empty()


def test_treadle_goes_on_after_a_death_in_get() -> None:
    queue = treadle.Queue()
    with forked(get, queue) as child:
        until_waiting(queue)
        child.kill()
    with forked(get, queue) as child:
        until_waiting(queue)
        queue.put("for the other process")
    queue.put("goes on")
    assert queue.get() == "goes on"


@pytest.mark.slow
def test_treadle_goes_on_whenever_its_peers_die(start: Start) -> None:
    """Producers are killed in the midst: of each, all that came is whole, without a gap."""
    queue = treadle.Queue(10)
    dice = random.Random(11)
    expected: dict[int, int] = {}
    for life in range(40):
        producer = start("fork", produce, queue, life)
        for _ in range(dice.randrange(1, 30)):
            take(queue, expected)
        while life not in expected:
            take(queue, expected)
        time.sleep(dice.random() / 1000)  # wherever it is by then
        producer.kill()
    while not queue.empty():
        take(queue, expected)
    assert set(expected) == set(range(40))
    queue.put("goes on")
    assert queue.get() == "goes on"


def produce(queue: treadle.Queue, life: int) -> None:
    number = 0
    while True:
        queue.put((life, number, contents(number)))
        number += 1


def take(queue: treadle.Queue, expected: dict[int, int]) -> None:
    life, number, data = queue.get()
    assert number == expected.get(life, 0)
    assert data == contents(number)
    expected[life] = number + 1


def contents(number: int) -> bytes:
    return bytes([number % 251]) * (0, 10, 3000, 20_000, 200_000)[number % 5]
