"""Pools: what a task costs beside the work that is in it, and how soon a pool is there.

All that can be forked is, with two workers. A pool is made, warmed up and used for as long as a
measurement takes; making it is measured by itself.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import treadle
from treadle.benchmarks.case import Case, Comparison, Limit, Measure, Unavailable, against
from treadle.benchmarks.clock import lasting, rate
from treadle.benchmarks.units import Unit

_WORKERS = 2
_ARRAY_BYTES = 10_000_000
_ARRAYS = 16
_QUEUED = 1_000_000
_FEW_QUEUED = 10_000
_IN_EARNEST = 0.2  # seconds

Each = Callable[[Callable[[Any], Any], range], Any]
"""Calls a function with each item, and takes all results."""


def cases() -> list[Case]:
    """A trivial task by every way into a pool, arrays, the start, and a million that wait."""
    return [
        Case(
            name="pool.imap",
            title="A trivial task of a stream (imap, chunksize=1)",
            unit=Unit.SECONDS,
            contenders={
                "treadle": _per_task(_treadle_imap),
                "multiprocessing.Pool": _per_task(_standard_imap),
                "ProcessPoolExecutor": _per_task(_standard_executor_map),
                "loky": _per_task(_loky_map),
                "mpire": _per_task(_mpire_imap),
            },
            rows=against(
                ["treadle"],
                {
                    "multiprocessing.Pool": 1 / 6,
                    "ProcessPoolExecutor": 1 / 25,
                    "loky": 1 / 25,
                    "mpire": 1 / 25,
                },
            ),
        ),
        Case(
            name="pool.apply",
            title="One call and its result (apply)",
            unit=Unit.SECONDS,
            contenders={
                "treadle": _per_call(lambda: treadle.Pool(_WORKERS, start_method="fork")),
                "multiprocessing.Pool": _per_call(_standard_pool),
            },
            rows=against(["treadle"], {"multiprocessing.Pool": 1 / 6}),
        ),
        Case(
            name="pool.threads",
            title="One call of a thread and its result (submit, result)",
            unit=Unit.SECONDS,
            contenders={
                "treadle.Executor": _per_future(lambda: treadle.Executor(_WORKERS, kind="thread")),
                "treadle.Pool.apply": _per_call(lambda: treadle.Pool(_WORKERS, kind="thread")),
                "ThreadPoolExecutor": _per_future(lambda: ThreadPoolExecutor(_WORKERS)),
            },
            rows=(
                Comparison("treadle.Executor", "ThreadPoolExecutor", 1 / 3),
                Comparison("treadle.Pool.apply", "ThreadPoolExecutor"),
            ),
        ),
        Case(
            name="pool.map",
            title="Trivial items of a map, chunks as the pool makes them",
            unit=Unit.PER_SECOND,
            contenders={
                "treadle": _items_a_second(lambda: treadle.Pool(_WORKERS, start_method="fork")),
                "multiprocessing.Pool": _items_a_second(_standard_pool),
            },
            rows=against(["treadle"], {"multiprocessing.Pool": 2.0}),
        ),
        Case(
            name="pool.arrays",
            title="Arrays of 10 MB as arguments",
            unit=Unit.BYTES_PER_SECOND,
            contenders={
                "treadle": _arrays(lambda: treadle.Pool(_WORKERS, start_method="fork")),
                "multiprocessing.Pool": _arrays(_standard_pool),
            },
            rows=against(["treadle"], {"multiprocessing.Pool": 8.0}),
        ),
        *(_start_case(method) for method in ("fork", "spawn", "forkserver")),
        Case(
            name="pool.queued",
            title="Tasks that wait behind a million, taken and done",
            unit=Unit.PER_SECOND,
            contenders={
                "a million": lambda seconds: _queued(_many(seconds))[0],
                "ten thousand": lambda seconds: _queued(_FEW_QUEUED)[0],
            },
            rows=(Comparison("a million", "ten thousand", 0.5),),
            rounds=1,
        ),
        Case(
            name="pool.queued.bytes",
            title="Memory of a task that waits, arena and all, of a million",
            unit=Unit.BYTES,
            contenders={"treadle": lambda seconds: _queued(_many(seconds))[1]},
            rows=(Limit("treadle", 2048),),
            rounds=1,
        ),
    ]


def same(item: Any) -> Any:
    """The trivial task."""
    return item


def first(array: Any) -> float:
    """Looks at an array."""
    return float(array[0])


# ---- Streams


@contextmanager
def _treadle_imap() -> Iterator[Each]:
    with treadle.Pool(_WORKERS, start_method="fork") as pool:
        yield lambda function, items: _exhaust(pool.imap(function, items, chunksize=1))


@contextmanager
def _standard_imap() -> Iterator[Each]:
    with _standard_pool() as pool:
        yield lambda function, items: _exhaust(pool.imap(function, items, chunksize=1))


@contextmanager
def _standard_executor_map() -> Iterator[Each]:
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(_WORKERS, mp_context=context) as executor:
        yield lambda function, items: _exhaust(executor.map(function, items))


@contextmanager
def _loky_map() -> Iterator[Each]:
    from loky import ProcessPoolExecutor as Loky

    with Loky(_WORKERS) as executor:
        yield lambda function, items: _exhaust(executor.map(function, items))


@contextmanager
def _mpire_imap() -> Iterator[Each]:
    from mpire import WorkerPool

    with WorkerPool(_WORKERS, start_method="fork", keep_alive=True) as pool:
        yield lambda function, items: _exhaust(
            pool.imap(function, items, chunk_size=1, iterable_len=len(items))
        )


def _per_task(pool: Callable[[], AbstractContextManager[Each]]) -> Measure:
    def measure(seconds: float) -> float:
        with pool() as each:
            each(same, range(_WORKERS))  # the workers are there

            def run(number: int) -> float:
                began = time.perf_counter()
                each(same, range(number))
                return time.perf_counter() - began

            number, elapsed = lasting(run, seconds, start=200)
            return elapsed / number

    return measure


def _exhaust(results: Any) -> None:
    for _ in results:
        pass


# ---- Single calls


def _standard_pool() -> multiprocessing.pool.Pool:
    return multiprocessing.get_context("fork").Pool(_WORKERS)


def _per_call(make: Callable[[], Any]) -> Measure:
    def measure(seconds: float) -> float:
        with make() as pool:
            return _seconds_a_turn(lambda: pool.apply(same, (1,)), seconds)

    return measure


def _per_future(make: Callable[[], Any]) -> Measure:
    def measure(seconds: float) -> float:
        with make() as executor:
            return _seconds_a_turn(lambda: executor.submit(same, 1).result(), seconds)

    return measure


def _seconds_a_turn(turn: Callable[[], object], seconds: float) -> float:
    def run(number: int) -> float:
        began = time.perf_counter()
        for _ in range(number):
            turn()
        return time.perf_counter() - began

    number, elapsed = lasting(run, seconds, start=100)
    return elapsed / number


# ---- Maps and arrays


def _items_a_second(make: Callable[[], Any]) -> Measure:
    def measure(seconds: float) -> float:
        with make() as pool:

            def run(number: int) -> float:
                items = range(number)
                began = time.perf_counter()
                pool.map(same, items)
                return time.perf_counter() - began

            return rate(run, seconds, start=20_000)

    return measure


def _arrays(make: Callable[[], Any]) -> Measure:
    def measure(seconds: float) -> float:
        import numpy

        array = numpy.ones(_ARRAY_BYTES // 8)
        with make() as pool:
            # Memory that was never used costs more than anything here: let it have been used.
            pool.starmap(first, [(array,)] * _ARRAYS, chunksize=1)

            def run(number: int) -> float:
                began = time.perf_counter()
                for result in [pool.apply_async(first, (array,)) for _ in range(number)]:
                    result.get()
                return time.perf_counter() - began

            return _ARRAYS / run(_ARRAYS) * _ARRAY_BYTES

    return measure


# ---- The start


def _start_case(method: str) -> Case:
    def treadle_pool() -> Any:
        return treadle.Pool(_WORKERS, start_method=method)

    def standard_pool() -> Any:
        return multiprocessing.get_context(method).Pool(_WORKERS)

    return Case(
        name=f"pool.start.{method}",
        title=f"From making a pool to its first result ({method})",
        unit=Unit.SECONDS,
        contenders={
            "treadle": _started(treadle_pool),
            "multiprocessing.Pool": _started(standard_pool),
        },
        rows=against(["treadle"], {"multiprocessing.Pool": 1.0}),
    )


def _started(make: Callable[[], Any]) -> Measure:
    def measure(seconds: float) -> float:
        times: list[float] = []
        until = time.perf_counter() + seconds
        while not times or time.perf_counter() < until:
            began = time.perf_counter()
            with make() as pool:
                pool.apply(same, (1,))
                times.append(time.perf_counter() - began)
        return sorted(times)[len(times) // 2]

    return measure


# ---- A million that wait


def _queued(number: int) -> tuple[float, float]:
    """Tasks a second, once the way is free for so many that wait; and the bytes of one of them."""
    gate = treadle.Event()
    with treadle.Pool(1, start_method="fork") as pool:
        gated = pool.apply_async(gate.wait)
        resident, used = _resident_bytes(), treadle.arena_statistics().used
        results = [pool.apply_async(same, (index,)) for index in range(number)]
        memory = _resident_bytes() - resident + treadle.arena_statistics().used - used
        began = time.perf_counter()
        gate.set()
        gated.get()
        for result in results:
            result.get()
        return number / (time.perf_counter() - began), memory / number


def _many(seconds: float) -> int:
    """A million, unless it is only to be seen whether the measurement works."""
    return _QUEUED if seconds >= _IN_EARNEST else _FEW_QUEUED


def _resident_bytes() -> int:
    """Of this process alone: without the arena's, which is counted by itself."""
    with open(f"/proc/{os.getpid()}/status") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    raise Unavailable("this kernel does not tell a process's own memory (RssAnon)")
