"""One queue, workers of all kinds: every item once, in order, and the truth about it everywhere."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import Any

import pytest

import treadle
from tests.queue.histories import Event, violations
from tests.queue.workers import KINDS, Start, until_waiting

pytestmark = pytest.mark.slow


def echo(there: treadle.Queue, back: treadle.Queue) -> None:
    for item in there:
        back.put(item)
    back.shutdown()


@pytest.mark.parametrize("maxsize", [0, 1, 10])
@pytest.mark.parametrize("kind", KINDS)
def test_spsc(start: Start, kind: str, maxsize: int) -> None:
    there, back = treadle.Queue(maxsize), treadle.Queue()
    worker = start(kind, echo, there, back)
    items = [n if n % 7 else (n, "x" * n, [n]) for n in range(500)]
    for item in items:
        there.put(item)
    there.shutdown()
    assert list(back) == items
    worker.join()


@pytest.mark.parametrize(
    ("kinds", "maxsize"),
    [(["thread"], 0), (["thread"], 5), (["fork"], 0), (["fork"], 5), (list(KINDS), 5)],
    ids=str,
)
def test_mpmc(start: Start, kinds: list[str], maxsize: int) -> None:
    """Every item comes out once, and those of a producer in their order wherever they do."""
    queue, out = treadle.Queue(maxsize), treadle.Queue()
    producers, consumers, each = 5, 5, 400
    workers = [start(kinds[n % len(kinds)], produce, queue, n, each) for n in range(producers)]
    drains = [start(kinds[n % len(kinds)], consume, queue, out) for n in range(consumers)]
    for worker in workers:
        worker.join()
    queue.shutdown()
    batches = [out.get() for _ in drains]
    for worker in drains:
        worker.join()
    for batch in batches:
        for producer in range(producers):
            numbers = [number for who, number, _ in batch if who == producer]
            assert numbers == sorted(numbers)
    seen = Counter((who, number) for batch in batches for who, number, _ in batch)
    assert seen == Counter((who, number) for who in range(producers) for number in range(each))
    assert all(len(ballast) == number % 50 * 300 for b in batches for _, number, ballast in b)


def produce(queue: treadle.Queue, who: int, count: int) -> None:
    number = 0
    while number < count:
        size = min(who, count - number)  # by ones, and in batches
        items = [(who, n, bytes(n % 50 * 300)) for n in range(number, number + max(size, 1))]
        queue.put_many(items) if size else queue.put(items[0])
        number += len(items)


def consume(queue: treadle.Queue, out: treadle.Queue) -> None:
    got: list[Any] = []
    try:
        while True:
            got.append(queue.get())
            got += queue.get_many(3)
            with queue.lease() as lease:
                got.append(lease.item)
    except treadle.ShutDown:
        out.put(got)


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_is_told_right_after_a_put_elsewhere(start: Start, kind: str) -> None:
    queue = treadle.Queue(3)
    reader, writer = os.pipe()
    orders = treadle.Queue()
    worker = start(kind, put_and_tell, queue, orders, os.getpid(), writer)
    for size in range(1, 4):
        orders.put(size)
        assert os.read(reader, 1) == b"x"
        assert (queue.qsize(), queue.empty(), queue.full()) == (size, False, size == 3)
    orders.shutdown()
    worker.join()
    assert queue.get_many(5) == [1, 2, 3]
    assert (queue.qsize(), queue.empty(), queue.full()) == (0, True, False)
    os.close(reader)
    os.close(writer)


def put_and_tell(queue: treadle.Queue, orders: treadle.Queue, pid: int, descriptor: int) -> None:
    with open(f"/proc/{pid}/fd/{descriptor}", "wb", buffering=0) as pipe:
        for order in orders:
            queue.put(order)
            pipe.write(b"x")


@pytest.mark.parametrize("kind", KINDS)
def test_a_queue_made_by_a_worker_is_as_good_as_any(start: Start, kind: str) -> None:
    meeting = treadle.Queue()
    worker = start(kind, make_and_send, meeting)
    theirs = meeting.get()
    theirs.put("hello")
    assert meeting.get() == ("hello", "there")
    worker.join()
    theirs.put("its maker has ended")
    assert theirs.get() == "its maker has ended"


def make_and_send(meeting: treadle.Queue) -> None:
    mine = treadle.Queue()
    meeting.put(mine)
    meeting.put((mine.get(), "there"))


@pytest.mark.parametrize("kind", KINDS)
def test_many_wait_and_each_item_wakes_one(start: Start, kind: str) -> None:
    queue, out = treadle.Queue(), treadle.Queue()
    workers = [start(kind, echo_one, queue, out) for _ in range(3)]
    until_waiting(queue, 3)
    for number in range(3):
        queue.put(number)
        assert out.get() == number
    for worker in workers:
        worker.join()


def echo_one(queue: treadle.Queue, out: treadle.Queue) -> None:
    out.put(queue.get())


@pytest.mark.parametrize("maxsize", [0, 2])
@pytest.mark.parametrize("kind", ["thread", "fork"])
def test_linearizable(start: Start, kind: str, maxsize: int) -> None:
    queue, out = treadle.Queue(maxsize), treadle.Queue()
    gate = treadle.Barrier(4)
    workers = [start(kind, take_part, queue, gate, out, who, 1000) for who in range(4)]
    history = [Event(*event) for _ in workers for event in out.get()]
    for worker in workers:
        worker.join()
    while not queue.empty():
        now = time.monotonic_ns()
        history.append(Event("get", queue.get(), now, time.monotonic_ns()))
    assert sum(event.kind == "put" for event in history) > 1000
    assert sum(event.kind == "get" for event in history) > 1000
    assert violations(history) == []


def take_part(
    queue: treadle.Queue, gate: treadle.Barrier, out: treadle.Queue, who: int, calls: int
) -> None:
    history = []
    gate.wait()
    for number in range(calls):
        item: Any = (who, number)
        began = time.monotonic_ns()
        try:
            # Two get a little more often than the others put, so that it is empty at times.
            if who % 2 == 0 and number % 9:
                kind = "put"
                queue.put(item, timeout=0.01)
            elif number % 3:
                kind, item = "get", queue.get_nowait()
            else:
                kind, item = "get", queue.get(timeout=0.001)
        except treadle.Empty:
            kind = "empty"
        except treadle.Full:
            continue
        history.append((kind, item, began, time.monotonic_ns()))
    out.put(history)


def test_a_history_that_no_queue_has_is_told() -> None:
    """The checker finds each of the four violations, and nothing in what is right."""
    right = [
        Event("put", "a", 0, 1),
        Event("put", "b", 2, 3),
        Event("get", "a", 4, 5),
        Event("get", "b", 4, 6),
        Event("empty", None, 7, 8),
        Event("put", "c", 7, 20),
        Event("empty", None, 9, 10),
    ]
    assert violations(right) == []
    assert violations([*right, Event("get", "d", 30, 31)]) == ["d was got and never put"]
    assert violations([*right, Event("get", "a", 30, 31)])[0] == "a was got twice"
    early = [Event("put", "a", 5, 6), Event("get", "a", 1, 2)]
    assert violations(early) == ["a was got before it was put"]
    overtaking = [*right[:2], Event("get", "b", 4, 5), Event("get", "a", 6, 7)]
    assert violations(overtaking) == ["b overtook a"]
    assert violations([*right[:2], Event("get", "b", 4, 5)]) == ["b overtook a"]
    assert violations([right[0], Event("empty", None, 2, 3)]) == ["empty at 2 with an item in it"]
