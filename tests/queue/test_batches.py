"""put_many and get_many: in order, as one by one, and clear about what happened when they fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import treadle
from tests.queue.kinds import ascending, every_kind
from tests.queue.workers import books, until_waiting
from tests.sync.threads import OtherThread


def test_a_batch_is_put_in_order_behind_what_is_there(queue: treadle.Queue) -> None:
    queue.put("first")
    queue.put_many(["second", "third"])
    queue.put("fourth")
    assert queue.get_many(10) == ["first", "second", "third", "fourth"]


@ascending
def test_any_iterable_is_a_batch(queue: treadle.Queue) -> None:
    for items in ("abc", ["a", "b", "c"], iter("abc"), {"a": 1, "b": 2, "c": 3}):
        queue.put_many(items)
        assert queue.get_many(3) == ["a", "b", "c"]
    with pytest.raises(TypeError, match="not iterable"):
        queue.put_many(5)  # type: ignore[arg-type]


def test_an_empty_batch_is_nothing() -> None:
    queue = treadle.Queue(1)
    queue.put(1)
    queue.put_many([], timeout=0)
    assert queue.get_many(5) == [1]
    assert queue.statistics().unfinished == 1


@ascending
def test_get_many_takes_at_most_what_it_is_asked_for(queue: treadle.Queue) -> None:
    queue.put_many(range(10))
    assert queue.get_many(1) == [0]
    assert queue.get_many(4) == [1, 2, 3, 4]
    assert queue.get_many(100) == [5, 6, 7, 8, 9]


@pytest.mark.parametrize("bad", [0, -1, -(1 << 70)])
@every_kind
def test_get_many_of_less_than_one_is_refused(queue: treadle.Queue, bad: int) -> None:
    queue.put(1)
    with pytest.raises(ValueError, match="max_items must be one or more"):
        queue.get_many(bad)
    assert queue.get_many(1 << 70) == [1]


@pytest.mark.parametrize("bad", [1.0, 2.5, "3", None, [1]])
@every_kind
def test_get_many_of_no_integer_is_refused(queue: treadle.Queue, bad: Any) -> None:
    queue.put(1)
    with pytest.raises(TypeError):
        queue.get_many(bad)
    assert queue.qsize() == 1


@every_kind
def test_get_many_waits_for_the_first_and_only_for_the_first(
    queue: treadle.Queue, other: OtherThread
) -> None:
    got = other.start(queue.get_many, 100)
    until_waiting(queue)
    queue.put("only")
    assert got.result() == ["only"]
    with pytest.raises(treadle.Empty):
        queue.get_many(1, timeout=0.01)
    with pytest.raises(treadle.Empty):
        queue.get_many(1, timeout=-1)


@ascending
def test_batches_larger_than_chunks_pass_whole(queue: treadle.Queue) -> None:
    items = [(number, bytes(number % 300)) for number in range(30_000)]
    queue.put_many(items)
    assert queue.get_many(len(items)) == items


@ascending
def test_small_and_large_items_keep_their_order(queue: treadle.Queue) -> None:
    sizes = [9000 if n % 3 == 0 else 100_000 if n % 7 == 0 else n for n in range(200)]
    items = [bytes([n]) * size for n, size in enumerate(sizes)]
    queue.put_many(items)
    got = []
    while len(got) < len(items):
        got += queue.get_many(17)
    assert got == items


def test_a_batch_waits_for_room_as_it_goes(other: OtherThread) -> None:
    queue = treadle.Queue(3)
    putting = other.start(queue.put_many, range(100))
    assert [queue.get() for _ in range(100)] == list(range(100))
    putting.result()


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_on_full_the_items_before_are_in_the_queue(timeout: float) -> None:
    queue = treadle.Queue(3)
    with pytest.raises(treadle.Full):
        queue.put_many(range(10), timeout=timeout)
    assert queue.qsize() == 3
    with pytest.raises(treadle.Full):
        queue.put_many(["more"], timeout=timeout)
    assert queue.get_many(10) == [0, 1, 2]
    assert queue.statistics().unfinished == 3


def test_a_timeout_is_for_the_whole_batch() -> None:
    """Each item would be in time; all together are not."""
    queue = treadle.Queue(1)
    stop = threading.Event()

    def drain() -> None:
        while not stop.wait(0.01):
            try:
                queue.get_nowait()
            except treadle.Empty:
                pass

    thread = threading.Thread(target=drain)
    thread.start()
    try:
        with pytest.raises(treadle.Full):
            queue.put_many(range(1 << 16), timeout=0.1)
    finally:
        stop.set()
        thread.join()


def test_on_a_shutdown_the_items_before_are_in_the_queue(other: OtherThread) -> None:
    queue = treadle.Queue(3)
    putting = other.start(queue.put_many, range(10))
    until_waiting(queue)
    queue.shutdown()
    with pytest.raises(treadle.ShutDown):
        putting.result()
    assert list(queue) == [0, 1, 2]


@pytest.mark.parametrize("position", [0, 1, 50, 99])
def test_an_item_that_cannot_be_pickled_leaves_the_queue_as_it_was(
    queue: treadle.Queue, position: int
) -> None:
    """Those before it have been encoded, and the large ones have got memory."""
    queue.put("there before")
    blocks, _ = books()
    items: list[Any] = [bytes(9000) if n % 2 else n for n in range(100)]
    items[position] = threading.Lock()
    counts = []
    for _ in range(2):  # the first time, memory for slots of that size is kept for the next
        with pytest.raises(TypeError, match="cannot pickle"):
            queue.put_many(items)
        counts.append(books())
    assert counts[0] == counts[1]
    assert counts[0][0] == blocks
    assert queue.get_many(100) == ["there before"]
    assert queue.statistics().unfinished == 1


@every_kind
def test_an_iterable_that_fails_leaves_the_queue_as_it_was(queue: treadle.Queue) -> None:
    def items() -> Iterator[Any]:
        yield 1
        yield bytes(100_000)
        raise RuntimeError("no more of this")

    before = books()
    with pytest.raises(RuntimeError, match="no more of this"):
        queue.put_many(items())
    assert books() == before
    assert queue.empty()


@ascending
def test_an_iterable_may_use_the_queue_itself(queue: treadle.Queue) -> None:
    def items() -> Iterator[str]:
        for number in range(3):
            queue.put(f"inner {number}")
            yield f"outer {number}"

    queue.put_many(items())
    inner, outer = [[f"{who} {n}" for n in range(3)] for who in ("inner", "outer")]
    assert queue.get_many(10) == inner + outer


@ascending
def test_returned_items_come_first_in_a_batch(queue: treadle.Queue) -> None:
    queue.put_many(range(5))
    leases = [queue.lease() for _ in range(3)]
    for lease in reversed(leases):
        lease.nack()
    assert queue.get_many(10) == [0, 1, 2, 3, 4]
