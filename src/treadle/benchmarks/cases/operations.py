"""Uncontended operations in one thread: what a lock costs when nobody else wants it."""

from __future__ import annotations

import multiprocessing
import queue
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


def cases() -> list[Case]:
    """Lock, RLock, Semaphore, Event and Queue, one thread, nobody waiting."""
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
        # The rivals pass references within one process, which a queue by value cannot match.
        Case(
            name="queue.same-thread",
            title="Queue put + get of an int, same thread",
            unit=Unit.SECONDS,
            contenders={
                "treadle shared": _measure("x.put(1); x.get()", treadle.Queue),
                "queue.Queue": _measure("x.put(1); x.get()", queue.Queue),
                "queue.SimpleQueue": _measure("x.put(1); x.get()", queue.SimpleQueue),
            },
            rows=against(["treadle shared"], {"queue.Queue": None, "queue.SimpleQueue": None}),
        ),
    ]


def _case(
    name: str, title: str, statement: str, makers: dict[str, Make], targets: dict[str, float | None]
) -> Case:
    return Case(
        name=name,
        title=title,
        unit=Unit.SECONDS,
        contenders={contender: _measure(statement, make) for contender, make in makers.items()},
        rows=against(_TREADLE, targets),
    )


def _measure(statement: str, make: Make) -> Measure:
    return lambda seconds: seconds_per_operation(statement, {"x": make()}, seconds)


def _both_storages(kind: Callable[..., Any]) -> dict[str, Make]:
    return {
        "treadle shared": partial(kind, shared=True),
        "treadle private": partial(kind, shared=False),
    }
