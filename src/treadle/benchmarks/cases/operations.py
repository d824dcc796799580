"""Uncontended operations in one thread: what a lock costs when nobody else wants it."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import treadle
from treadle.benchmarks.case import Case, Measure, against
from treadle.benchmarks.clock import seconds_per_operation
from treadle.benchmarks.units import Unit

Make = Callable[[], Any]

_TREADLE = ("treadle shared", "treadle private")
_READ = "x.acquire_read(); x.release_read()"
_WRITE = "x.acquire_write(); x.release_write()"


def cases() -> list[Case]:
    """Lock, RLock, Semaphore, Event, RWLock and Latch, one thread, nobody waiting."""
    fork = multiprocessing.get_context("fork")
    acquire_release = "x.acquire(); x.release()"
    return [
        _case(
            "lock",
            "Lock acquire + release",
            acquire_release,
            _both_storages(treadle.Lock)
            | {"multiprocessing.Lock": fork.Lock, "threading.Lock": threading.Lock},
            {"multiprocessing.Lock": 0.7, "threading.Lock": 0.9},
        ),
        _case(
            "rlock",
            "RLock acquire + release",
            acquire_release,
            _both_storages(treadle.RLock)
            | {"multiprocessing.RLock": fork.RLock, "threading.RLock": threading.RLock},
            {"multiprocessing.RLock": 0.7, "threading.RLock": 0.9},
        ),
        _case(
            "lock.with",
            "with lock: pass",
            "with x: pass",
            _both_storages(treadle.Lock)
            | {"multiprocessing.Lock": fork.Lock, "threading.Lock": threading.Lock},
            {"multiprocessing.Lock": 0.7, "threading.Lock": None},
        ),
        _case(
            "semaphore",
            "Semaphore acquire + release",
            acquire_release,
            _both_storages(treadle.Semaphore)
            | {
                "multiprocessing.Semaphore": fork.Semaphore,
                "threading.Semaphore": threading.Semaphore,
            },
            {"multiprocessing.Semaphore": 0.7, "threading.Semaphore": 1 / 20},
        ),
        _case(
            "event",
            "Event set + is_set + clear",
            "x.set(); x.is_set(); x.clear()",
            _both_storages(treadle.Event)
            | {"multiprocessing.Event": fork.Event, "threading.Event": threading.Event},
            {"multiprocessing.Event": 1 / 15, "threading.Event": 1 / 15},
        ),
        Case(
            name="rwlock",
            title="RWLock acquire + release",
            unit=Unit.SECONDS,
            contenders={
                "treadle shared, read": measure(_READ, treadle.RWLock),
                "treadle private, read": measure(_READ, partial(treadle.RWLock, shared=False)),
                "treadle shared, write": measure(_WRITE, treadle.RWLock),
                "treadle private, write": measure(_WRITE, partial(treadle.RWLock, shared=False)),
                "threading.Lock": measure(acquire_release, threading.Lock),
            },
            rows=against(
                [
                    "treadle shared, read",
                    "treadle private, read",
                    "treadle shared, write",
                    "treadle private, write",
                ],
                {"threading.Lock": None},
            ),
        ),
        Case(
            name="latch",
            title="Latch made, counted down and waited for",
            unit=Unit.SECONDS,
            contenders={
                "treadle shared": _latched(partial(treadle.Latch, shared=True)),
                "treadle private": _latched(partial(treadle.Latch, shared=False)),
                # The nearest that the standard library has.
                "threading.Event": measure(
                    "event = x(); event.set(); event.wait()", lambda: threading.Event
                ),
            },
            rows=against(_TREADLE, {"threading.Event": None}),
        ),
    ]


def _case(
    name: str, title: str, statement: str, makers: dict[str, Make], targets: dict[str, float | None]
) -> Case:
    return Case(
        name=name,
        title=title,
        unit=Unit.SECONDS,
        contenders={contender: measure(statement, make) for contender, make in makers.items()},
        rows=against(_TREADLE, targets),
    )


def measure(statement: str, make: Make) -> Measure:
    """Times the statement, whose `x` is what `make` returns."""
    return lambda seconds: seconds_per_operation(statement, {"x": make()}, seconds)


def _latched(make: Make) -> Measure:
    return measure("latch = x(1); latch.count_down(); latch.wait()", lambda: make)


def _both_storages(kind: Callable[..., Any]) -> dict[str, Make]:
    return {
        "treadle shared": partial(kind, shared=True),
        "treadle private": partial(kind, shared=False),
    }
