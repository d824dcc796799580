"""Cancelling a task at every point at which it can be, in every order with what lets it through.

After each the books must balance: what was handed to the cancelled one reaches the next, nothing is
held, nothing was taken. The points are rounds of the loop: a wait has few, and the ranges go past
its end.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.aio.kinds import TaskWait, every_wait
from tests.aio.loops import Loop, OtherLoop, outcome, settle, spawn, steps, until
from tests.sync.threads import OtherThread

_POINTS = 5


@every_wait
@pytest.mark.parametrize("end_first", [True, False], ids=["end-first", "cancel-first"])
def test_cancelled_at_any_step(wait: TaskWait, shared: bool, end_first: bool, loop: Loop) -> None:
    """The victim waits at the head of the line, or in the midst of it."""

    async def main(before: int, between: int, place: int) -> None:
        thing = wait.make(shared)
        wait.hold(thing)
        tasks = [spawn(wait.use(thing)) for _ in range(3)]
        victim = tasks.pop(place)
        await steps(before)
        if end_first:
            wait.end(thing)
            await steps(between)
            victim.cancel()
        else:
            victim.cancel()
            await steps(between)
            wait.end(thing)
        with contextlib.suppress(asyncio.CancelledError):
            assert await victim is True
        await wait.all_through(thing, tasks, used=0 if victim.cancelled() else 1)

    for before in range(_POINTS):
        for between in range(_POINTS):
            for place in (0, 1):
                loop.run(main(before, between, place))


@every_wait
def test_cancelled_while_a_thread_lets_it_through(
    wait: TaskWait, shared: bool, other: OtherThread, loop: Loop
) -> None:
    async def main(before: int) -> None:
        thing = wait.make(shared)
        other.do(wait.hold, thing)
        victim, heir = (spawn(wait.use(thing)) for _ in range(2))
        await settle()
        ended = other.start(wait.end, thing)
        await steps(before)
        victim.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await victim
        if wait.one_each and not victim.cancelled():
            wait.end(thing)
        assert await heir is True
        ended.result()
        wait.settled(thing)

    for before in range(_POINTS * 2):
        loop.run(main(before))


@every_wait
def test_cancelled_while_the_heir_waits_in_another_loop(
    wait: TaskWait, shared: bool, other_loop: OtherLoop, loop: Loop
) -> None:
    async def main(before: int, victim_first: bool) -> None:
        thing = wait.make(shared)
        wait.hold(thing)
        if victim_first:
            victim = spawn(wait.use(thing))
            await settle()
        heir = other_loop.spawn(wait.use(thing))
        other_loop.settle()
        if not victim_first:
            victim = spawn(wait.use(thing))
            await settle()
        wait.end(thing)
        await steps(before)
        victim.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await victim
        if wait.one_each and not victim.cancelled():
            wait.end(thing)
        assert await outcome(heir) is True
        wait.settled(thing)

    for before in (0, 1, 3):
        for victim_first in (True, False):
            loop.run(main(before, victim_first))


@every_wait
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, GeneratorExit])
def test_thrown_into_where_it_waits(
    wait: TaskWait, shared: bool, error: type[BaseException], closable_loop: Loop
) -> None:
    """Driven by hand; what it waits for comes before it is thrown into, or after that."""

    async def main(handed_before: bool) -> None:
        thing = wait.make(shared)
        wait.hold(thing)
        driver = wait.use(thing).__await__()
        future = driver.send(None)
        if handed_before:
            wait.end(thing)
            await until(future.done)
        with pytest.raises(error):
            driver.throw(error())
        if not handed_before:
            wait.end(thing)
        assert await wait.use(thing) is True
        wait.settled(thing)

    for handed_before in (True, False):
        closable_loop.run(main(handed_before))
