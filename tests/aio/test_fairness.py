"""Threads and tasks that wait for the same take turns: neither kind starves."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Any

import pytest

import treadle
from tests.sync.kinds import both_storages
from tests.sync.threads import OtherThread

_ROUNDS = 400


@both_storages
@pytest.mark.slow
@pytest.mark.xfail(
    strict=False,
    reason="the wakes take turns, but a thread that spins may pass a task that is being woken",
)
@pytest.mark.parametrize("of", [treadle.Semaphore, treadle.Queue, treadle.LifoQueue])
def test_a_thread_and_a_task_both_get_a_share(shared: bool, of: Any, other: OtherThread) -> None:
    """One of each waits whenever something is handed out."""
    thing = of(0, shared=shared)
    giver = OtherThread("giver")
    shares: Counter[str] = Counter()
    take = thing.acquire if of is treadle.Semaphore else thing.get
    take_by_task = thing.aio.acquire if of is treadle.Semaphore else thing.aio.get
    give = thing.release if of is treadle.Semaphore else partial(thing.put, True)
    turn = treadle.Semaphore(0, shared=False)

    def thread() -> None:
        while take() and shares.total() < _ROUNDS:
            shares["thread"] += 1
            turn.release()

    def give_all() -> None:
        for _ in range(_ROUNDS + 2):  # the last two end the takers
            give()
            turn.acquire(timeout=0 if shares.total() >= _ROUNDS else 30)

    async def main() -> None:
        taking = other.start(thread)
        giving = giver.start(give_all)
        while await take_by_task() and shares.total() < _ROUNDS:
            shares["task"] += 1
            turn.release()
        await asyncio.wrap_future(taking)
        await asyncio.wrap_future(giving)

    asyncio.run(main())
    giver.end()
    assert min(shares["thread"], shares["task"]) >= _ROUNDS // 10, shares
