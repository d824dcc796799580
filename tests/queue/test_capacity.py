"""maxsize and maxbytes: what is let in, what waits, and when it goes on."""

from __future__ import annotations

import pytest

import treadle
from tests.queue.workers import until_waiting
from tests.sync.threads import OtherThread

HEADER = 16  # bytes that an item takes beside its own


def size_of(payload: int) -> int:
    """What bytes of that length weigh: their tag and length, padded, behind a header."""
    return HEADER + (payload + 5 + 7) // 8 * 8


@pytest.mark.parametrize("maxsize", [1, 2, 7, 1000])
def test_maxsize_items_are_let_in_and_not_one_more(maxsize: int) -> None:
    queue = treadle.Queue(maxsize)
    for round_ in range(3):
        for number in range(maxsize):
            assert not queue.full()
            queue.put_nowait((round_, number))
        assert queue.full()
        with pytest.raises(treadle.Full):
            queue.put_nowait("too many")
        assert [queue.get_nowait() for _ in range(maxsize)] == [
            (round_, number) for number in range(maxsize)
        ]


def test_every_get_makes_room_for_one(other: OtherThread) -> None:
    queue = treadle.Queue(2)
    queue.put_many([0, 1])
    putting = other.start(queue.put_many, range(2, 100))
    for number in range(100):
        assert queue.qsize() <= 2
        assert queue.get() == number
    putting.result()
    assert queue.empty()


def test_an_item_on_lease_does_not_take_a_place_and_one_given_back_does() -> None:
    queue = treadle.Queue(1)
    queue.put("a")
    lease = queue.lease()
    assert not queue.full()
    queue.put_nowait("b")
    lease.nack()
    assert (queue.qsize(), queue.full()) == (2, True)
    with pytest.raises(treadle.Full):
        queue.put_nowait("c")
    assert queue.get() == "a"
    with pytest.raises(treadle.Full):
        queue.put_nowait("c")
    assert queue.get() == "b"
    queue.put_nowait("c")


def test_an_acknowledgement_is_no_room_and_a_lease_is(other: OtherThread) -> None:
    queue = treadle.Queue(1)
    queue.put(1)
    putting = other.start(queue.put, 2)
    until_waiting(queue)
    lease = queue.lease()
    putting.result()
    assert queue.full()
    lease.ack()
    assert queue.full()


def test_maxbytes_counts_what_items_occupy() -> None:
    queue = treadle.Queue(maxbytes=10 * size_of(100))
    for _ in range(10):
        assert not queue.full()
        queue.put_nowait(bytes(100))
    assert queue.full()
    assert queue.statistics().bytes == queue.maxbytes
    with pytest.raises(treadle.Full):
        queue.put_nowait(None)
    queue.get()
    with pytest.raises(treadle.Full):
        queue.put_nowait(bytes(200))
    queue.put_nowait(bytes(100))
    queue.get_many(100)
    assert queue.statistics().bytes == 0


@pytest.mark.parametrize("length", [2000, 9000, 1 << 20, 10 << 20])
def test_an_item_larger_than_maxbytes_passes_alone(length: int) -> None:
    queue = treadle.Queue(maxbytes=1000)
    queue.put_nowait("small")
    with pytest.raises(treadle.Full):
        queue.put_nowait(bytes(length))
    assert queue.get() == "small"
    queue.put_nowait(bytes(length))
    assert queue.full()
    for item in ("small", bytes(length)):
        with pytest.raises(treadle.Full):
            queue.put_nowait(item)
    assert queue.get() == bytes(length)
    assert queue.statistics().bytes == 0
    queue.put_nowait("small")


def test_a_large_item_waits_until_it_can_be_alone(other: OtherThread) -> None:
    queue = treadle.Queue(maxbytes=1000)
    queue.put_many(["a", "b"])
    putting = other.start(queue.put, bytes(5000))
    until_waiting(queue)
    assert queue.get() == "a"
    assert not putting.done()
    assert queue.get() == "b"
    putting.result()
    assert queue.get() == bytes(5000)


def test_a_small_item_is_not_held_up_by_a_large_one_that_waits(other: OtherThread) -> None:
    queue = treadle.Queue(maxbytes=2 * size_of(100))
    queue.put_many([bytes(100), bytes(100)])
    large = OtherThread("large")
    putting_large = large.start(queue.put, bytes(1000))
    until_waiting(queue, 1)
    putting_small = other.start(queue.put, bytes(50))
    until_waiting(queue, 2)
    queue.get()
    putting_small.result()
    assert not putting_large.done()
    queue.get_many(2)
    putting_large.result()
    large.end()


def test_items_of_a_batch_are_let_in_as_they_fit(other: OtherThread) -> None:
    queue = treadle.Queue(maxbytes=3 * size_of(100))
    items = [bytes([number]) * length for number, length in enumerate([100, 100, 5000, 1, 100, 90])]
    putting = other.start(queue.put_many, items)
    assert [queue.get() for _ in items] == items
    putting.result()


def test_both_limits_hold_at_once() -> None:
    queue = treadle.Queue(2, maxbytes=3 * size_of(100))
    queue.put_many([b"", b""])
    assert queue.full()
    with pytest.raises(treadle.Full):
        queue.put_nowait(b"")
    queue.get_many(2)
    queue.put_nowait(bytes(360))
    assert queue.full()
    with pytest.raises(treadle.Full):
        queue.put_nowait(b"")


def test_pickled_items_count_with_their_buffers() -> None:
    queue = treadle.Queue(maxbytes=1 << 20)
    queue.put({"data": bytes(1 << 19)})
    assert queue.statistics().bytes > 1 << 19
    queue.put({"data": bytes(1 << 18)})
    with pytest.raises(treadle.Full):
        queue.put_nowait({"data": bytes(1 << 19)})
    assert len(queue.get()["data"]) == 1 << 19
    queue.put_nowait({"data": bytes(1 << 19)})
