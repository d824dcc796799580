"""The hooks of asyncio.Queue that subclasses override: what they are for, given, and may do.

What is run over both modules is what treadle's and the standard library's have in common.
"""

from __future__ import annotations

import asyncio as stdlib
from typing import Any

import pytest

from tests.aio.loops import settle
from tests.dropins.subclasses import (
    both,
    kinds,
    latest_by_key,
    limited_bytes,
    own_heap,
    run,
    seen_queue,
    set_queue,
)
from treadle import asyncio


@both
def test_a_set_drops_what_is_in_it_already(module: Any) -> None:
    async def main() -> None:
        jobs = set_queue(module)(2)
        for job in "aab":
            await jobs.put(job)
        assert (jobs.qsize(), jobs.full(), jobs.empty()) == (2, True, False)
        with pytest.raises(stdlib.QueueFull):
            jobs.put_nowait("c")
        putting = stdlib.create_task(jobs.put("c"))
        await settle()
        assert not putting.done()
        got = {await jobs.get()}
        await putting
        got |= {jobs.get_nowait(), jobs.get_nowait()}
        assert got == {"a", "b", "c"}
        with pytest.raises(stdlib.QueueEmpty):
            jobs.get_nowait()
        assert jobs.empty()

    run(main)


@both
def test_a_duplicate_wakes_nobody_for_nothing(module: Any) -> None:
    async def main() -> None:
        jobs = seen_queue(module)()
        await jobs.put("a")
        assert await jobs.get() == "a"
        getting = stdlib.create_task(jobs.get())
        await settle()
        await jobs.put("a")
        await settle()
        assert not getting.done()
        await jobs.put("b")
        assert await getting == "b"

    run(main)


@both
def test_each_put_counts_for_join(module: Any) -> None:
    async def main() -> None:
        jobs = seen_queue(module)()
        for job in "aa":
            await jobs.put(job)
        joining = stdlib.create_task(jobs.join())
        jobs.task_done()
        await settle()
        assert not joining.done()
        jobs.task_done()
        await joining
        with pytest.raises(ValueError, match="called too many times"):
            jobs.task_done()

    run(main)


@both
def test_a_cache_gives_out_the_least_recently_put(module: Any) -> None:
    async def main() -> None:
        jobs = latest_by_key(module)(2)
        for item in [("a", 1), ("b", 2)]:
            await jobs.put(item)
        assert await jobs.get() == ("a", 1)
        await jobs.put(("b", 3))
        assert jobs.qsize() == 1
        assert jobs.get_nowait() == ("b", 3)

    run(main)


@both
def test_items_may_lie_under_another_name(module: Any) -> None:
    async def main() -> None:
        jobs = own_heap(module)(3)
        getting = stdlib.create_task(jobs.get())
        await settle()
        jobs.put_nowait(2)
        assert await getting == 2
        for job in (3, 1, 2):
            jobs.put_nowait(job)
        assert (jobs.qsize(), jobs.full(), jobs.empty()) == (3, True, False)
        assert [await jobs.get() for _ in range(3)] == [1, 2, 3]

    run(main)


@both
def test_without_a_bound_only_empty_need_know_where_the_items_lie(module: Any) -> None:
    class Least(module.Queue):  # type: ignore[misc]
        def _init(self, maxsize: int) -> None:
            self.mine: list[Any] = []

        def _put(self, item: Any) -> None:
            self.mine.append(item)

        def _get(self) -> Any:
            return self.mine.pop(0)

        def empty(self) -> bool:
            return not self.mine

    async def main() -> None:
        jobs = Least()
        getting = stdlib.create_task(jobs.get())
        await settle()
        await jobs.put(1)
        await jobs.put(2)
        assert [await getting, await jobs.get()] == [1, 2]
        with pytest.raises(stdlib.QueueEmpty):
            jobs.get_nowait()

    run(main)


@both
@pytest.mark.parametrize("maxsize", [0, 1, 9])
def test_full_may_be_a_matter_of_its_own(module: Any, maxsize: int) -> None:
    async def main() -> None:
        jobs = limited_bytes(module)(maxsize)
        await jobs.put(b"123456")
        await jobs.put(b"123456")
        with pytest.raises(stdlib.QueueFull):
            jobs.put_nowait(b"1")
        putting = stdlib.create_task(jobs.put(b"1"))
        await settle()
        assert not putting.done()
        assert await jobs.get() == b"123456"
        await putting
        assert jobs.qsize() == 2

    run(main)


