"""Ten thousand tasks of one loop that wait: threads, memory, and what it costs to wake them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

import treadle
from treadle.benchmarks.case import Case, Comparison, Limit, Measure
from treadle.benchmarks.cases.footprint import private_bytes
from treadle.benchmarks.units import Unit

_TASKS = 10_000
_ROUNDS = 3  # each starts and ends as many tasks, whatever the time given

# The waiting tasks, what they wait for, and how the things waited for are brought about.
Crowd = tuple[list["asyncio.Task[Any]"], list[Any], Callable[[Any], Any]]


def cases() -> list[Case]:
    """All at one object, and each at an object of its own."""
    return [
        Case(
            name="waiters.threads",
            title=f"Threads started by {_TASKS:,} tasks at shared objects of their own",
            unit=Unit.COUNT,
            contenders={
                "treadle Event": _threads(treadle.Event, _at_events),
                "treadle Queue": _threads(treadle.Queue, _at_queues),
            },
            rows=(Limit("treadle Event", 1), Limit("treadle Queue", 1)),  # the reactor
            rounds=1,
        ),
        _beside_asyncio("waiters.one.bytes", "Memory of each task at one object", 1, _bytes),
        _beside_asyncio(
            "waiters.each.bytes", "Memory of each task at an object of its own", _TASKS, _bytes
        ),
        _beside_asyncio("waiters.one.wake", "Wake-up of each task at one object", 1, _wake),
        _beside_asyncio(
            "waiters.each.wake", "Wake-up of each task at an object of its own", _TASKS, _wake
        ),
    ]


def _beside_asyncio(
    name: str,
    title: str,
    objects: int,
    measure: Callable[[int, Callable[[], Any], Callable[[list[Any]], Crowd]], Measure],
) -> Case:
    return Case(
        name=name,
        title=f"{title}, of {_TASKS:,} in one loop",
        unit=Unit.BYTES if measure is _bytes else Unit.SECONDS,
        contenders={
            "treadle Event": measure(objects, treadle.Event, _at_events),
            "treadle Queue": measure(objects, treadle.Queue, _at_queues),
            "asyncio.Event": measure(objects, asyncio.Event, _at_events),
            "asyncio.Queue": measure(objects, asyncio.Queue, _at_queues),
        },
        rows=(
            Comparison("treadle Event", "asyncio.Event"),
            Comparison("treadle Queue", "asyncio.Queue"),
        ),
        rounds=_ROUNDS,
    )


def _at_events(events: list[Any]) -> Crowd:
    """Each waits for the event to be set; one event wakes all who wait for it."""
    waits = [getattr(event, "aio", event).wait for event in events]
    return _started(waits), events, lambda event: event.set()


def _at_queues(queues: list[Any]) -> Crowd:
    """Each waits for one item."""
    gets = [getattr(queue, "aio", queue).get for queue in queues]
    share = _TASKS // len(queues)

    def fill(queue: Any) -> None:
        for _ in range(share):
            queue.put_nowait(1)

    return _started(gets), queues, fill


def _started(waits: list[Callable[[], Any]]) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(waits[index % len(waits)]()) for index in range(_TASKS)]


async def _parked() -> None:
    """Returns when every task that was started has run as far as it can."""
    for _ in range(3):
        await asyncio.sleep(0)


def _threads(make: Callable[[], Any], crowd: Callable[[list[Any]], Crowd]) -> Measure:
    async def main() -> float:
        objects = [make() for _ in range(_TASKS)]
        before = _thread_count()
        tasks, _, bring = crowd(objects)
        await _parked()
        started = _thread_count() - before
        for each in objects:
            bring(each)
        await asyncio.gather(*tasks)
        return started

    return lambda _seconds: asyncio.run(main())


def _thread_count() -> int:
    return len(os.listdir("/proc/self/task"))


def _bytes(objects: int, make: Callable[[], Any], crowd: Callable[[list[Any]], Crowd]) -> Measure:
    """Private memory that a waiting task adds, the task itself included, the objects not."""

    async def main() -> float:
        waited_for = [make() for _ in range(objects)]
        before = private_bytes()
        tasks, _, bring = crowd(waited_for)
        await _parked()
        grown = private_bytes() - before
        for each in waited_for:
            bring(each)
        await asyncio.gather(*tasks)
        return grown / _TASKS

    return lambda _seconds: asyncio.run(main())


def _wake(objects: int, make: Callable[[], Any], crowd: Callable[[list[Any]], Crowd]) -> Measure:
    """From the first call that wakes somebody until the last task has ended, by task."""

    async def main() -> float:
        tasks, waited_for, bring = crowd([make() for _ in range(objects)])
        await _parked()
        began = time.perf_counter()
        for each in waited_for:
            bring(each)
        await asyncio.wait(tasks)
        return (time.perf_counter() - began) / _TASKS

    return lambda _seconds: asyncio.run(main())
