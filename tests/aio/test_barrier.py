"""Barrier for tasks: parties of any kind meet, and one that gives up breaks it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

import treadle
from tests.aio.loops import (
    Loop,
    OtherLoop,
    current_task,
    gather,
    outcome,
    settle,
    spawn,
    steps,
    until,
)
from tests.sync.kinds import both_storages
from tests.sync.threads import OtherThread


@both_storages
def test_tasks_and_threads_of_any_kind_meet(
    shared: bool, other_loop: OtherLoop, other: OtherThread, loop: Loop
) -> None:
    async def main() -> None:
        barrier = treadle.Barrier(4, shared=shared)
        for _ in range(20):
            thread = other.start(barrier.wait)
            there = other_loop.start(barrier.aio.wait)
            here = await gather(barrier.aio.wait(), barrier.aio.wait())
            away = [await outcome(party) for party in (thread, there)]
            assert sorted([*here, *away]) == [0, 1, 2, 3]

    loop.run(main())


@both_storages
def test_the_last_to_come_acts(shared: bool, loop: Loop) -> None:
    async def main() -> None:
        acted: list[Any] = []
        barrier = treadle.Barrier(2, lambda: acted.append(current_task()), shared=shared)
        first = spawn(barrier.aio.wait())
        await settle()
        assert not acted
        async with barrier.aio as index:
            assert index == 1
        assert acted == [current_task()]
        assert await first == 0

    loop.run(main())


@both_storages
def test_a_cancelled_party_breaks_it_or_had_passed(shared: bool, loop: Loop) -> None:
    async def main(before: int, arrives: bool) -> None:
        barrier = treadle.Barrier(3, shared=shared)
        tasks = [spawn(barrier.aio.wait()) for _ in range(2)]
        await steps(before)
        last = spawn(barrier.aio.wait()) if arrives else None
        await steps(1)
        tasks[0].cancel()
        parties = [task for task in (*tasks, last) if task is not None]
        ends = await gather(*parties, return_exceptions=True)
        passed = [end for end in ends if isinstance(end, int)]
        if passed:  # the round was full: who was cancelled after that breaks nothing
            assert len(passed) >= 2
        elif before:
            assert isinstance(ends[0], asyncio.CancelledError)
            assert all(isinstance(end, treadle.BrokenBarrierError) for end in ends[1:])
            assert barrier.broken
        barrier.reset()
        assert sorted(await gather(*(barrier.aio.wait() for _ in range(3)))) == [0, 1, 2]

    for before in range(1, 6):
        for arrives in (True, False):
            loop.run(main(before, arrives))


@both_storages
def test_a_cancelled_party_breaks_it_for_a_thread(
    shared: bool, other: OtherThread, loop: Loop
) -> None:
    async def main() -> None:
        barrier = treadle.Barrier(3, shared=shared)
        thread = other.start(barrier.wait)
        party = spawn(barrier.aio.wait())
        await until(lambda: barrier.n_waiting == 2)
        party.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await party
        with pytest.raises(treadle.BrokenBarrierError):
            thread.result()

    loop.run(main())


@both_storages
def test_a_party_that_waits_too_long_breaks_it(shared: bool, loop: Loop) -> None:
    async def main() -> None:
        barrier = treadle.Barrier(2, shared=shared)
        with pytest.raises(treadle.BrokenBarrierError):
            await barrier.aio.wait(0.01)
        assert barrier.broken
        with pytest.raises(treadle.BrokenBarrierError):
            await barrier.aio.wait()

    loop.run(main())


@both_storages
@pytest.mark.parametrize("end", ["abort", "reset"])
def test_who_waits_is_told_of_the_end(
    shared: bool, end: str, other: OtherThread, loop: Loop
) -> None:
    async def main() -> None:
        barrier = treadle.Barrier(2, shared=shared)
        party = spawn(barrier.aio.wait())
        await settle()
        other.do(getattr(barrier, end))
        with pytest.raises(treadle.BrokenBarrierError):
            await party

    loop.run(main())


@both_storages
def test_an_action_that_raises_breaks_it(shared: bool, loop: Loop) -> None:
    async def main() -> None:
        barrier = treadle.Barrier(2, lambda: 1 / 0, shared=shared)
        ends = await gather(barrier.aio.wait(), barrier.aio.wait(), return_exceptions=True)
        assert {type(end) for end in ends} == {ZeroDivisionError, treadle.BrokenBarrierError}

    loop.run(main())
