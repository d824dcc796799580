"""``Pool.aio``: the pool for tasks of event loops, whichever library's."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import treadle
from tests.aio.loops import (
    Loop,
    cancellation,
    gather,
    installed,
    native_threads,
    settle,
    spawn,
)
from tests.pool import tasks
from tests.pool.kinds import new_pool, over

pytestmark = [
    pytest.mark.slow,
    over("thread", "fork"),
    pytest.mark.parametrize("loop", installed(), ids=str),
]

Main = Callable[[], Coroutine[Any, Any, Any]]


def test_a_task_awaits_a_call(pool: treadle.Pool, loop: Loop) -> None:
    async def main() -> None:
        aio = pool.aio
        assert isinstance(aio, treadle.PoolView)
        assert await aio.apply(divmod, (7, 2)) == (3, 1)
        assert await aio.apply(int, ("ff",), {"base": 16}) == 255
        assert await aio.map(tasks.square, range(100)) == [x * x for x in range(100)]
        assert await aio.starmap(pow, [(2, 3), (3, 2)], 1) == [8, 9]
        with pytest.raises(LookupError, match="no"):
            await aio.apply(tasks.fail, ("no",))
        with pytest.raises(ValueError, match="-1 is negative"):
            await aio.map(tasks.positive_square, [1, -1])

    loop.run(main())


def test_a_task_iterates_over_results(pool: treadle.Pool, loop: Loop) -> None:
    async def main() -> None:
        squares = [x * x for x in range(200)]
        assert [each async for each in pool.aio.imap(tasks.square, range(200))] == squares
        unordered = pool.aio.imap_unordered(tasks.square, range(200), 7)
        assert sorted([each async for each in unordered]) == squares
        assert [each async for each in pool.aio.imap(abs, [])] == []
        with pytest.raises(ValueError, match="-1 is negative"):
            async for _ in pool.aio.imap(tasks.positive_square, [-1]):
                pass

    loop.run(main())


def test_an_iterator_of_tasks_stays_at_its_end(pool: treadle.Pool, loop: Loop) -> None:
    async def main() -> None:
        results = pool.aio.imap(abs, [-1])
        assert await anext(results) == 1
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await anext(results)

    loop.run(main())


def test_an_endless_input_and_its_end(pool: treadle.Pool, loop: Loop) -> None:
    async def main() -> None:
        numbers = itertools.count()
        results = pool.aio.imap(tasks.square, numbers, buffersize=4)
        async with contextlib.aclosing(results):
            assert [await anext(results) for _ in range(50)] == [x * x for x in range(50)]
        with pytest.raises(StopAsyncIteration):
            await anext(results)
        assert next(numbers) <= 55

    loop.run(main())


def test_many_tasks_and_no_thread_for_any(pool: treadle.Pool, loop: Loop) -> None:
    async def main() -> None:
        await pool.aio.apply(int)  # the reactor has begun
        before = native_threads()
        go = treadle.Event()
        waiting = [spawn(pool.aio.apply(tasks.wait_for, (go, x))) for x in range(50)]
        await settle()
        # Threads of earlier tests may come to their end meanwhile, or begin: timers, say.
        assert native_threads() < before + len(waiting) // 10
        go.set()
        assert await gather(*waiting) == list(range(50))

    loop.run(main())


def test_policies_are_those_of_the_call(pool: treadle.Pool, loop: Loop) -> None:
    async def main() -> None:
        with pytest.raises(treadle.TaskTimeoutError):
            await pool.aio.apply(tasks.begin_and_stay, (treadle.Event(),), timeout=0.02)
        attempts: treadle.Queue[float] = treadle.Queue()
        assert await pool.aio.apply(tasks.fail_until, (attempts, 2), retries=1) == 2

    loop.run(main())


@pytest.mark.parametrize("method", ["apply", "map"])
def test_a_task_that_is_cancelled_stops_its_call(
    pool: treadle.Pool, loop: Loop, method: str
) -> None:
    async def main() -> None:
        began = treadle.Event()
        if method == "apply":
            waiting = spawn(pool.aio.apply(tasks.begin_and_stay, (began,)))
        else:
            waiting = spawn(pool.aio.map(tasks.begin_and_stay, [began]))
        await began.aio.wait()
        waiting.cancel()
        with pytest.raises((asyncio.CancelledError, cancellation())):
            await waiting
        barrier = treadle.Barrier(2)
        assert sorted(await pool.aio.map(lambda _: barrier.wait(), range(2), 1)) == [0, 1]

    loop.run(main())


def test_a_cancelled_wait_for_a_result_loses_none(pool: treadle.Pool, loop: Loop) -> None:
    async def main() -> None:
        go = treadle.Event()
        results = pool.aio.imap(tasks.wait_for, [go])
        waiting = spawn(anext(results))
        await settle()
        waiting.cancel()
        with pytest.raises((asyncio.CancelledError, cancellation())):
            await waiting
        go.set()
        assert await anext(results) is None

    loop.run(main())


def test_a_task_awaits_the_end_of_a_pool(pool: treadle.Pool, loop: Loop) -> None:
    async def main() -> None:
        mine = new_pool("thread")
        with pytest.raises(ValueError, match="Pool is still running"):
            await mine.aio.join()
        result = mine.apply_async(tasks.square, (3,))
        mine.close()
        await mine.aio.join()
        assert result.get() == 9

    loop.run(main())
