"""Subclasses of treadle.asyncio's queues that keep the items themselves, as asyncio's may."""

from __future__ import annotations

import collections
import gc
import threading
import weakref
from typing import Any

import pytest

from treadle import asyncio


class Unique(asyncio.Queue[Any]):
    """Each item once, however often it is put."""

    def _init(self, maxsize: int) -> None:
        self._queue = dict[Any, None]()

    def _put(self, item: Any) -> None:
        self._queue[item] = None

    def _get(self) -> Any:
        return self._queue.pop(next(iter(self._queue))) or "gone"


class Latest(asyncio.Queue[Any]):
    """Overrides one hook; the others are the base's."""

    def _get(self) -> Any:
        return self._queue.pop()


class LastOfEach(asyncio.Queue[Any]):
    """Replaces what waits under the same key, and asks the queue for its size on the way."""

    def _init(self, maxsize: int) -> None:
        self.limit = maxsize
        self._queue = collections.OrderedDict[Any, Any]()
        self.sizes: list[int] = []

    def _put(self, item: Any) -> None:
        self.sizes.append(self.qsize())
        key, value = item
        self._queue[key] = value

    def _get(self) -> Any:
        return self._queue.popitem(last=False)


class Greatest(asyncio.PriorityQueue[Any]):
    """A heap upside down, over what the base class keeps."""

    def _put(self, item: int) -> None:
        super()._put(-item)

    def _get(self) -> int:
        return -super()._get()  # type: ignore[no-any-return]


class Newest(asyncio.LifoQueue[Any]):
    def _put(self, item: Any) -> None:
        super()._put((item, len(self._queue)))


async def _through(queue: asyncio.Queue[Any], *items: Any) -> list[Any]:
    for item in items:
        await queue.put(item)
    return [await queue.get() for _ in range(queue.qsize())]


@pytest.mark.parametrize(
    ("of", "items", "got"),
    [
        (Latest, [1, 2, 3], [3, 2, 1]),
        (Greatest, [2, 3, 1], [3, 2, 1]),
        (Newest, "ab", [("b", 1), ("a", 0)]),
        (LastOfEach, [("a", 1), ("b", 2), ("a", 3)], [("a", 3), ("b", 2)]),
        (Unique, [1, 1, 2, 1], ["gone", "gone"]),
    ],
    ids=lambda case: case.__name__ if isinstance(case, type) else "",
)
def test_a_subclass_keeps_the_items_as_it_likes(of: Any, items: Any, got: Any) -> None:
    assert asyncio.run(_through(of(), *items)) == got


def test_init_is_told_the_maxsize_as_given() -> None:
    assert LastOfEach(7).limit == 7
    assert LastOfEach(-1).limit == -1
    assert LastOfEach(7).maxsize == 7


def test_a_hook_may_ask_for_the_size() -> None:
    async def main() -> None:
        queue = LastOfEach()
        await _through(queue, ("a", 1), ("b", 2))
        assert queue.sizes == [0, 1]

    asyncio.run(main())


def test_it_is_bounded_by_what_the_subclass_says_it_holds() -> None:
    async def main() -> None:
        queue = Unique(2)
        queue.put_nowait("a")
        queue.put_nowait("a")
        queue.put_nowait("b")
        assert queue.full()
        with pytest.raises(asyncio.QueueFull):
            queue.put_nowait("c")
        putting = asyncio.create_task(queue.put("c"))
        await asyncio.sleep(0)
        assert not putting.done()
        queue.get_nowait()
        await putting
        assert sorted(queue._queue) == ["b", "c"]

    asyncio.run(main())


@pytest.mark.parametrize("of", [Latest, Greatest])
def test_a_waiting_task_is_told_also_from_a_thread(of: Any) -> None:
    async def main() -> None:
        queue = of()
        getting = [asyncio.create_task(queue.get()) for _ in range(3)]
        await asyncio.sleep(0)
        thread = threading.Thread(target=queue.shared_with_threads.put_many, args=([1, 2, 3],))
        thread.start()
        assert sorted(await asyncio.gather(*getting)) == [1, 2, 3]
        thread.join()

    asyncio.run(main())


def test_a_hook_that_raises_leaves_the_queue_usable() -> None:
    class Choosy(asyncio.Queue[Any]):
        def _put(self, item: Any) -> None:
            if item is None:
                raise ValueError("not None")
            super()._put(item)

    async def main() -> None:
        queue = Choosy(1)
        with pytest.raises(ValueError, match="not None"):
            await queue.put(None)
        assert queue.empty()
        await queue.put(1)
        assert await queue.get() == 1

    asyncio.run(main())


def test_cancelled_while_it_waits_it_has_not_put() -> None:
    async def main() -> None:
        queue = Latest(1)
        await queue.put(1)
        putting = asyncio.create_task(queue.put(2))
        await asyncio.sleep(0)
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        assert list(queue._queue) == [1]

    asyncio.run(main())


def test_a_subclass_that_overrides_none_of_them_stays_native() -> None:
    class Named(asyncio.Queue[Any]):
        name = "mine"

        def __init__(self) -> None:
            super().__init__(3)
            self.seen: list[Any] = []

        async def get(self) -> Any:
            item = await super().get()
            self.seen.append(item)
            return item

    async def main() -> None:
        queue = Named()
        assert await _through(queue, 1, 2) == [1, 2]
        assert queue.seen == [1, 2]
        assert not hasattr(queue, "_queue")

    asyncio.run(main())


def test_a_queue_with_hooks_is_collected() -> None:
    async def main() -> weakref.ref[Any]:
        queue = Latest()
        queue.put_nowait(queue)
        return weakref.ref(queue)

    gone = asyncio.run(main())
    gc.collect()
    assert gone() is None
