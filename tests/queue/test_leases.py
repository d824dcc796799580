"""lease: an item is out, and is gone only when it is acknowledged."""

from __future__ import annotations

import gc
import os
import pickle
import random
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest

import treadle
from tests.queue.kinds import ascending, every_kind
from tests.queue.workers import books, until_waiting
from tests.sync.children import forked
from tests.sync.threads import OtherThread


@every_kind
def test_a_block_that_ends_well_acknowledges(queue: treadle.Queue) -> None:
    queue.put("job")
    with queue.lease() as lease:
        assert (lease.item, lease.deliveries) == ("job", 1)
        assert queue.empty()
        assert queue.statistics().leased == 1
    assert queue.empty()
    assert queue.statistics().leased == 0
    assert queue.join(timeout=0)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
@every_kind
def test_a_block_that_raises_gives_the_item_back(
    queue: treadle.Queue, error: type[BaseException]
) -> None:
    queue.put("job")
    for deliveries in range(1, 5):
        with pytest.raises(error), queue.lease() as lease:
            assert lease.deliveries == deliveries
            raise error
        assert queue.qsize() == 1
        assert not queue.join(timeout=0)
    assert queue.get() == "job"
    assert queue.statistics().redelivered == 4


@ascending
def test_what_was_given_back_comes_before_what_is_newer_and_in_its_order(
    queue: treadle.Queue,
) -> None:
    queue.put_many("abcdef")
    leases = [queue.lease() for _ in range(4)]
    for which in (3, 0, 2):
        leases[which].nack()
    assert [queue.get() for _ in range(5)] == ["a", "c", "d", "e", "f"]
    leases[1].nack()
    queue.put("g")
    assert [queue.lease().item for _ in range(2)] == ["b", "b"]  # the first one is forgotten
    assert queue.get_many(5) == ["b", "g"]


@every_kind
def test_a_lease_can_be_settled_inside_its_block(queue: treadle.Queue) -> None:
    queue.put_many("ab")
    with queue.lease() as lease:
        lease.ack()
    with pytest.raises(ValueError, match="after"), queue.lease() as lease:
        lease.ack()
        raise ValueError("after")
    assert queue.join(timeout=0)
    queue.put("c")
    with queue.lease() as lease:
        lease.nack()
    assert queue.get() == "c"


@pytest.mark.parametrize("first", ["ack", "nack"])
@pytest.mark.parametrize("second", ["ack", "nack"])
@ascending
def test_a_lease_is_settled_once(queue: treadle.Queue, first: str, second: str) -> None:
    queue.put_many("ab")
    lease = queue.lease()
    assert "open" in repr(lease)
    getattr(lease, first)()
    assert "settled" in repr(lease)
    before = queue.statistics()
    with pytest.raises(RuntimeError, match="settled already"):
        getattr(lease, second)()
    assert queue.statistics() == before
    assert lease.item == "a"


@every_kind
def test_a_second_delivery_is_not_settled_through_the_first(queue: treadle.Queue) -> None:
    queue.put("job")
    first = queue.lease()
    first.nack()
    second = queue.lease()
    for settle in (first.ack, first.nack):
        with pytest.raises(RuntimeError):
            settle()
    second.ack()
    assert queue.join(timeout=0)


@every_kind
def test_a_forgotten_lease_gives_the_item_back(queue: treadle.Queue) -> None:
    queue.put("job")
    lease = queue.lease()
    del lease
    assert queue.lease().deliveries == 2
    assert queue.get() == "job"


def test_a_lease_forgotten_in_a_cycle_gives_the_item_back(queue: treadle.Queue) -> None:
    for make in (lambda lease: [lease], lambda lease: lease.item):
        queue.put(["job"])
        lease = queue.lease()
        make(lease).append(lease)
        lease.item.append(lease)
        del lease
        gc.collect()
        assert queue.get() == ["job"]
    assert queue.statistics().leased == 0


def test_a_lease_keeps_its_queue(other: OtherThread) -> None:
    queue = treadle.Queue()
    queue.put("job")
    lease = queue.lease()
    twin = pickle.loads(pickle.dumps(queue))
    del queue
    waiting = other.start(twin.lease)
    until_waiting(twin)
    lease.nack()
    assert waiting.result().item == "job"


@ascending
def test_any_thread_can_settle_a_lease(queue: treadle.Queue, other: OtherThread) -> None:
    queue.put_many("ab")
    leases = [other.do(queue.lease) for _ in range(2)]
    other.do(lambda: None)
    leases[0].ack()
    leases[1].nack()
    with other.do(queue.lease) as lease:
        assert lease.item == "b"
    assert queue.join(timeout=0)


@pytest.mark.slow
@every_kind
def test_a_thread_that_has_ended_still_holds_its_lease(queue: treadle.Queue) -> None:
    """It belongs to the process: whoever has the object can settle it."""
    queue.put("job")
    thread = OtherThread()
    lease = thread.do(queue.lease)
    thread.end()
    with pytest.raises(treadle.Empty):
        queue.get(timeout=0.3)  # long enough for several looks at the holders
    lease.ack()
    assert queue.join(timeout=0)


@every_kind
def test_lease_waits_as_get_does(queue: treadle.Queue, other: OtherThread) -> None:
    for timeout in (0, 0.01, -1):
        with pytest.raises(treadle.Empty):
            queue.lease(timeout)
    waiting = other.start(queue.lease)
    until_waiting(queue)
    queue.put("job")
    assert waiting.result().item == "job"


