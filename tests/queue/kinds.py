"""The kinds of queues: what does not speak of order is shown of all of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import treadle
from treadle import queue as dropin

KINDS = [treadle.Queue, treadle.PriorityQueue, treadle.LifoQueue]

every_kind = pytest.mark.parametrize("queue", KINDS, indirect=True)
# The items are put in ascending order, so that a priority queue gives them out as they came.
ascending = pytest.mark.parametrize("queue", KINDS[:2], indirect=True)


class Hooked(dropin.Queue):
    """Keeps its items itself."""

    def _put(self, item: Any) -> None:
        super()._put(item)


# Those that pass references, between the threads of one process: what makes one, with its maxsize.
PRIVATE: dict[str, Callable[..., Any]] = {
    "Queue": partial(treadle.Queue, shared=False),
    "PriorityQueue": partial(treadle.PriorityQueue, shared=False),
    "LifoQueue": partial(treadle.LifoQueue, shared=False),
    "queue.Queue": dropin.Queue,
    "queue.PriorityQueue": dropin.PriorityQueue,
    "queue.LifoQueue": dropin.LifoQueue,
    "queue.Queue with hooks": Hooked,
}
UNBOUNDED = {
    "SimpleQueue": partial(treadle.SimpleQueue, shared=False),
    "queue.SimpleQueue": dropin.SimpleQueue,
}

every_private_kind = pytest.mark.parametrize("make", PRIVATE.values(), ids=PRIVATE)
every_private_and_simple_kind = pytest.mark.parametrize(
    "make", [*PRIVATE.values(), *UNBOUNDED.values()], ids=[*PRIVATE, *UNBOUNDED]
)
every_kind_of_both_storages = pytest.mark.parametrize(
    "queue",
    [*KINDS, *PRIVATE.values(), *UNBOUNDED.values()],
    ids=[*(f"shared {kind.__name__}" for kind in KINDS), *PRIVATE, *UNBOUNDED],
    indirect=True,
)
