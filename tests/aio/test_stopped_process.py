"""A process that is stopped keeps what it was told to itself; tasks of others go on without it."""

from __future__ import annotations

import asyncio

import pytest

import treadle
from tests.aio.loops import settle
from tests.stress import family


@pytest.mark.slow
def test_a_task_that_stood_in_line_is_told_though_another_process_has_the_wake() -> None:
    """Who stood before it has gone, and it has not seen the lock's word itself."""
    lock, there = treadle.Lock(), treadle.Event()
    lock.acquire()

    async def wait_beside() -> None:
        waiting = asyncio.create_task(lock.aio.acquire())
        await settle()
        there.set()
        await waiting

    async def wait_in_line() -> None:
        for _ in range(8):  # the wakes take turns between the two processes
            first, second = (asyncio.create_task(lock.aio.acquire()) for _ in range(2))
            await settle()
            first.cancel()
            await settle()
            lock.release()
            assert await second is True

    beside = family.fork(lambda: asyncio.run(wait_beside()))
    there.wait()
    family.stop(beside)
    try:
        asyncio.run(wait_in_line())
    finally:
        family.kill(beside)
