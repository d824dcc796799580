"""Tasks go on wherever others died, be it within an object's short section."""

from __future__ import annotations

import asyncio
import random
import time
import warnings
from collections.abc import Callable, Coroutine
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.sync.children import forked


async def put_and_get(queue: Any) -> None:
    await queue.aio.put("item")
    assert await queue.aio.get() == "item"


async def take_permit(semaphore: treadle.BoundedSemaphore) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", treadle.OwnerDiedWarning)
        await semaphore.aio.acquire()
    semaphore.aio.release()


async def read_and_write(lock: treadle.RWLock) -> None:
    async with lock.aio.read():
        pass
    async with lock.aio.write():
        pass


async def pass_alone(barrier: treadle.Barrier) -> None:
    assert await barrier.aio.wait() == 0


def put_and_get_all_the_time(line: Connection, queue: Any) -> None:
    line.send("begun")
    while True:
        queue.put("item")
        queue.get()


def take_permits_all_the_time(line: Connection, semaphore: treadle.BoundedSemaphore) -> None:
    line.send("begun")
    while True:
        with semaphore:
            pass


def read_all_the_time(line: Connection, lock: treadle.RWLock) -> None:
    line.send("begun")
    while True:
        with lock.read():
            pass


def reset_all_the_time(line: Connection, barrier: treadle.Barrier) -> None:
    line.send("begun")
    while True:
        barrier.reset()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "busy", "use"),
    [
        pytest.param(kind, put_and_get_all_the_time, put_and_get, id=kind.__name__)
        for kind in (treadle.Queue, treadle.PriorityQueue, treadle.LifoQueue)
    ]
    + [
        pytest.param(
            treadle.BoundedSemaphore, take_permits_all_the_time, take_permit, id="BoundedSemaphore"
        ),
        pytest.param(treadle.RWLock, read_all_the_time, read_and_write, id="RWLock"),
        pytest.param(partial(treadle.Barrier, 1), reset_all_the_time, pass_alone, id="Barrier"),
    ],
)
def test_a_task_goes_on_wherever_another_process_died(
    make: Callable[[], Any],
    busy: Callable[..., object],
    use: Callable[[Any], Coroutine[Any, Any, None]],
) -> None:
    """Nobody but the task is left to find that the section's owner is dead."""
    thing = make()
    dice = random.Random(3)
    for _ in range(30):
        with forked(busy, thing) as child:
            child.expect("begun")
            time.sleep((1 + dice.random()) / 1000)  # wherever it is by then
            child.kill()
        asyncio.run(use(thing))
