"""A queue takes the memory that its items need, and gives it back."""

from __future__ import annotations

import pytest

import treadle
from tests.queue.workers import books

pytestmark = pytest.mark.slow

CHUNK = 64 * 1024
MANY = 8 << 20  # bytes: more than a hundred chunks


@pytest.fixture(autouse=True)
def warm() -> None:
    """The arena keeps an empty unit for each size of block: it is there before anything counts."""
    queue = treadle.Queue()
    for length in (10, 8000, 9000, 20_000, 40_000, 100_000):
        queue.put_many([bytes(length)] * 20)
    leases = [queue.lease() for _ in range(60)]
    for lease in leases:
        lease.nack()
    queue.get_many(200)


@pytest.mark.parametrize("length", [10, 1000, 8000, 9000, 100_000, 1 << 20])
def test_it_grows_with_its_items_and_shrinks_with_them(length: int) -> None:
    queue = treadle.Queue()
    queue.put_many([bytes(CHUNK // 20)] * 40)  # past its first chunk, which is a small one
    queue.get_many(40)
    before = books()
    count = MANY // length
    for _ in range(2):
        queue.put_many([bytes(length)] * count)
        blocks, used = books()
        assert used - before[1] >= MANY * 0.9
        assert blocks > before[0]
        assert len(queue.get_many(count // 2)) == count // 2
        assert books()[1] - before[1] <= used - before[1] - 0.4 * MANY
        rest = count - count // 2
        assert len(queue.get_many(rest)) == rest
        assert books() == before
    assert queue.statistics().bytes == 0


def test_a_queue_that_stays_short_stays_small_however_much_passes() -> None:
    queue = treadle.Queue()
    queue.put_many(range(10_000))
    queue.get_many(10_000)
    before = books()
    for _ in range(200):
        queue.put_many(range(1000))
        queue.get_many(1000)
    assert books() == before


@pytest.mark.parametrize("length", [10, 9000, 100_000])
def test_what_is_left_in_a_queue_goes_with_it(length: int) -> None:
    before = books()
    queue = treadle.Queue()
    queue.put_many([bytes(length)] * 100)
    assert books()[0] > before[0]
    del queue
    assert books() == before


def test_what_is_on_lease_goes_with_its_queue() -> None:
    before = books()
    queue = treadle.Queue()
    queue.put_many([bytes(9000)] * 50)
    leases = [queue.lease() for _ in range(40)]
    for lease in leases[:10]:
        lease.nack()
    del queue, lease, leases
    assert books() == before


def test_a_shutdown_at_once_frees_what_was_in_it() -> None:
    queue = treadle.Queue()
    queue.put_many(range(1000))
    queue.get_many(1000)
    before = books()
    queue.put_many([bytes(9000), bytes(10)] * 100)
    lease = queue.lease()
    lease.nack()
    del lease
    queue.shutdown(immediate=True)
    # Of the leases only their table is left.
    assert books()[0] - before[0] == 1
    assert queue.qsize() == 0


def test_queues_made_and_dropped_leave_nothing() -> None:
    before = books()
    for _ in range(5000):
        queue = treadle.Queue(maxsize=3)
        queue.put(1)
    del queue
    assert books() == before


def test_a_peak_goes_back_to_the_system() -> None:
    queue = treadle.Queue()
    kept = 128 << 20  # what the arena keeps for the next time
    for _ in range(5):
        queue.put(bytes(50 << 20))
    peak = treadle.arena_statistics()
    assert peak.backed >= 250 << 20
    while not queue.empty():
        queue.get(copy=False)
    drained = treadle.arena_statistics()
    assert drained.backed - drained.used <= kept + (64 << 20)
