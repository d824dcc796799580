"""Numbers, arrays and segments in shared memory: one access, one hand-over, one life."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing import shared_memory
from typing import Any

import treadle
from treadle.benchmarks.case import Case, Comparison, Measure, against
from treadle.benchmarks.cases.operations import measure
from treadle.benchmarks.clock import lasting
from treadle.benchmarks.units import Unit

_LOCKED = "with x.get_lock(): x.value += 1"
_SEGMENT_BYTES = 1 << 16
_LARGE, _SMALL = 100_000_000, 1_000
_DOES_NOT_GROW = 1.25  # a size 100,000 times as large; the rest is left to the clock


def cases() -> list[Case]:
    """Value and Array by one thread, an ndarray as a task's argument, SharedMemory's life."""
    fork = multiprocessing.get_context("fork")
    return [
        Case(
            name="value.add",
            title="Value: one more",
            unit=Unit.SECONDS,
            contenders={
                "treadle fetch_add": measure("x.fetch_add(1)", lambda: treadle.Value("q")),
                "treadle with lock": measure(_LOCKED, lambda: treadle.Value("q")),
                "multiprocessing with lock": measure(_LOCKED, lambda: fork.Value("q")),
            },
            rows=(
                *against(
                    ["treadle fetch_add"],
                    {"treadle with lock": 1 / 8, "multiprocessing with lock": 1 / 8},
                ),
                Comparison("treadle with lock", "multiprocessing with lock", 1.0),
            ),
        ),
        _beside_the_standard("value.read", "Value read", "x.value", "Value", "q"),
        _beside_the_standard(
            "value.array", "Array item read + set", "x[3] = x[4]", "Array", "q", 8
        ),
        Case(
            name="ndarray",
            title="ndarray as a task's argument (apply)",
            unit=Unit.SECONDS,
            contenders={
                "treadle 100 MB": _handed_to_a_task(_LARGE),
                "treadle 1 KB": _handed_to_a_task(_SMALL),
            },
            rows=(Comparison("treadle 100 MB", "treadle 1 KB", _DOES_NOT_GROW),),
        ),
        _of_segments("segment.life", "SharedMemory, 64 KiB, made, filled and unlinked", _life),
        _of_segments("segment.open", "SharedMemory opened and closed", _opening),
    ]


def _beside_the_standard(name: str, title: str, statement: str, kind: str, *arguments: Any) -> Case:
    fork = multiprocessing.get_context("fork")
    return Case(
        name=name,
        title=title,
        unit=Unit.SECONDS,
        contenders={
            "treadle": measure(statement, lambda: getattr(treadle, kind)(*arguments)),
            "multiprocessing": measure(statement, lambda: getattr(fork, kind)(*arguments)),
        },
        rows=against(["treadle"], {"multiprocessing": 1.0}),
    )


def _of_segments(name: str, title: str, of: Callable[[Any], Measure]) -> Case:
    return Case(
        name=name,
        title=title,
        unit=Unit.SECONDS,
        contenders={
            "treadle": of(treadle.SharedMemory),
            "multiprocessing": of(shared_memory.SharedMemory),
        },
        rows=against(["treadle"], {"multiprocessing": 1.0}),
    )


def _life(kind: Any) -> Measure:
    content = bytes(_SEGMENT_BYTES)

    def turn() -> None:
        memory = kind(create=True, size=_SEGMENT_BYTES)
        memory.buf[:] = content
        memory.close()
        memory.unlink()

    return lambda seconds: _seconds_a_turn(turn, seconds)


def _opening(kind: Any) -> Measure:
    def measure_opening(seconds: float) -> float:
        memory = kind(create=True, size=_SEGMENT_BYTES)
        try:
            return _seconds_a_turn(lambda: kind(memory.name).close(), seconds)
        finally:
            memory.close()
            memory.unlink()

    return measure_opening


def _handed_to_a_task(size: int) -> Measure:
    def measure_task(seconds: float) -> float:
        array = treadle.ndarray(size, "u1")
        with treadle.Pool(1, start_method="fork") as pool:
            if pool.apply(last_set, (array,)) != size or array[-1] != 1:
                raise AssertionError("the task had not the array itself")
            return _seconds_a_turn(lambda: pool.apply(last_set, (array,)), seconds)

    return measure_task


def last_set(array: Any) -> int:
    """A task: sets the last item to 1, and returns how many there are."""
    array[-1] = 1
    return len(array)


def _seconds_a_turn(turn: Callable[[], object], seconds: float) -> float:
    def run(number: int) -> float:
        began = time.perf_counter()
        for _ in range(number):
            turn()
        return time.perf_counter() - began

    number, elapsed = lasting(run, seconds, start=100)
    return elapsed / number
