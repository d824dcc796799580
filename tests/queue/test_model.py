"""Whatever is done in whatever order, a queue does what queue.Queue and a list of leases would."""

from __future__ import annotations

import queue as stdlib
from typing import Any

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
from tests.queue.values import unhurried

pytestmark = [pytest.mark.slow, pytest.mark.watchdog(300)]  # a failure is simplified at length

items = st.one_of(
    st.integers(),
    st.text(max_size=5),
    st.integers(0, 30_000).map(bytes),  # beside the ring, too
    st.lists(st.integers(), max_size=3),
)


class QueueMachine(RuleBasedStateMachine):
    """The model: a queue.Queue of what was never handed out, a list of what was given back."""

    @initialize(maxsize=st.integers(0, 4))
    def make(self, maxsize: int) -> None:
        self.queue = treadle.Queue(maxsize)
        self.model: stdlib.Queue[tuple[int, Any, int]] = stdlib.Queue(maxsize)
        self.returned: list[tuple[int, Any, int]] = []  # number, item, deliveries
        self.leases: list[tuple[treadle.Lease, tuple[int, Any, int]]] = []
        self.count = 0
        self.shut = False

    # ---- What the model does

    def model_size(self) -> int:
        return self.model.qsize() + len(self.returned)

    def model_put(self, item: Any) -> bool:
        if self.shut:
            return False
        if self.model.maxsize and self.model_size() >= self.model.maxsize:
            return False
        self.model.put_nowait((self.count, item, 0))
        self.count += 1
        return True

    def model_get(self) -> tuple[int, Any, int]:
        if self.returned:
            return self.returned.pop(0)
        return self.model.get_nowait()

    def refusal(self) -> type[Exception]:
        return treadle.ShutDown if self.shut else treadle.Full

    def emptiness(self) -> type[Exception]:
        return treadle.ShutDown if self.shut else treadle.Empty

    # ---- What is done to both

    @rule(item=items)
    def put(self, item: Any) -> None:
        if self.model_put(item):
            self.queue.put_nowait(item)
        else:
            with pytest.raises(self.refusal()):
                self.queue.put_nowait(item)

    @rule(batch=st.lists(items, max_size=6))
    def put_many(self, batch: list[Any]) -> None:
        accepted = [self.model_put(item) for item in batch]
        if all(accepted):
            self.queue.put_many(batch, timeout=0)
        else:
            with pytest.raises(self.refusal()):
                self.queue.put_many(batch, timeout=0)

    @rule()
    def get(self) -> None:
        if self.model_size():
            assert self.queue.get_nowait() == self.model_get()[1]
        else:
            with pytest.raises(self.emptiness()):
                self.queue.get_nowait()

    @rule(wanted=st.integers(1, 5))
    def get_many(self, wanted: int) -> None:
        if self.model_size():
            expected = [self.model_get()[1] for _ in range(min(wanted, self.model_size()))]
            assert self.queue.get_many(wanted) == expected
        else:
            with pytest.raises(self.emptiness()):
                self.queue.get_many(wanted, timeout=0)

    @rule()
    def lease(self) -> None:
        if self.model_size():
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
        if self.model.unfinished_tasks:  # somebody may have declared it done before
            self.model.task_done()

    @precondition(lambda self: self.leases)
    @rule(which=st.integers(0, 1000), forget=st.booleans())
    def give_back(self, which: int, forget: bool) -> None:
        lease, entry = self.leases.pop(which % len(self.leases))
        if not forget:
            lease.nack()
        del lease
        self.returned.append(entry)
        self.returned.sort(key=lambda entry: entry[0])

    @rule()
    def task_done(self) -> None:
        if self.model.unfinished_tasks:
            self.model.task_done()
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
        assert self.queue.qsize() == self.model_size()
        assert self.queue.empty() == (self.model_size() == 0)
        maxsize = self.model.maxsize
        assert self.queue.full() == (0 < maxsize <= self.model_size())
        figures = self.queue.statistics()
        assert figures.unfinished == self.model.unfinished_tasks
        assert self.queue.join(timeout=0) == (self.model.unfinished_tasks == 0)
        assert figures.leased == len(self.leases)
        assert figures.puts == self.count
        assert figures.is_shutdown == self.shut
        assert (figures.bytes == 0) == (self.model.qsize() == 0)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = unhurried(max_examples=50, stateful_step_count=50)
