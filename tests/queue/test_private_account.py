"""Threads and the tasks of several loops on one private queue: every item is got once, by one."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

import treadle
from tests.queue.kinds import every_private_kind

Make = Callable[..., Any]
Body = Callable[[], object]

_THREADS, _LOOPS, _TASKS, _EACH = 2, 2, 3, 150
_PUTTERS = _THREADS + _LOOPS * _TASKS
_ALL = range(_PUTTERS * _EACH)


def numbers(of: int) -> range:
    return _ALL[of * _EACH : (of + 1) * _EACH]


def at_once(bodies: list[Body]) -> list[Any]:
    """Each in a thread of its own, to the end; what they returned."""
    outcomes: list[Any] = []

    def run(body: Body) -> None:
        try:
            outcomes.append(body())
        except BaseException as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run, args=(body,), daemon=True) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return outcomes


def in_a_loop(*tasks: Callable[[], Coroutine[Any, Any, Any]]) -> Body:
    """All of them at once, as tasks of one loop."""

    async def main() -> list[Any]:
        results = await asyncio.gather(*(task() for task in tasks))
        return list(itertools.chain(*results))

    return lambda: asyncio.run(main())


def crowd(
    queue: Any,
    put: Callable[[int], object],
    put_by_task: Callable[[int], Coroutine[Any, Any, Any]],
    get: Body,
    get_by_task: Callable[[], Coroutine[Any, Any, Any]],
) -> None:
    """Putters and getters of both kinds at once; then the books are looked at."""

    def putting() -> tuple[()]:
        bodies: list[Body] = [partial(put, of) for of in range(_THREADS)]
        for first in range(_THREADS, _PUTTERS, _TASKS):
            tasks = [partial(put_by_task, of) for of in range(first, first + _TASKS)]
            bodies.append(in_a_loop(*tasks))
        try:
            at_once(bodies)
        finally:
            queue.shutdown()
        return ()

    getting = [get] * _THREADS + [in_a_loop(*[get_by_task] * _TASKS)] * _LOOPS
    got = list(itertools.chain(*at_once([putting, *getting])))
    assert sorted(got) == list(_ALL)
    assert queue.empty()
    figures = queue.statistics()
    assert (figures.puts, figures.gets, figures.leased) == (len(_ALL), len(_ALL), 0)


@pytest.mark.parametrize("maxsize", [0, 1, 4])
@every_private_kind
def test_a_crowd_loses_and_doubles_nothing(make: Make, maxsize: int) -> None:
    """Singly, in batches and on lease; for as long as it takes, and in time."""
    queue = make(maxsize)

    def put(of: int) -> None:
        for number in numbers(of):
            if number % 3 == 0:
                queue.put_many([number])
            elif number % 3 == 1:
                queue.put(number)
            else:
                in_time(partial(queue.put, number, timeout=0.001), treadle.Full)

    async def put_by_task(of: int) -> list[int]:
        for number in numbers(of):
            if number % 2:
                await queue.aio.put(number)
            else:
                await queue.aio.put_many([number])
        return []

    def get() -> list[int]:
        got: list[int] = []
        with contextlib.suppress(treadle.ShutDown):
            for turn in itertools.count():
                if turn % 3 == 0:
                    got.append(queue.get())
                elif turn % 3 == 1:
                    got += in_time(lambda: queue.get_many(3, timeout=0.001), treadle.Empty)
                else:
                    lease = queue.lease()
                    if turn % 2 and lease.deliveries == 1:
                        lease.nack()
                    else:
                        got.append(lease.item)
                        lease.ack()
        return got

    async def get_by_task() -> list[int]:
        got: list[int] = []
        with contextlib.suppress(treadle.ShutDown):
            for turn in itertools.count():
                got += [await queue.aio.get()] if turn % 2 else await queue.aio.get_many(3)
        return got

    crowd(queue, put, put_by_task, get, get_by_task)


def in_time(call: Callable[[], Any], too_late: type[Exception]) -> Any:
    """Again and again until it is in time."""
    while True:
        with contextlib.suppress(too_late):
            return call()


@pytest.mark.parametrize("seed", range(3))
@every_private_kind
def test_cancelled_tasks_lose_and_double_nothing(make: Make, seed: int) -> None:
    """Each task cancels its own puts, gets and leases after a few rounds of its loop."""
    queue = make(2)
    seeds = itertools.count(seed * 1000)

    async def or_cancelled(call: Coroutine[Any, Any, Any], chance: random.Random) -> Any:
        """What the call returns, or None if it was cancelled before that."""
        task = asyncio.create_task(call)
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        task.cancel()
        try:
            return (await task,)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            return None

    def put(of: int) -> None:
        for number in numbers(of):
            queue.put(number)

    async def put_by_task(of: int) -> list[int]:
        chance = random.Random(next(seeds))
        for number in numbers(of):
            while await or_cancelled(queue.aio.put(number), chance) is None:
                pass
        return []

    def get() -> list[int]:
        return list(queue)

    async def get_by_task() -> list[int]:
        chance, got = random.Random(next(seeds)), []
        with contextlib.suppress(treadle.ShutDown):
            while True:
                if chance.random() < 0.5:
                    got += await or_cancelled(queue.aio.get(), chance) or ()
                elif leased := await or_cancelled(queue.aio.lease(), chance):
                    got.append(leased[0].item)
                    leased[0].ack()
        return got

    crowd(queue, put, put_by_task, get, get_by_task)
