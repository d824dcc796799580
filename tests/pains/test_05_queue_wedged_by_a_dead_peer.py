"""A queue wedges when a peer dies inside it (python/cpython#87971, #85880)."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import defaultdict
from typing import Any

import pytest

import treadle
from tests.channels.pipes import fill
from tests.names.conftest import Start as StartProgram
from tests.pains.parties import PARTIES, begin, call, wait
from tests.pains.programs import hangs, seen_in_this_version
from tests.queue.workers import Start
from tests.sync.children import forked
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


# The child dies with half a message in the pipe; others that could write have it open still.
KILLED_IN_SEND = """
import multiprocessing
context = multiprocessing.get_context("fork")
reader, writer = context.Pipe(duplex=False)
child = context.Process(target=writer.send_bytes, args=(bytes(1 << 20),))
child.start()
while not reader.poll(): pass
child.kill(); child.join()
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
        pytest.param(
            KILLED_IN_SEND + "reader.recv_bytes()", id="who receives after half a message"
        ),
    ],
)
def test_the_standard_library_hangs(program: str) -> None:
    assert hangs(program)


# ---- Killed while it waits


each_queue = pytest.mark.parametrize(
    "kind", [treadle.Queue, treadle.PriorityQueue, treadle.LifoQueue]
)
each_dead = pytest.mark.parametrize("dead", PARTIES, ids="a {} is dead".format)
each_living = pytest.mark.parametrize("living", PARTIES, ids="a {} lives".format)


@each_living
@each_dead
@each_queue
@pytest.mark.parametrize("item", ["small", "large" * 200_000], ids=["small", "large"])
def test_treadle_goes_on_after_a_death_in_put(
    kind: type[Any], item: str, dead: str, living: str
) -> None:
    queue = kind(1)
    queue.put("there before")
    with (
        forked(wait, dead, queue, "put", item) as doomed,
        forked(wait, living, queue, "put", "by another") as other,
    ):
        doomed.expect("waiting")
        other.expect("waiting")
        doomed.kill()
        assert call(living, queue, "get") == "there before"
        assert call(living, queue, "get") == "by another"
        other.expect(None)
    assert queue.empty()
    call(living, queue, "put", "goes on")
    assert call(living, queue, "get") == "goes on"


@each_living
@each_dead
@each_queue
def test_treadle_goes_on_after_a_death_in_get(kind: type[Any], dead: str, living: str) -> None:
    queue = kind()
    with (
        forked(wait, dead, queue, "get") as doomed,
        forked(wait, living, queue, "get") as other,
    ):
        doomed.expect("waiting")
        other.expect("waiting")
        doomed.kill()
        call(living, queue, "put", "for the other process")
        other.expect("for the other process")
    call(living, queue, "put", "goes on")
    assert call(living, queue, "get") == "goes on"


@each_living
@each_dead
def test_treadle_goes_on_after_a_death_in_recv(dead: str, living: str) -> None:
    """Others hold the dead one's end as well, and get what comes next."""
    here, there = treadle.Pipe()
    with forked(wait, dead, there, "recv") as doomed:
        doomed.expect("waiting")
        doomed.kill()
    call(living, here, "send", "for the survivor")
    assert call(living, there, "recv") == "for the survivor"


@each_living
@each_dead
def test_treadle_goes_on_after_a_death_in_send(dead: str, living: str) -> None:
    here, there = treadle.Pipe()
    count = fill(here)
    with forked(wait, dead, here, "send_bytes", bytes(1 << 20)) as doomed:
        doomed.expect("waiting")
        doomed.kill()
    for _ in range(count):
        call(living, there, "recv_bytes")
    assert not there.poll()
    call(living, here, "send", "goes on")
    assert call(living, there, "recv") == "goes on"


@pytest.mark.slow
@each_living
@each_dead
def test_treadle_tells_who_waits_that_nobody_is_left_at_the_other_end(
    dead: str, living: str
) -> None:
    here, there = treadle.Pipe()
    with forked(wait, dead, there, "recv") as doomed:
        there.close()
        doomed.expect("waiting")
        receiving = begin(living, here, "recv")
        doomed.kill()
        with pytest.raises(EOFError):
            receiving.result()
    with pytest.raises(BrokenPipeError):
        call(living, here, "send", "to nobody")


@pytest.mark.slow
@pytest.mark.parametrize(("dead", "living"), [PARTIES, PARTIES[::-1]])
@pytest.mark.parametrize("method", ["put", "get"])
@each_queue
def test_treadle_goes_on_between_unrelated_programs(
    start_program: StartProgram, kind: type[Any], method: str, dead: str, living: str
) -> None:
    doomed, other = start_program(), start_program()
    for program in doomed, other:
        program.tell("from tests.pains import parties")
        program.tell(f"it = treadle.{kind.__name__}(1, name='x')")
    item = ""
    if method == "put":
        other.tell("it.put('there before')")
        item = ", 'from the dead'"
    doomed.begin(f"parties.wait(parties.Stdio(), {dead!r}, it, {method!r}{item})")
    assert doomed.answer() == "waiting"
    doomed.kill()
    if method == "put":
        assert other.tell(f"parties.call({living!r}, it, 'get')") == "there before"
        assert other.tell("it.empty()") is True
    successor = start_program()
    successor.tell(f"it = treadle.{kind.__name__}(1, name='x')")
    successor.tell("it.put('goes on')")
    assert other.tell(f"parties.call({living!r}, it, 'get')") == "goes on"


