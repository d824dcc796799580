"""Subclasses of asyncio's classes: methods that others of the class go through, and parts of it.

What is run over both modules is what treadle's and the standard library's have in common.
"""

from __future__ import annotations

import asyncio as stdlib
from typing import Any

import pytest

from tests.aio.loops import settle
from tests.dropins.subclasses import both, can_shut_down, kinds, run
from treadle import asyncio


def noting(module: Any, kind: str = "Queue") -> Any:
    class Noting(getattr(module, kind)):  # type: ignore[misc]
        def __init__(self, maxsize: int = 0) -> None:
            super().__init__(maxsize)
            self.notes: list[Any] = []

        def put_nowait(self, item: Any) -> None:
            super().put_nowait(item)
            self.notes.append(("put", item))

        def get_nowait(self) -> Any:
            item = super().get_nowait()
            self.notes.append(("got", item))
            return item

    return Noting


@both
@kinds
def test_put_and_get_go_through_put_nowait_and_get_nowait(module: Any, kind: str) -> None:
    async def main() -> None:
        jobs = noting(module, kind)(1)
        await jobs.put(1)
        putting = stdlib.create_task(jobs.put(2))
        await settle()
        assert jobs.notes == [("put", 1)]
        assert await jobs.get() == 1
        await putting
        assert await jobs.get() == 2
        getting = stdlib.create_task(jobs.get())
        await settle()
        jobs.put_nowait(3)
        assert await getting == 3
        assert jobs.notes == [(how, item) for item in (1, 2, 3) for how in ("put", "got")]

    run(main)


@both
def test_one_alone_may_be_overridden(module: Any) -> None:
    class Doubling(module.Queue):  # type: ignore[misc]
        def put_nowait(self, item: int) -> None:
            super().put_nowait(2 * item)

    class Halving(module.Queue):  # type: ignore[misc]
        async def put(self, item: int) -> None:
            await super().put(item)

        def get_nowait(self) -> int:
            return int(super().get_nowait() / 2)

    async def main() -> None:
        for jobs, got in ((Doubling(1), 2), (Halving(1), 0)):
            await jobs.put(1)
            assert await jobs.get() == got
            jobs.task_done()
            await jobs.join()

    run(main)


@both
def test_a_refusal_of_the_subclass_is_handed_on(module: Any) -> None:
    class Picky(module.Queue):  # type: ignore[misc]
        def put_nowait(self, item: Any) -> None:
            if item is None:
                raise stdlib.QueueFull
            super().put_nowait(item)

        def get_nowait(self) -> Any:
            if self.locked:
                raise stdlib.QueueEmpty
            return super().get_nowait()

        locked = True

    async def main() -> None:
        jobs = Picky()
        with pytest.raises(stdlib.QueueFull):
            await jobs.put(None)
        await jobs.put(1)
        with pytest.raises(stdlib.QueueEmpty):
            await jobs.get()
        jobs.locked = False
        assert await jobs.get() == 1

    run(main)


@both
def test_who_waits_in_turn_are_all_served(module: Any) -> None:
    async def main() -> None:
        jobs = noting(module)(2)
        puts = [stdlib.create_task(jobs.put(number)) for number in range(10)]
        await settle()
        puts[5].cancel()
        got = [await jobs.get() for _ in range(9)]
        assert got == [0, 1, 2, 3, 4, 6, 7, 8, 9]
        gets = [stdlib.create_task(jobs.get()) for _ in range(5)]
        await settle()
        gets[0].cancel()
        for number in range(4):
            await jobs.put(number)
        assert [await get for get in gets[1:]] == [0, 1, 2, 3]

    run(main)


