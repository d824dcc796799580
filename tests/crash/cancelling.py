"""Ways to cut a task's work short at a random moment."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

Piece = Callable[[], Coroutine[Any, Any, None]]


async def run(piece: Piece, dice: random.Random, rate: float) -> bool:
    """Runs it, cancelled at a random moment with a likelihood of `rate`; whether that struck."""
    if dice.random() >= rate:
        await piece()
        return False
    return await dice.choice((_timeout, _wait_for, _cancel_after_turns, _cancel_later))(piece, dice)


def _seconds(dice: random.Random) -> float:
    """As often a moment as a while, which is longer than most waits last."""
    return float(10 ** dice.uniform(-5, -2))


async def _timeout(piece: Piece, dice: random.Random) -> bool:
    try:
        async with asyncio.timeout(_seconds(dice)):
            await piece()
    except TimeoutError:
        return True
    return False


async def _wait_for(piece: Piece, dice: random.Random) -> bool:
    try:
        await asyncio.wait_for(piece(), _seconds(dice))
    except TimeoutError:
        return True
    return False


async def _cancel_after_turns(piece: Piece, dice: random.Random) -> bool:
    """By another task, after some turns of the loop; and again while it is busy with that."""
    task = asyncio.create_task(piece())
    for _ in range(dice.randint(1, 3)):
        for _ in range(dice.randrange(7)):
            await asyncio.sleep(0)
        task.cancel()
    return await _was_cancelled(task)


async def _cancel_later(piece: Piece, dice: random.Random) -> bool:
    task = asyncio.create_task(piece())
    await asyncio.wait([task], timeout=_seconds(dice))
    task.cancel()
    return await _was_cancelled(task)


async def _was_cancelled(task: asyncio.Task[None]) -> bool:
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False
