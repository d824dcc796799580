"""Whose lock it is, where the coroutine of a call runs in another task than the one that called.

``asyncio.wait_for`` gives it a task of its own before Python 3.12; ``create_task`` always does.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import pytest

import treadle
from tests.aio.loops import Loop, new_event, settle, spawn
from tests.sync.kinds import both_storages

Call = Callable[[Any], Any]


async def _in_a_task(awaitable: Awaitable[Any]) -> Any:
    async def run() -> Any:
        return await awaitable

    return await spawn(run())


async def _in_wait_for(awaitable: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(awaitable, 60)


@both_storages
@pytest.mark.parametrize(
    ("make", "acquire", "release"),
    [
        pytest.param(
            treadle.RLock, lambda it: it.aio.acquire(), lambda it: it.aio.release(), id="RLock"
        ),
        pytest.param(
            treadle.Condition,
            lambda it: it.aio.acquire(),
            lambda it: it.aio.release(),
            id="Condition",
        ),
        pytest.param(
            treadle.RWLock,
            lambda it: it.aio.acquire_read(),
            lambda it: it.aio.release_read(),
            id="RWLock-read",
        ),
        pytest.param(
            treadle.RWLock,
            lambda it: it.aio.acquire_write(),
            lambda it: it.aio.release_write(),
            id="RWLock-write",
        ),
    ],
)
def test_who_calls_acquire_owns_it(
    make: Callable[..., Any], acquire: Call, release: Call, shared: bool, loop: Loop
) -> None:
    async def main() -> None:
        lock = make(shared=shared)
        for run in (_in_a_task,) if loop.name == "trio" else (_in_a_task, _in_wait_for):
            assert await run(acquire(lock)) is True
            assert lock.locked()
            release(lock)
            assert not lock.locked()

    loop.run(main())


def test_a_coroutine_that_no_task_has_called_is_for_the_one_that_runs_it(loop: Loop) -> None:
    lock = treadle.RLock()
    acquiring = lock.aio.acquire()

    async def main() -> None:
        assert await acquiring is True
        lock.aio.release()

    loop.run(main())


@both_storages
@pytest.mark.parametrize("of", [treadle.Lock, treadle.RLock])
@pytest.mark.parametrize("predicate", [None, bool], ids=["wait", "wait_for"])
def test_a_wait_for_that_is_over_leaves_the_lock_with_the_caller(
    of: Callable[..., Any], predicate: Any, shared: bool
) -> None:
    async def main() -> None:
        condition = treadle.Condition(of(shared=shared), shared=shared)
        view = condition.aio
        async with view:
            with pytest.raises(TimeoutError):
                wait = view.wait() if predicate is None else view.wait_for(predicate)
                await asyncio.wait_for(wait, 0.01)
            view.notify()  # for which it has to be held
            assert not condition.acquire(False)
        assert not condition.locked()
        assert condition.statistics().waiting == 0

    asyncio.run(main())


@both_storages
@pytest.mark.parametrize("of", [treadle.Lock, treadle.RLock])
def test_a_notification_reaches_a_wait_that_another_task_runs(
    of: Callable[..., Any], shared: bool, loop: Loop
) -> None:
    async def main() -> None:
        condition, waiting = treadle.Condition(of(shared=shared), shared=shared), new_event()

        async def wait() -> None:
            async with condition.aio:
                waiting.set()
                assert await _in_a_task(condition.aio.wait()) is True
                assert not condition.acquire(False)

        waiter = spawn(wait())
        await waiting.wait()
        await settle()
        async with condition.aio:
            condition.aio.notify()
        await waiter
        assert not condition.locked()

    loop.run(main())


def test_who_does_not_hold_the_lock_may_not_wait_in_whatever_task(loop: Loop) -> None:
    async def main() -> None:
        condition = treadle.Condition()
        view = condition.aio

        async def hold_and_wait(waiting: Awaitable[Any]) -> None:
            async with view:
                with pytest.raises(RuntimeError, match="cannot wait on un-acquired lock"):
                    await waiting

        await spawn(hold_and_wait(view.wait()))

    loop.run(main())


def test_they_count_as_coroutine_functions() -> None:
    """For those who ask before they call."""
    condition, lock, rwlock = treadle.Condition().aio, treadle.RLock().aio, treadle.RWLock().aio
    methods = [condition.acquire, condition.wait, condition.wait_for, lock.acquire]
    for method in [*methods, rwlock.acquire_read, rwlock.acquire_write]:
        assert asyncio.iscoroutinefunction(method)
        with closing(method(*[bool] * (method == condition.wait_for))) as made:
            assert inspect.iscoroutine(made)
