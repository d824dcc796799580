"""Subclasses of asyncio.Queue that keep the items themselves, as programs have them: made of any
module that has asyncio's queues."""

from __future__ import annotations

import asyncio as stdlib
import heapq
import sys
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from treadle import asyncio

both = pytest.mark.parametrize("module", [stdlib, asyncio], ids=["stdlib", "treadle"])
kinds = pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])
can_shut_down = pytest.mark.skipif(
    sys.version_info < (3, 13), reason="asyncio.Queue has shutdown() from Python 3.13 on"
)


def run(main: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any) -> Any:
    return stdlib.run(main(*arguments))


def set_queue(module: Any) -> Any:
    """Drops what is in it already."""

    class SetQueue(module.Queue):  # type: ignore[misc]
        def _init(self, maxsize: int) -> None:
            self._queue: set[Any] = set()

        def _put(self, item: Any) -> None:
            self._queue.add(item)

        def _get(self) -> Any:
            return self._queue.pop()

    return SetQueue


def seen_queue(module: Any) -> Any:
    """Drops what it has ever seen; the base keeps the rest."""

    class SeenQueue(module.Queue):  # type: ignore[misc]
        def _init(self, maxsize: int) -> None:
            super()._init(maxsize)
            self.seen: set[Any] = set()

        def _put(self, item: Any) -> None:
            if item not in self.seen:
                self.seen.add(item)
                super()._put(item)

    return SeenQueue


def latest_by_key(module: Any) -> Any:
    """Least recently put first; a second put of a key replaces the value."""

    class LatestByKey(module.Queue):  # type: ignore[misc]
        def _init(self, maxsize: int) -> None:
            self._queue: OrderedDict[Any, Any] = OrderedDict()

        def _put(self, item: Any) -> None:
            self._queue[item[0]] = item
            self._queue.move_to_end(item[0])

        def _get(self) -> Any:
            return self._queue.popitem(last=False)[1]

    return LatestByKey


def own_heap(module: Any) -> Any:
    """Items under a name of its own, as many programs have it, with what that takes."""

    class OwnHeap(module.Queue):  # type: ignore[misc]
        def _init(self, maxsize: int) -> None:
            self.heap: list[Any] = []

        def _put(self, item: Any) -> None:
            heapq.heappush(self.heap, item)

        def _get(self) -> Any:
            return heapq.heappop(self.heap)

        def qsize(self) -> int:
            return len(self.heap)

        def empty(self) -> bool:
            return not self.heap

    return OwnHeap


def limited_bytes(module: Any) -> Any:
    """Full by the bytes that are in it, whatever maxsize says."""

    class LimitedBytes(module.Queue):  # type: ignore[misc]
        def full(self) -> bool:
            return sum(map(len, self._queue)) >= 10

    return LimitedBytes