def test_threads_put_and_get_beside_a_subclass_that_goes_its_way() -> None:
    async def main() -> None:
        jobs = noting(asyncio)(1)
        theirs = jobs.shared_with_threads
        consumer = stdlib.to_thread(lambda: [theirs.get() for _ in range(200)])
        consuming = stdlib.create_task(consumer)
        for number in range(200):
            await jobs.put(number)
        assert await consuming == list(range(200))
        producing = stdlib.create_task(
            stdlib.to_thread(lambda: [theirs.put(number) for number in range(200)])
        )
        assert [await jobs.get() for _ in range(200)] == list(range(200))
        await producing

    run(main)


@both
@can_shut_down
def test_a_shutdown_ends_those_who_wait(module: Any) -> None:
    async def main() -> None:
        jobs = noting(module)(1)
        getting = stdlib.create_task(jobs.get())
        await settle()
        jobs.shutdown()
        full = noting(module)(1)
        await full.put(1)
        putting = stdlib.create_task(full.put(2))
        await settle()
        full.shutdown()
        for waiting in (getting, putting):
            with pytest.raises(module.QueueShutDown):
                await waiting
        assert await full.get() == 1

    run(main)


@both
def test_notify_all_goes_through_notify(module: Any) -> None:
    class Noting(module.Condition):  # type: ignore[misc]
        noted: tuple[int, ...] = ()

        def notify(self, n: int = 1) -> None:
            self.noted += (n,)
            super().notify(n)

    async def main() -> None:
        condition = Noting()

        async def wait() -> bool:
            async with condition:
                return bool(await condition.wait())

        waits = [stdlib.create_task(wait()) for _ in range(3)]
        await settle()
        async with condition:
            condition.notify_all()
        assert await stdlib.gather(*waits) == [True, True, True]
        assert condition.noted == (3,)

    run(main)


@both
def test_the_end_of_async_with_calls_the_release_of_a_subclass(module: Any) -> None:
    class Noting(module.Semaphore):  # type: ignore[misc]
        released = 0

        def release(self) -> None:
            self.released += 1
            super().release()

    async def main() -> None:
        semaphore = Noting(1)
        async with semaphore:
            assert semaphore.locked()
        assert semaphore.released == 1

    run(main)


# ---- Parts


@both
@kinds
def test_a_subclass_finds_its_items_and_how_many_are_not_done(module: Any, kind: str) -> None:
    class Peekable(getattr(module, kind)):  # type: ignore[misc]
        def peek(self) -> Any:
            return self._queue[0]

        def drop(self) -> None:
            self._queue.clear()
            self._unfinished_tasks = 0

    async def main() -> None:
        jobs = Peekable()
        for number in (2, 1):
            await jobs.put(number)
        assert jobs.peek() == (1 if kind == "PriorityQueue" else 2)
        assert jobs._unfinished_tasks == 2
        jobs.drop()
        assert jobs.empty()
        assert jobs._unfinished_tasks == 0

    run(main)


@both
def test_a_semaphore_knows_its_value(module: Any) -> None:
    async def main() -> None:
        semaphore = module.Semaphore(2)
        async with semaphore:
            assert semaphore._value == 1

    run(main)


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        ("Queue", "_queue", "Instances of a subclass have one"),
        ("PriorityQueue", "_getters", "repr"),
        ("Queue", "_putters", "repr"),
        ("LifoQueue", "_finished", "_unfinished_tasks"),
        ("Lock", "_waiters", "repr"),
        ("BoundedSemaphore", "_waiters", "repr"),
    ],
)
def test_what_there_is_not_says_so(kind: str, name: str, hint: str) -> None:
    made = getattr(asyncio, kind)()
    with pytest.raises(AttributeError, match=rf"asyncio\.{kind} has no {name}: .*{hint}"):
        getattr(made, name)
    assert not hasattr(made, name)


def test_a_lock_of_asyncios_own_is_told_apart_by_its_module() -> None:
    lock: Any = stdlib.Lock()
    with pytest.raises(TypeError, match=r"treadle\.asyncio\.Lock .*, not asyncio\.locks\.Lock"):
        asyncio.Condition(lock)
