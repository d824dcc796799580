"""Cancelling a task at every point at which it can be, in every order with what lets it through.

After each the books must balance: what was handed to the cancelled one reaches the next, nothing is
held, nothing was taken. The points are rounds of the loop: a wait has few, and the ranges go past
its end.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from tests.aio.kinds import TaskWait, every_wait
from tests.aio.loops import OtherLoop, settle, steps, until
from tests.sync.threads import OtherThread

_POINTS = 5


async def _let_through(
    wait: TaskWait, thing: Any, victim: asyncio.Task[Any], *others: asyncio.Task[Any]
) -> None:
    """What was handed to the victim, unless it used it, is the others'; they get all they wait for.

    ``wait.end`` has been called once.
    """
    with contextlib.suppress(asyncio.CancelledError):
        assert await victim is True
    ends = 1
    uses = 0 if victim.cancelled() else 1
    for other in others:
        uses += 1
        if wait.one_each and uses > ends:
            wait.end(thing)
            ends += 1
        assert await other is True
    if uses < ends and wait.one_each:
        assert await wait.use(thing) is True
    wait.settled(thing)


@every_wait
@pytest.mark.parametrize("end_first", [True, False], ids=["end-first", "cancel-first"])
def test_cancelled_at_any_step(wait: TaskWait, shared: bool, end_first: bool) -> None:
    """The victim waits at the head of the line, or in the midst of it."""

    async def main(before: int, between: int, place: int) -> None:
        thing = wait.make(shared)
        wait.hold(thing)
        tasks = [asyncio.create_task(wait.use(thing)) for _ in range(3)]
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
        await _let_through(wait, thing, victim, *tasks)

    for before in range(_POINTS):
        for between in range(_POINTS):
            for place in (0, 1):
                asyncio.run(main(before, between, place))


@every_wait
def test_cancelled_while_a_thread_lets_it_through(
    wait: TaskWait, shared: bool, other: OtherThread
) -> None:
    async def main(before: int) -> None:
        thing = wait.make(shared)
        other.do(wait.hold, thing)
        victim, heir = (asyncio.create_task(wait.use(thing)) for _ in range(2))
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
        asyncio.run(main(before))


@every_wait
def test_cancelled_while_the_heir_waits_in_another_loop(
    wait: TaskWait, shared: bool, other_loop: OtherLoop
) -> None:
    async def main(before: int, victim_first: bool) -> None:
        thing = wait.make(shared)
        wait.hold(thing)
        if victim_first:
            victim = asyncio.create_task(wait.use(thing))
            await settle()
        heir = asyncio.wrap_future(other_loop.spawn(wait.use(thing)))
        other_loop.do(settle)
        if not victim_first:
            victim = asyncio.create_task(wait.use(thing))
            await settle()
        wait.end(thing)
        await steps(before)
        victim.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await victim
        if wait.one_each and not victim.cancelled():
            wait.end(thing)
        assert await heir is True
        wait.settled(thing)

    for before in range(_POINTS):
        for victim_first in (True, False):
            asyncio.run(main(before, victim_first))


@every_wait
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, GeneratorExit])
def test_thrown_into_where_it_waits(
    wait: TaskWait, shared: bool, error: type[BaseException]
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
        asyncio.run(main(handed_before))