@every_kind
def test_who_waits_is_woken_by_what_is_given_back(queue: treadle.Queue, other: OtherThread) -> None:
    queue.put("job")
    lease = queue.lease()
    got = other.start(queue.get)
    until_waiting(queue)
    lease.nack()
    assert got.result() == "job"


@every_kind
def test_in_a_forked_child_a_lease_is_refused_and_untouched(queue: treadle.Queue) -> None:
    queue.put("job")
    leases = [queue.lease()]

    def child(line: Connection) -> None:
        for settle in (leases[0].ack, leases[0].nack):
            with pytest.raises(RuntimeError, match=f"belongs to pid {os.getppid()}"):
                settle()
        with leases[0]:
            pass  # as in `with queue.lease(): os.fork()`: the child leaves the block, too
        assert leases[0].item == "job"
        leases.clear()
        gc.collect()
        line.send("dropped")

    with forked(child) as process:
        process.expect("dropped")
    assert queue.empty()
    assert queue.statistics().leased == 1
    leases[0].ack()
    assert queue.join(timeout=0)


def test_a_lease_is_made_by_its_queue_and_stays_in_its_process(queue: treadle.Queue) -> None:
    with pytest.raises(TypeError, match=r"made by Queue.lease\(\)"):
        treadle.Lease()
    queue.put("job")
    lease = queue.lease()
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(lease)
    with pytest.raises(TypeError, match="cannot be pickled"):
        queue.put(lease)
    lease.ack()


@pytest.mark.parametrize("count", [15, 16, 17, 1000])
@ascending
def test_many_leases_at_once(queue: treadle.Queue, count: int) -> None:
    """The table of leases grows as it must; settled in any order, all are accounted for."""
    queue.put_many(range(count))
    leases = [queue.lease() for _ in range(count)]
    assert [lease.item for lease in leases] == list(range(count))
    assert queue.statistics().leased == count
    random.Random(count).shuffle(leases)
    for lease in leases[::2]:
        lease.ack()
    for lease in leases[1::2]:
        lease.nack()
    returned = sorted(lease.item for lease in leases[1::2])
    assert queue.get_many(count) == returned
    for _ in returned:
        queue.task_done()
    assert queue.join(timeout=0)


@ascending
def test_many_rounds_of_leases_leave_nothing(queue: treadle.Queue) -> None:
    def go_round() -> None:
        for number in range(300):
            queue.put((number, bytes(9000)))
        for number in range(300):
            with queue.lease() as lease:
                assert lease.item[0] == number

    go_round()
    before = books()
    for _ in range(5):
        go_round()
    assert books() == before


def test_a_large_item_survives_its_redeliveries_and_is_freed_by_the_ack(
    queue: treadle.Queue,
) -> None:
    queue.put_many([0] * 20)
    for _ in range(20):
        queue.lease().ack()
    before = books()
    queue.put(np.arange(200_000))
    for _ in range(3):
        lease = queue.lease()
        assert (lease.item == np.arange(200_000)).all()
        lease.nack()
        del lease
    assert books()[1] - before[1] >= 1_600_000
    with queue.lease() as lease:
        assert lease.item.sum() == sum(range(200_000))
    del lease
    assert books() == before


@every_kind
def test_a_returned_item_is_got_for_good_by_get(queue: treadle.Queue) -> None:
    queue.put(bytes(20_000))
    queue.lease().nack()
    assert queue.get(copy=False) == bytes(20_000)
    queue.task_done()
    assert queue.join(timeout=0)
    assert queue.statistics().redelivered == 1


@every_kind
def test_an_item_given_back_for_ever_stays_a_returned_one(queue: treadle.Queue) -> None:
    """The count of deliveries ends at its largest value, and does not begin anew."""
    queue.put("poison")
    for _ in range(66_000):
        lease = queue.lease()
        lease.nack()
    assert queue.lease().deliveries == 65_536


@every_kind
def test_task_done_is_not_for_items_on_lease(queue: treadle.Queue) -> None:
    """Else join would return while somebody works on one."""
    queue.put_many(["a", "b"])
    lease = queue.lease()
    queue.get()
    queue.task_done()
    with pytest.raises(ValueError, match=r"too many times; an item on lease counts as done by its"):
        queue.task_done()
    assert not queue.join(timeout=0)
    lease.nack()
    assert not queue.join(timeout=0)
    queue.get()
    queue.task_done()
    assert queue.join(timeout=0)
    with pytest.raises(ValueError, match=r"too many times$"):
        queue.task_done()


@ascending
def test_a_lease_is_as_good_as_a_get_with_others_in_between(queue: treadle.Queue) -> None:
    """Leases, gets and batches in turn: each item once, in order."""
    got: list[Any] = []
    queue.put_many(range(100))
    while len(got) < 100:
        with queue.lease() as lease:
            got.append(lease.item)
        got.append(queue.get())
        got += queue.get_many(3)
    assert got == list(range(100))
    with pytest.raises(treadle.Empty):
        queue.get_nowait()


@every_kind
def test_a_lease_cannot_be_pickled_and_says_what_to_send(queue: treadle.Queue) -> None:
    queue.put("job")
    with queue.lease() as lease, pytest.raises(TypeError, match=r"settled by .*; send its item"):
        pickle.dumps(lease)
