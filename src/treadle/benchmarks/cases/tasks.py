"""Queues between tasks of event loops: to and from threads, within a loop, across processes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import treadle
import treadle.asyncio
from treadle.benchmarks.case import Case, Measure, against
from treadle.benchmarks.cases.throughput import multiprocessing_queue
from treadle.benchmarks.clock import lasting, rate
from treadle.benchmarks.units import Unit
from treadle.benchmarks.workers import elapsed, in_processes

_FIRST_ITEMS = 500
_FIRST_TRIPS = 50
_BOUND = 100
_ITEM = 7


@dataclass(frozen=True)
class _Sides:
    """A queue's two faces: blocking calls for threads, awaitable ones for tasks."""

    put: Callable[[Any], Any]
    get: Callable[[], Any]
    put_async: Callable[[Any], Awaitable[Any]]
    get_async: Callable[[], Awaitable[Any]]


MakeSides = Callable[[int], _Sides]


def cases() -> list[Case]:
    """Hand-over between a thread and a task, tasks of one loop, tasks of two processes."""
    unbounded = {"janus": 8.0, "culsans": 2.0}
    bounded = {"janus": None, "culsans": None}
    return [
        _hand_over("task.from-thread", "thread to task", _thread_to_task, 0, unbounded),
        _hand_over("task.to-thread", "task to thread", _task_to_thread, 0, unbounded),
        _hand_over("task.from-thread.bounded", "thread to task", _thread_to_task, _BOUND, bounded),
        _hand_over("task.to-thread.bounded", "task to thread", _task_to_thread, _BOUND, bounded),
        _in_one_loop("task.put-get", "put + get in one task", _one_task, 0),
        _in_one_loop("task.put-get.bounded", "put + get in one task", _one_task, 1),
        _in_one_loop("task.pair", "one task to another", _pair, 0),
        _in_one_loop("task.pair.bounded", "one task to another", _pair, 1),
        Case(
            name="task.processes",
            title="Queue of small ints, a task to a task of another process",
            unit=Unit.PER_SECOND,
            contenders={
                "treadle": _stream_of_tasks(_treadle_between_processes),
                "multiprocessing.Queue in an executor": _stream_of_tasks(_in_executor),
            },
            rows=against(["treadle"], {"multiprocessing.Queue in an executor": 5}),
        ),
        Case(
            name="task.round-trip",
            title="Round trip of an int between tasks of 2 processes",
            unit=Unit.SECONDS,
            contenders={
                "treadle": _trip_of_tasks(_treadle_between_processes),
                "multiprocessing.Queue in an executor": _trip_of_tasks(_in_executor),
            },
            rows=against(["treadle"], {"multiprocessing.Queue in an executor": 1 / 5}),
        ),
    ]


# ---- The queues


def _treadle_sides(maxsize: int, *, shared: bool) -> _Sides:
    q: Any = treadle.Queue(maxsize, shared=shared)
    return _Sides(q.put, q.get, q.aio.put, q.aio.get)


def _janus_sides(maxsize: int) -> _Sides:
    import janus

    q = janus.Queue[Any](maxsize)
    return _Sides(q.sync_q.put, q.sync_q.get, q.async_q.put, q.async_q.get)


def _culsans_sides(maxsize: int) -> _Sides:
    import culsans

    q = culsans.Queue[Any](maxsize)
    return _Sides(q.sync_q.put, q.sync_q.get, q.async_q.put, q.async_q.get)


def _treadle_between_processes() -> _Sides:
    return _treadle_sides(0, shared=True)


def _in_executor() -> _Sides:
    """The way that the standard library leaves: a blocking call in a thread of the loop's own."""
    q = multiprocessing_queue()

    async def put(item: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(None, q.put, item)

    async def get() -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, q.get)

    return _Sides(q.put, q.get, put, get)


# ---- A thread and a task


def _hand_over(
    name: str,
    way: str,
    run: Callable[[MakeSides, int, int], float],
    maxsize: int,
    targets: dict[str, float | None] | dict[str, float] | dict[str, None],
) -> Case:
    makers: dict[str, MakeSides] = {
        "treadle private": partial(_treadle_sides, shared=False),
        "treadle shared": partial(_treadle_sides, shared=True),
        "janus": _janus_sides,
        "culsans": _culsans_sides,
    }
    return Case(
        name=name,
        title=f"Queue{_bound(maxsize)}, {way}",
        unit=Unit.PER_SECOND,
        contenders={
            contender: _rate(partial(run, make, maxsize)) for contender, make in makers.items()
        },
        rows=(
            *against(["treadle private"], targets),
            *against(["treadle shared"], dict.fromkeys(targets)),
        ),
    )


