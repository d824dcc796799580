"""A private queue holds references: the very objects, one reference each, seen by the collector."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import treadle
from tests.queue.kinds import every_private_and_simple_kind, every_private_kind

Make = Callable[..., Any]


class Item:
    """Can be referred to weakly, and compared."""

    def __lt__(self, other: object) -> bool:
        return id(self) < id(other)


class Untouchable(Item):
    """Whoever copies or pickles it is told."""

    def _refuse(self, *_: object) -> Any:
        raise AssertionError("an item was copied")

    __copy__ = __deepcopy__ = __reduce__ = __reduce_ex__ = __getstate__ = _refuse


@every_private_and_simple_kind
def test_what_comes_out_is_what_went_in(make: Make) -> None:
    queue, item = make(), Untouchable()
    queue.put(item)
    assert queue.get() is item
    queue.put_many([item])
    assert queue.get_many(5)[0] is item
    queue.put(item)
    with queue.lease() as lease:
        assert lease.item is item


@every_private_and_simple_kind
@pytest.mark.parametrize(
    "item",
    [None, threading.Lock(), lambda: 1, iter([]), sys, Item, object(), NotImplemented],
    ids=lambda item: type(item).__name__,
)
def test_any_object_passes(make: Make, item: Any) -> None:
    queue = make()
    queue.put(item)
    assert queue.get() is item


@every_private_and_simple_kind
def test_what_is_changed_after_the_put_is_changed_in_the_queue(make: Make) -> None:
    queue, item = make(), []
    queue.put(item)
    item.append("later")
    assert queue.get() == ["later"]


@every_private_and_simple_kind
def test_the_queue_may_be_its_own_item(make: Make) -> None:
    queue = make()
    queue.put(queue)
    assert queue.get() is queue


@every_private_and_simple_kind
def test_each_item_in_it_is_one_reference(make: Make) -> None:
    queue = make()
    items = [Item() for _ in range(40)]  # more than the ring's first size
    item = items[0]
    alone = sys.getrefcount(item)
    for each in items:
        queue.put(each)
    assert sys.getrefcount(item) == alone + 1
    for _ in items:
        queue.get()
    assert sys.getrefcount(item) == alone


@every_private_kind
def test_calls_that_fail_keep_no_reference(make: Make) -> None:
    queue, item = make(1), Item()
    queue.put(Item())
    alone = sys.getrefcount(item)
    for put in (
        lambda: queue.put(item, block=False),
        lambda: queue.put(item, timeout=0.001),
        lambda: queue.put_nowait(item),
        lambda: queue.put_many([item], timeout=0),
    ):
        with pytest.raises(treadle.Full):
            put()
    queue.shutdown()
    with pytest.raises(treadle.ShutDown):
        queue.put(item)
    assert sys.getrefcount(item) == alone


@every_private_and_simple_kind
def test_leases_keep_the_item_and_let_it_go(make: Make) -> None:
    queue, item = make(), Item()
    alone = sys.getrefcount(item)
    queue.put(item)
    lease = queue.lease()
    assert lease.item is item
    lease.nack()
    del lease
    assert sys.getrefcount(item) == alone + 1
    queue.lease().ack()
    assert sys.getrefcount(item) == alone


# ---- The end of items, and of queues


@every_private_and_simple_kind
def test_items_go_with_their_queue(make: Make) -> None:
    queue, items = make(), [Item() for _ in range(3)]
    gone = [weakref.ref(item) for item in items]
    queue.put_many(items)
    lease = queue.lease()
    lease.nack()
    del items, lease, queue
    assert [ref() for ref in gone] == [None] * 3


@every_private_and_simple_kind
def test_a_shutdown_at_once_lets_the_items_go(make: Make) -> None:
    queue, items = make(), [Item() for _ in range(3)]
    gone = [weakref.ref(item) for item in items]
    queue.put_many(items)
    del items
    queue.shutdown(immediate=True)
    assert [ref() for ref in gone] == [None] * 3


@every_private_and_simple_kind
def test_what_a_blocked_get_was_to_bring_does_not_outlive_the_queue(make: Make) -> None:
    queue = make()
    waiting = threading.Thread(target=lambda: [queue.get() for _ in range(2)], daemon=True)
    waiting.start()
    items = [Item(), Item()]
    gone = [weakref.ref(item) for item in items]
    queue.put_many(items)
    waiting.join()
    del items
    assert [ref() for ref in gone] == [None] * 2


@every_private_and_simple_kind
def test_a_queue_in_a_cycle_with_its_items_is_collected(make: Make) -> None:
    class Node(Item):
        pass

    queue, node = make(), Node()
    node.queue = queue  # type: ignore[attr-defined]
    queue.put(node)
    for _ in range(20):  # the ring goes round, and grows
        queue.put([queue]) if "Priority" not in type(queue).__name__ else queue.put(Node())
    gone = weakref.ref(node), weakref.ref(queue)
    del node, queue
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


@every_private_and_simple_kind
def test_a_queue_in_itself_is_collected(make: Make) -> None:
    queue = make()
    queue.put(queue)
    gone = weakref.ref(queue)
    del queue
    gc.collect()
    assert gone() is None


@every_private_and_simple_kind
def test_two_queues_in_each_other_are_collected(make: Make) -> None:
    one, other = make(), make()
    one.put(other)
    other.put(one)
    lease = one.lease()
    gone = [weakref.ref(one), weakref.ref(other), weakref.ref(lease)]
    del one, other, lease
    gc.collect()
    assert [ref() for ref in gone] == [None] * 3


@every_private_and_simple_kind
def test_the_collector_sees_the_items_and_frees_none_that_is_in_use(make: Make) -> None:
    queue, item = make(), Item()
    item.itself = item  # type: ignore[attr-defined]
    gone = weakref.ref(item)
    queue.put(item)
    del item
    gc.collect()
    assert queue.get() is gone()
    gc.collect()
    assert gone() is None
