"""Ordered queues between processes, beside the only ones that the standard library offers."""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Callable
from multiprocessing.managers import SyncManager
from typing import Any

import treadle
from treadle.benchmarks.case import Case, Measure, against
from treadle.benchmarks.cases.throughput import transfer
from treadle.benchmarks.units import Unit


class _Manager(SyncManager):
    pass


_Manager.register("PriorityQueue", queue.PriorityQueue)
_Manager.register("LifoQueue", queue.LifoQueue)


def cases() -> list[Case]:
    """One producer, one consumer, in two processes."""
    return [
        Case(
            name=f"{kind.lower()}.processes",
            title=f"{kind} of small ints, 1 to 1 process",
            unit=Unit.PER_SECOND,
            contenders={"treadle": transfer(make, 7), f"{kind} of a Manager": _managed(kind)},
            rows=against(["treadle"], {f"{kind} of a Manager": None}),
        )
        for kind, make in (
            ("PriorityQueue", treadle.PriorityQueue),
            ("LifoQueue", treadle.LifoQueue),
        )
    ]


def _managed(kind: str) -> Measure:
    def measure(seconds: float) -> float:
        with _Manager(ctx=multiprocessing.get_context("fork")) as manager:
            make: Callable[[], Any] = getattr(manager, kind)
            return transfer(make, 7)(seconds)

    return measure
