"""Leases of private queues: where the storage makes a difference."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.queue.kinds import every_private_and_simple_kind, every_private_kind
from tests.sync.children import forked
from tests.sync.threads import OtherThread, until_parked

Make = Callable[..., Any]


@every_private_and_simple_kind
def test_ack_nack_and_redelivery(make: Make) -> None:
    queue = make()
    queue.put("job")
    for deliveries in range(1, 4):
        lease = queue.lease()
        assert (lease.item, lease.deliveries, queue.qsize()) == ("job", deliveries, 0)
        assert queue.statistics().leased == 1
        lease.nack()
        assert queue.qsize() == 1
        with pytest.raises(RuntimeError, match="settled already"):
            lease.ack()
    with queue.lease() as lease:
        assert lease.deliveries == 4
    assert treadle.Queue.join(queue, 0)
    figures = queue.statistics()
    assert (figures.leased, figures.redelivered, figures.gets) == (0, 3, 1)


@every_private_and_simple_kind
def test_a_get_takes_what_was_given_back_as_it_was_put(make: Make) -> None:
    queue, item = make(), ("job",)
    for get in (
        queue.get,
        queue.get_nowait,
        lambda: queue.get_many(1)[0],
        lambda: next(iter(queue)),
    ):
        queue.put(item)
        queue.lease().nack()
        assert get() is item


@every_private_kind
def test_what_comes_back_finds_room_in_a_full_queue(make: Make) -> None:
    queue = make(2)
    queue.put_many([1, 2])
    lease = queue.lease()
    queue.put(3)
    lease.nack()
    assert queue.qsize() == 3
    assert queue.full()
    assert sorted(queue.get_many(5)) == [1, 2, 3]


@every_private_and_simple_kind
def test_a_getter_that_waits_gets_what_comes_back(make: Make, other: OtherThread) -> None:
    queue = make()
    queue.put("job")
    lease = queue.lease()
    getting = other.start(queue.get)
    until_parked(queue, other.native_id)
    lease.nack()
    assert getting.result() == "job"


@every_private_and_simple_kind
def test_one_that_is_forgotten_gives_its_item_back(make: Make) -> None:
    queue = make()
    queue.put("job")
    lease = queue.lease()
    del lease
    assert queue.get_nowait() == "job"


@every_private_and_simple_kind
def test_an_item_that_refers_to_its_own_lease_comes_back_whole(make: Make) -> None:
    """The collector would have cleared it, had it been given back when the lease was freed."""
    queue = make()
    queue.put(["job"])
    lease = queue.lease()
    lease.item.append(lease)
    del lease
    gc.collect()
    item = queue.get_nowait()
    assert item[0] == "job"
    assert queue.statistics().leased == 0
    with pytest.raises(RuntimeError, match="settled already"):
        item[1].ack()


@every_private_and_simple_kind
def test_a_lease_may_be_the_last_to_know_its_queue(make: Make) -> None:
    queue = make()
    queue.put("job")
    lease = queue.lease()
    gone = weakref.ref(queue)
    del queue
    assert gone() is not None
    del lease
    assert gone() is None


@pytest.mark.parametrize("how", ["nack", "forget"])
@every_private_and_simple_kind
def test_what_comes_back_after_a_shutdown_at_once_is_thrown_away_and_done(
    make: Make, how: str
) -> None:
    class Item:
        def __lt__(self, other: object) -> bool:
            return False

    queue = make()
    for _ in range(2):
        item = Item()
        queue.put(item)
    del item
    lease = queue.lease()
    queue.shutdown(immediate=True)
    assert not treadle.Queue.join(queue, 0)  # one is being worked on
    if how == "nack":
        lease.nack()
    del lease
    assert queue.qsize() == 0
    assert treadle.Queue.join(queue, 0)
    del queue
    assert not any(isinstance(each, Item) for each in gc.get_objects())


@every_private_and_simple_kind
def test_what_comes_back_after_a_mild_shutdown_is_still_to_be_got(make: Make) -> None:
    queue = make()
    queue.put("job")
    lease = queue.lease()
    queue.shutdown()
    lease.nack()
    assert list(queue) == ["job"]


@every_private_and_simple_kind
def test_a_fork_s_child_neither_settles_nor_gives_back(make: Make) -> None:
    queue = make()
    queue.put("job")
    leases = [queue.lease()]

    def child(line: Connection) -> None:
        with pytest.raises(RuntimeError, match="before a fork"):
            leases[0].ack()
        leases.clear()
        gc.collect()
        line.send(queue.qsize())

    with forked(child) as process:
        process.expect(0)
    leases[0].nack()
    assert queue.get_nowait() == "job"


@every_private_and_simple_kind
def test_leases_of_many_threads_are_settled_once_each(make: Make) -> None:
    queue = make()
    queue.put_many(range(300))
    done: list[int] = []

    def work() -> None:
        while True:
            try:
                lease = queue.lease(timeout=0)
            except treadle.Empty:
                return
            if lease.deliveries >= 2 + lease.item % 3:
                done.append(lease.item)
                lease.ack()
            elif lease.item % 2:
                lease.nack()
            del lease  # the others are forgotten: now, and not when there may be no other to take

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work()  # what was given back after the last of them had looked
    assert sorted(done) == list(range(300))
    assert treadle.Queue.join(queue, 0)
    assert queue.statistics().leased == 0