# ---- Killed amid a stream, wherever it is by then

LIVES = 12
each_peer = pytest.mark.parametrize("peer", PARTIES, ids="a {} dies".format)


def numbered(life: int, number: int) -> tuple[int, int, list[bytes]]:
    """An item, of which a priority queue looks at the numbers only."""
    return life, number, [contents(number)]


def contents(number: int) -> bytes:
    return bytes([number % 251]) * (0, 10, 3000, 20_000, 200_000)[number % 5]


@pytest.mark.slow
@each_peer
@each_queue
def test_treadle_goes_on_whenever_producers_die(start: Start, kind: type[Any], peer: str) -> None:
    """Of each one's items, all that came are whole, without a gap."""
    queue = kind(10)
    dice = random.Random(11)
    came: dict[int, list[int]] = defaultdict(list)

    def take() -> None:
        life, number, [data] = queue.get()
        assert data == contents(number)
        came[life].append(number)

    for life in range(LIVES):
        producer = start("fork", produce, peer, queue, life)
        for _ in range(dice.randrange(1, 30)):
            take()
        while life not in came:
            take()
        time.sleep(dice.random() / 1000)  # wherever it is by then
        producer.kill()
    while not queue.empty():
        take()
    assert set(came) == set(range(LIVES))
    for numbers in came.values():
        if kind is treadle.LifoQueue:
            numbers.sort()
        assert numbers == list(range(len(numbers)))
    queue.put("goes on")
    assert queue.get() == "goes on"


def produce(peer: str, queue: Any, life: int) -> None:
    async def produce_as_task() -> None:
        for number in itertools.count():
            await queue.aio.put(numbered(life, number))

    if peer == "task":
        asyncio.run(produce_as_task())
    for number in itertools.count():
        queue.put(numbered(life, number))


@pytest.mark.slow
@each_peer
@each_queue
@pytest.mark.parametrize("method", ["get", "lease"])
def test_treadle_goes_on_whenever_consumers_die(
    start: Start, kind: type[Any], peer: str, method: str
) -> None:
    """Each takes one item along at most; and none where it had them on lease."""
    queue, taken = kind(10), treadle.Queue()
    dice = random.Random(12)
    numbers = itertools.count()
    for _ in range(LIVES):
        before = taken.qsize()
        consumer = start("fork", consume, peer, method, queue, taken)
        for _ in range(dice.randrange(20, 50)):
            queue.put(numbered(0, next(numbers)))
        until(lambda before=before: taken.qsize() > before)
        time.sleep(dice.random() / 1000)  # wherever it is by then
        consumer.kill()
    put = set(range(next(numbers)))
    came = [] if taken.empty() else taken.get_many(taken.qsize())
    while not queue.empty():
        came.append(queue.get()[1])
    if method == "lease":
        while put.difference(came):
            came.append(queue.get()[1])
    else:
        assert len(set(came)) == len(came)
        assert len(put.difference(came)) <= LIVES
    queue.put("goes on")
    while (item := queue.get()) != "goes on":  # noted by one that died before it said so
        assert method == "lease"
        came.append(item[1])
    assert set(came) <= put
    assert len(came) - len(put) <= LIVES


def consume(peer: str, method: str, queue: Any, taken: treadle.Queue) -> None:
    def note(item: tuple[int, int, list[bytes]]) -> None:
        _, number, [data] = item
        assert data == contents(number)
        taken.put(number)

    async def consume_as_task() -> None:
        while True:
            if method == "get":
                note(await queue.aio.get())
            else:
                with await queue.aio.lease() as lease:
                    note(lease.item)

    if peer == "task":
        asyncio.run(consume_as_task())
    while True:
        if method == "get":
            note(queue.get())
        else:
            with queue.lease() as lease:
                note(lease.item)


@pytest.mark.slow
@each_peer
def test_treadle_ends_a_pipe_whenever_its_sender_dies(start: Start, peer: str) -> None:
    """All that came is whole, without a gap, and then comes the end."""
    dice = random.Random(13)
    for life in range(LIVES):
        here, there = treadle.Pipe(duplex=False)
        sender = start("fork", send, peer, there, life)
        there.close()
        came = [here.recv() for _ in range(dice.randrange(1, 30))]
        time.sleep(dice.random() / 1000)  # wherever it is by then
        sender.kill()
        with pytest.raises(EOFError):
            while True:
                came.append(here.recv())
        assert came == [numbered(life, number) for number in range(len(came))]


def send(peer: str, end: treadle.Connection, life: int) -> None:
    async def send_as_task() -> None:
        for number in itertools.count():
            await end.aio.send(numbered(life, number))

    if peer == "task":
        asyncio.run(send_as_task())
    for number in itertools.count():
        end.send(numbered(life, number))