def _bound(maxsize: int) -> str:
    return f" with maxsize={maxsize}" if maxsize else ""


def _rate(run: Callable[[int], float]) -> Measure:
    return lambda seconds: rate(run, seconds, start=_FIRST_ITEMS)


def _thread_to_task(make: MakeSides, maxsize: int, number: int) -> float:
    async def main() -> float:
        sides = make(maxsize)

        def produce() -> None:
            for _ in range(number):
                sides.put(_ITEM)

        thread = threading.Thread(target=produce)
        began = time.perf_counter()
        thread.start()
        for _ in range(number):
            await sides.get_async()
        ended = time.perf_counter()
        thread.join()
        return ended - began

    return asyncio.run(main())


def _task_to_thread(make: MakeSides, maxsize: int, number: int) -> float:
    async def main() -> float:
        sides = make(maxsize)
        ended = 0.0

        def consume() -> None:
            nonlocal ended
            for _ in range(number):
                sides.get()
            ended = time.perf_counter()

        thread = threading.Thread(target=consume)
        began = time.perf_counter()
        thread.start()
        for _ in range(number):
            await sides.put_async(_ITEM)
        await asyncio.to_thread(thread.join)  # the loop runs on: a rival's consumer may need it
        return ended - began

    return asyncio.run(main())


# ---- Tasks of one loop


def _in_one_loop(
    name: str, way: str, run: Callable[[Callable[[int], Any], int, int], float], maxsize: int
) -> Case:
    makers: dict[str, Callable[[int], Any]] = {
        "treadle private": lambda maxsize: treadle.Queue(maxsize, shared=False).aio,
        "treadle.asyncio.Queue": treadle.asyncio.Queue,
        "treadle shared": lambda maxsize: treadle.Queue(maxsize).aio,
        "asyncio.Queue": asyncio.Queue,
    }
    return Case(
        name=name,
        title=f"Queue{_bound(maxsize)}, {way}",
        unit=Unit.PER_SECOND,
        contenders={
            contender: _rate(partial(run, make, maxsize)) for contender, make in makers.items()
        },
        rows=(
            *against(["treadle private", "treadle.asyncio.Queue"], {"asyncio.Queue": 1}),
            *against(["treadle shared"], {"asyncio.Queue": None}),
        ),
    )


def _one_task(make: Callable[[int], Any], maxsize: int, number: int) -> float:
    async def main() -> float:
        q = make(maxsize)
        began = time.perf_counter()
        for _ in range(number):
            await q.put(_ITEM)
            await q.get()
        return time.perf_counter() - began

    return asyncio.run(main())


def _pair(make: Callable[[int], Any], maxsize: int, number: int) -> float:
    async def main() -> float:
        q = make(maxsize)

        async def produce() -> None:
            for _ in range(number):
                await q.put(_ITEM)

        async def consume() -> None:
            for _ in range(number):
                await q.get()

        began = time.perf_counter()
        await asyncio.gather(consume(), produce())
        return time.perf_counter() - began

    return asyncio.run(main())


# ---- Tasks of two processes


def _stream_of_tasks(make: Callable[[], _Sides]) -> Measure:
    def run(number: int) -> float:
        sides = make()

        async def produce() -> None:
            for _ in range(number):
                await sides.put_async(_ITEM)

        async def consume() -> None:
            for _ in range(number):
                await sides.get_async()

        return elapsed(in_processes(_as_job(produce), _as_job(consume)))

    return _rate(run)


def _trip_of_tasks(make: Callable[[], _Sides]) -> Measure:
    def run(number: int) -> float:
        there, back = make(), make()

        async def ask() -> None:
            for _ in range(number):
                await there.put_async(_ITEM)
                await back.get_async()

        async def answer() -> None:
            for _ in range(number):
                await back.put_async(await there.get_async())

        return elapsed(in_processes(_as_job(ask), _as_job(answer)))

    def timed(seconds: float) -> float:
        number, duration = lasting(run, seconds, start=_FIRST_TRIPS)
        return duration / number

    return timed


def _as_job(work: Callable[[], Any]) -> Callable[[], None]:
    return lambda: asyncio.run(work())
