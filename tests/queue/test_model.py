"""Whatever is done in whatever order, a queue does what a sorted list would, and one of leases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

import treadle
from tests.queue.kinds import Hooked
from tests.queue.values import unhurried
from treadle import queue as dropin

pytestmark = [pytest.mark.slow, pytest.mark.watchdog(300)]  # a failure is simplified at length

items = st.one_of(
    st.integers(),
    st.text(max_size=5),
    st.integers(0, 30_000).map(bytes),  # beside the ring, too
    st.lists(st.integers(), max_size=3),
)


Entry = tuple[int, Any, int]  # number, item, deliveries


class QueueMachine(RuleBasedStateMachine):
    """The model: what is in the queue, in the order in which it comes out."""

    kind: ClassVar[Callable[[int], treadle.Queue]] = treadle.Queue
    items = items

    @staticmethod
    def order(entry: Entry) -> Any:
        return entry[0]

    @initialize(maxsize=st.integers(0, 4))
    def make(self, maxsize: int) -> None:
        self.queue = self.kind(maxsize)
        self.maxsize = maxsize
        self.model: list[Entry] = []
        self.leases: list[tuple[treadle.Lease, Entry]] = []
        self.count = 0
        self.unfinished = 0
        self.shut = False

    # ---- What the model does

    def model_add(self, entry: Entry) -> None:
        self.model.append(entry)
        self.model.sort(key=self.order)

    def model_put(self, item: Any) -> bool:
        if self.shut or (self.maxsize and len(self.model) >= self.maxsize):
            return False
        self.model_add((self.count, item, 0))
        self.count += 1
        self.unfinished += 1
        return True

    def model_get(self) -> Entry:
        return self.model.pop(0)

    def refusal(self) -> type[Exception]:
        return treadle.ShutDown if self.shut else treadle.Full

    def emptiness(self) -> type[Exception]:
        return treadle.ShutDown if self.shut else treadle.Empty

    def model_return(self, entry: Entry) -> None:
        self.model_add(entry)

    # ---- What is done to both

    def draw(self, data: st.DataObject) -> Any:
        return data.draw(self.items)

    @rule(data=st.data())
    def put(self, data: st.DataObject) -> None:
        item = self.draw(data)
        if self.model_put(item):
            self.queue.put_nowait(item)
        else:
            with pytest.raises(self.refusal()):
                self.queue.put_nowait(item)

    @rule(data=st.data())
    def put_many(self, data: st.DataObject) -> None:
        batch = [self.draw(data) for _ in range(data.draw(st.integers(0, 6)))]
        accepted = [self.model_put(item) for item in batch]
        if all(accepted):
            self.queue.put_many(batch, timeout=0)
        else:
            with pytest.raises(self.refusal()):
                self.queue.put_many(batch, timeout=0)

    @rule()
    def get(self) -> None:
        if self.model:
            assert self.queue.get_nowait() == self.model_get()[1]
        else:
            with pytest.raises(self.emptiness()):
                self.queue.get_nowait()

    @rule(wanted=st.integers(1, 5))
    def get_many(self, wanted: int) -> None:
        if self.model:
            expected = [self.model_get()[1] for _ in range(min(wanted, len(self.model)))]
            assert self.queue.get_many(wanted) == expected
        else:
            with pytest.raises(self.emptiness()):
                self.queue.get_many(wanted, timeout=0)

    @rule()
    def lease(self) -> None:
        if self.model:
            number, item, deliveries = self.model_get()
            lease = self.queue.lease()
            assert lease.item == item
            assert lease.deliveries == deliveries + 1
            self.leases.append((lease, (number, item, deliveries + 1)))
        else:
            with pytest.raises(self.emptiness()):
                self.queue.lease(timeout=0)

    @precondition(lambda self: self.leases)
    @rule(which=st.integers(0, 1000))
    def ack(self, which: int) -> None:
        lease, _ = self.leases.pop(which % len(self.leases))
        lease.ack()
        self.unfinished -= self.unfinished != 0  # it may have been declared done before the lease

    @precondition(lambda self: self.leases)
    @rule(which=st.integers(0, 1000), forget=st.booleans())
    def give_back(self, which: int, forget: bool) -> None:
        lease, entry = self.leases.pop(which % len(self.leases))
        if not forget:
            lease.nack()
        del lease
        self.model_return(entry)

    @rule()
    def task_done(self) -> None:
        if self.unfinished > len(self.leases):
            self.unfinished -= 1
            self.queue.task_done()
        else:
            with pytest.raises(ValueError, match=r"task_done\(\) called too many times"):
                self.queue.task_done()

    @precondition(lambda self: self.count > 20)
    @rule()
    def shutdown(self) -> None:
        self.queue.shutdown()
        self.shut = True

    # ---- What both say

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "queue"):
            return
        assert self.queue.qsize() == len(self.model)
        assert self.queue.empty() == (len(self.model) == 0)
        assert self.queue.full() == (0 < self.maxsize <= len(self.model))
        figures = self.queue.statistics()
        assert figures.unfinished == self.unfinished
        assert treadle.Queue.join(self.queue, timeout=0) == (self.unfinished == 0)
        assert figures.leased == len(self.leases)
        assert figures.puts == self.count
        assert figures.is_shutdown == self.shut
        assert (figures.bytes == 0) == (not self.occupying())

    def occupying(self) -> list[Entry]:
        """What is in the ring: that which was given back lies elsewhere."""
        return [entry for entry in self.model if entry[2] == 0]


class PriorityQueueMachine(QueueMachine):
    kind = treadle.PriorityQueue
    items = st.tuples(st.integers(0, 3), items)

    @staticmethod
    def order(entry: Entry) -> Any:
        """By the text behind the priority as well, but not by a list: that has no order."""
        priority, item = entry[1]
        if isinstance(item, list):
            return (priority, 0, entry[0])
        rank = (int, bytes, str).index(type(item)) + 1
        return (priority, rank, item, entry[0])

    def occupying(self) -> list[Entry]:
        return self.model


class LifoQueueMachine(QueueMachine):
    kind = treadle.LifoQueue

    @staticmethod
    def order(entry: Entry) -> Any:
        return -entry[0]

    def occupying(self) -> list[Entry]:
        return self.model


class PrivateQueueMachine(QueueMachine):
    """What comes back is the next to be got; and a shutdown may be at once."""

    kind = dropin.Queue

    def draw(self, data: st.DataObject) -> Any:
        """No two are equal, whatever they are; compared by the number that was drawn."""
        self.drawn = getattr(self, "drawn", 0) + 1
        return (data.draw(st.integers(0, 3)), self.drawn)

    def model_return(self, entry: Entry) -> None:
        if self.thrown_away:
            self.unfinished -= self.unfinished != 0
        else:
            self.model_take_back(entry)

    def model_take_back(self, entry: Entry) -> None:
        self.model.insert(0, entry)

    def model_add(self, entry: Entry) -> None:
        self.model.append(entry)

    thrown_away = False

    @precondition(lambda self: self.count > 20)
    @rule()
    def shutdown_at_once(self) -> None:
        self.queue.shutdown(immediate=True)
        self.shut = self.thrown_away = True
        self.unfinished = max(self.unfinished - len(self.model), 0)
        self.model.clear()

    @precondition(lambda self: not self.shut)
    @rule(maxsize=st.integers(-1, 4))
    def another_bound(self, maxsize: int) -> None:
        self.queue.maxsize = maxsize  # type: ignore[misc]
        self.maxsize = max(maxsize, 0)

    def occupying(self) -> list[Entry]:
        return []


class PrivateHookedQueueMachine(PrivateQueueMachine):
    kind = Hooked


class PrivateLifoQueueMachine(PrivateQueueMachine):
    kind = dropin.LifoQueue

    def model_add(self, entry: Entry) -> None:
        self.model.insert(0, entry)


class PrivatePriorityQueueMachine(PrivateQueueMachine):
    kind = dropin.PriorityQueue

    def model_add(self, entry: Entry) -> None:
        self.model.append(entry)
        self.model.sort(key=lambda entry: entry[1])

    def model_take_back(self, entry: Entry) -> None:
        self.model_add(entry)


TestQueueMachine = QueueMachine.TestCase
TestPrivateQueueMachine = PrivateQueueMachine.TestCase
TestPrivateHookedQueueMachine = PrivateHookedQueueMachine.TestCase
TestPrivateLifoQueueMachine = PrivateLifoQueueMachine.TestCase
TestPrivatePriorityQueueMachine = PrivatePriorityQueueMachine.TestCase
TestPriorityQueueMachine = PriorityQueueMachine.TestCase
TestLifoQueueMachine = LifoQueueMachine.TestCase
for case in (
    TestQueueMachine,
    TestPriorityQueueMachine,
    TestLifoQueueMachine,
    TestPrivateQueueMachine,
    TestPrivateHookedQueueMachine,
    TestPrivateLifoQueueMachine,
    TestPrivatePriorityQueueMachine,
):
    case.settings = unhurried(max_examples=50, stateful_step_count=50)