@both
def test_a_size_of_its_own_is_what_the_bound_is_for(module: Any) -> None:
    class Weighed(module.Queue):  # type: ignore[misc]
        def qsize(self) -> int:
            return sum(self._queue)

    async def main() -> None:
        jobs = Weighed(10)
        for weight in (0, 6, 5):
            await jobs.put(weight)
        assert (jobs.qsize(), jobs.full()) == (11, True)
        assert await jobs.get() == 0
        with pytest.raises(stdlib.QueueFull):
            jobs.put_nowait(1)
        assert await jobs.get() == 6
        jobs.put_nowait(0)
        assert [await jobs.get(), await jobs.get()] == [5, 0]
        assert jobs.empty()

    run(main)


# ---- What the hooks are given, and when


@both
@kinds
@pytest.mark.parametrize("hook", ["_init", "_put", "_get", "qsize", "empty", "full"])
def test_any_hook_alone_goes_with_the_others_of_its_base(module: Any, kind: str, hook: str) -> None:
    base = getattr(module, kind)
    calls = []

    def spy(self: Any, *arguments: Any) -> Any:
        calls.append(hook)
        return getattr(base, hook)(self, *arguments)

    async def main() -> None:
        jobs = type("Spied", (base,), {hook: spy})(3)
        for item in (2, 3, 1):
            await jobs.put(item)
        putting = stdlib.create_task(jobs.put(0))
        await settle()
        assert (jobs.qsize(), jobs.full(), jobs.empty()) == (3, True, False)
        expected = {"Queue": [2, 3, 1, 0], "LifoQueue": [1, 0, 3, 2], "PriorityQueue": [1, 0, 2, 3]}
        got = [await jobs.get()]
        await putting
        got += [jobs.get_nowait() for _ in range(3)]
        assert got == expected[kind]
        assert hook in calls

    run(main)


@both
@pytest.mark.parametrize("maxsize", [0, 3, -1])
def test_init_gets_the_maxsize_as_it_was_given_and_may_use_the_queue(
    module: Any, maxsize: int
) -> None:
    class Told(module.Queue):  # type: ignore[misc]
        def _init(self, maxsize: int) -> None:
            super()._init(maxsize)
            self.told = (maxsize, self.maxsize, self.qsize(), self.empty(), self.full())
            self._put("there from the start")

    async def main() -> None:
        jobs = Told(maxsize)
        assert jobs.told == (maxsize, maxsize, 0, True, False)
        assert jobs.qsize() == 1
        assert await jobs.get() == "there from the start"

    run(main)


@both
def test_a_hook_of_a_mixin_and_of_a_grandparent_count(module: Any) -> None:
    class Doubling:
        def _put(self, item: int) -> None:
            super()._put(item * 2)  # type: ignore[misc]

    class Jobs(Doubling, module.PriorityQueue):  # type: ignore[misc]
        pass

    class Later(Jobs):
        pass

    async def main() -> None:
        jobs = Later()
        for job in (3, 1):
            await jobs.put(job)
        assert [await jobs.get(), await jobs.get()] == [2, 6]

    run(main)


@both
def test_what_changes_by_itself_is_seen_by_the_next_call(module: Any) -> None:
    class Plain(module.Queue):  # type: ignore[misc]
        def _put(self, item: Any) -> None:
            super()._put(item)

    async def main() -> None:
        jobs = Plain(1)
        await jobs.put(1)
        jobs._queue.clear()
        assert jobs.empty()
        with pytest.raises(stdlib.QueueEmpty):
            jobs.get_nowait()
        jobs._queue.append(2)
        with pytest.raises(stdlib.QueueFull):
            jobs.put_nowait(3)
        assert await jobs.get() == 2

    run(main)


@both
@pytest.mark.parametrize("hook", ["_put", "_get"])
def test_a_hook_that_raises_counts_nothing(module: Any, hook: str) -> None:
    failing: list[str] = []

    class Failing(module.Queue):  # type: ignore[misc]
        def _put(self, item: Any) -> None:
            if "_put" in failing:
                raise LookupError
            super()._put(item)

        def _get(self) -> Any:
            if "_get" in failing:
                raise LookupError
            return super()._get()

    async def main() -> None:
        jobs = Failing(2)
        await jobs.put(1)
        failing.append(hook)
        for _ in range(2):
            with pytest.raises(LookupError):
                await (jobs.put(2) if hook == "_put" else jobs.get())
            with pytest.raises(LookupError):
                jobs.put_nowait(2) if hook == "_put" else jobs.get_nowait()
        failing.clear()
        assert await jobs.get() == 1
        jobs.task_done()
        await jobs.join()

    run(main)


def test_a_hook_that_uses_the_queue_is_told_so() -> None:
    class Curious(asyncio.Queue[Any]):
        def _put(self, item: Any) -> None:
            self.put_nowait(item)

    async def main() -> None:
        jobs = Curious()
        with pytest.raises(RuntimeError, match="used by the very code"):
            await jobs.put(1)
        assert jobs.empty()

    run(main)
