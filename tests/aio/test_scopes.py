"""What cancels a block and not a task: scopes, time limits and groups, of every library.

Whatever ends the wait, what it had been notified of is passed on, and nothing is held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

import treadle
from tests.aio.kinds import TaskWait, every_wait
from tests.aio.loops import Loop, loop_named, settle, spawn, spawn_in_turn, steps
from tests.sync.kinds import both_storages

CUT = "cut"  # what a block gives that was cancelled


class Knife:
    """Cancels the block that it was handed to."""

    def __init__(self) -> None:
        self.cut: Callable[[], object]


@dataclass(frozen=True)
class Scope:
    """``within(knife, awaitable)`` awaits it in a block that the knife cancels."""

    name: str
    loops: tuple[str, ...]
    within: Callable[[Knife, Awaitable[Any]], Awaitable[None]]

    async def run(self, knife: Knife, awaitable: Awaitable[Any]) -> Any:
        """What the awaitable gives, or CUT: a block may fail even though that came too late."""
        given: list[Any] = []

        async def take() -> None:
            given.append(await awaitable)

        await self.within(knife, take())
        return given[0] if given else CUT


class _Cut(Exception):
    pass


async def _within_timeout(knife: Knife, awaitable: Awaitable[Any]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(None) as scope:
            knife.cut = partial(_expire, scope)
            await awaitable


def _expire(scope: asyncio.Timeout) -> None:
    with suppress(RuntimeError):  # it is over
        scope.reschedule(asyncio.get_running_loop().time())


async def _within_task_group(knife: Knife, awaitable: Awaitable[Any]) -> None:
    """Another task of the group fails."""
    go = asyncio.Event()
    knife.cut = go.set

    async def fail() -> None:
        await go.wait()
        raise _Cut

    try:
        async with asyncio.TaskGroup() as group:
            failing = group.create_task(fail())
            await awaitable
            failing.cancel()
    except* _Cut:
        pass


async def _within_anyio_scope(knife: Knife, awaitable: Awaitable[Any]) -> None:
    import anyio

    with anyio.CancelScope() as scope:
        knife.cut = scope.cancel
        await awaitable


async def _within_anyio_limit(knife: Knife, awaitable: Awaitable[Any]) -> None:
    import anyio

    with anyio.move_on_after(None) as scope:
        knife.cut = lambda: setattr(scope, "deadline", anyio.current_time())
        await awaitable


async def _within_trio_limit(knife: Knife, awaitable: Awaitable[Any]) -> None:
    import trio

    with trio.move_on_after(3600) as scope:
        knife.cut = lambda: setattr(scope, "deadline", trio.current_time())
        await awaitable


async def _within_nursery(knife: Knife, awaitable: Awaitable[Any]) -> None:
    """Another task of the nursery fails."""
    import trio

    go = trio.Event()
    knife.cut = go.set

    async def fail() -> None:
        await go.wait()
        raise _Cut

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            await awaitable
            nursery.cancel_scope.cancel()
    except* _Cut:
        pass


SCOPES = [
    Scope("asyncio.timeout", ("asyncio", "uvloop"), _within_timeout),
    Scope("asyncio.TaskGroup", ("asyncio", "uvloop"), _within_task_group),
    Scope("anyio.CancelScope", ("asyncio", "uvloop", "trio"), _within_anyio_scope),
    Scope("anyio.move_on_after", ("asyncio", "trio"), _within_anyio_limit),
    Scope("trio.move_on_after", ("trio",), _within_trio_limit),
    Scope("trio.Nursery", ("trio",), _within_nursery),
]

every_scope = pytest.mark.parametrize(
    ("scope", "loop"),
    [
        pytest.param(scope, name, id=f"{scope.name}-{name}")
        for scope in SCOPES
        for name in scope.loops
    ],
    indirect=["loop"],
)


@pytest.fixture
def loop(request: pytest.FixtureRequest) -> Loop:
    return loop_named(request.param)


@pytest.fixture(autouse=True)
def _has_its_library(scope: Scope) -> None:
    pytest.importorskip(scope.name.partition(".")[0])


@every_scope
@every_wait
def test_a_wait_that_is_cut_passes_on(
    wait: TaskWait, shared: bool, scope: Scope, loop: Loop
) -> None:
    async def main(before: int, end_first: bool) -> None:
        thing, knife = wait.make(shared), Knife()
        wait.hold(thing)
        victim, heir = await spawn_in_turn(scope.run(knife, wait.use(thing)), wait.use(thing))
        await settle()
        if end_first:
            wait.end(thing)
            await steps(before)
            knife.cut()
        else:
            knife.cut()
            await steps(before)
            wait.end(thing)
        end = await victim
        assert end in (True, CUT)
        await wait.all_through(thing, [heir], used=int(end is True))

    for before in range(5):
        for end_first in (True, False):
            loop.run(main(before, end_first))


@every_scope
@every_wait
def test_a_wait_that_is_cut_alone_leaves_nothing(
    wait: TaskWait, shared: bool, scope: Scope, loop: Loop
) -> None:
    async def main() -> None:
        thing, knife = wait.make(shared), Knife()
        wait.hold(thing)
        victim = spawn(scope.run(knife, wait.use(thing)))
        await settle()
        knife.cut()
        assert await victim is CUT
        wait.end(thing)
        assert await wait.use(thing) is True
        wait.settled(thing)

    loop.run(main())


@both_storages
@every_scope
@pytest.mark.parametrize("of", [treadle.Lock, treadle.RLock])
def test_a_condition_that_is_cut_has_its_lock_back(
    shared: bool, scope: Scope, loop: Loop, of: Any
) -> None:
    """Somebody holds the lock for as long as that takes."""

    async def main(notified: bool) -> None:
        condition, knife = treadle.Condition(of(shared=shared), shared=shared), Knife()
        held: list[bool] = []

        async def wait() -> bool:
            async with condition.aio:
                try:
                    return await condition.aio.wait()
                finally:
                    held.append(condition.aio._lock._is_owned())

        victim = spawn(scope.run(knife, wait()))
        await settle()
        with condition:
            if notified:
                condition.notify()
            knife.cut()
            await settle()
            assert not victim.done()
            assert not held
        end = await victim
        assert end is CUT or (notified and end is True)
        assert held == [True]
        assert condition.acquire(False)
        assert condition.statistics().waiting == 0
        condition.release()

    for notified in (True, False):
        loop.run(main(notified))
