"""Lists that processes share, beside a Manager's: small plain items, by one process and by two."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.sharedctypes import Synchronized
from typing import Any

import treadle
from treadle.benchmarks.case import Case, Measure, against
from treadle.benchmarks.clock import seconds_per_operation
from treadle.benchmarks.units import Unit

_MANAGED = "Manager().list()"
_fork = multiprocessing.get_context("fork")


def cases() -> list[Case]:
    """Append and index of one process; appends of two at once."""
    return [
        *(
            Case(
                name=f"list.{name}",
                title=f"List {title}",
                unit=Unit.SECONDS,
                contenders={
                    "treadle": _operation(statement, _shared),
                    _MANAGED: _operation(statement, None),
                    "list": _operation(statement, list),
                },
                rows=against(["treadle"], {_MANAGED: target, "list": None}),
            )
            for name, title, statement, target in (
                ("append", "append + pop of a small int", "x.append(7); x.pop()", 0.01),
                ("index", "l[i] of a small int", "x[7]", 0.01),
                ("assign", "l[i] = a small int", "x[7] = 8", 0.01),
                ("text", "append + pop of 20 characters", "x.append('x' * 20); x.pop()", None),
                ("slice", "l[:100] of small ints", "x[:100]", None),
            )
        ),
        Case(
            name="list.processes",
            title="List append, 2 processes at once",
            unit=Unit.PER_SECOND,
            contenders={"treadle": _two_at_once(_shared), _MANAGED: _two_at_once(None)},
            rows=against(["treadle"], {_MANAGED: 50}),
            rounds=5,
        ),
    ]


def _shared(items: range) -> treadle.List[int]:
    return treadle.List(items)


def _operation(statement: str, make: Callable[[range], Any] | None) -> Measure:
    """`make` None: by a Manager."""

    def measure(seconds: float) -> float:
        if make is not None:
            return seconds_per_operation(statement, {"x": make(range(100))}, seconds)
        with _fork.Manager() as manager:
            return seconds_per_operation(statement, {"x": manager.list(range(100))}, seconds)

    return measure


def _two_at_once(make: Callable[[range], Any] | None) -> Measure:
    def measure(seconds: float) -> float:
        if make is not None:
            return _appends(make(range(0)), seconds)
        with _fork.Manager() as manager:
            return _appends(manager.list(), seconds)

    return measure


def _appends(shared: Any, seconds: float) -> float:
    """How many a second two processes make together."""
    counts: list[Any] = [_fork.Value("q", 0), _fork.Value("q", 0)]
    ready = _fork.Barrier(2)
    workers = [
        _fork.Process(target=_append_for, args=(shared, seconds, ready, count)) for count in counts
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return float(sum(count.value for count in counts)) / seconds


def _append_for(shared: Any, seconds: float, ready: Any, count: Synchronized[int]) -> None:
    ready.wait()
    end = time.perf_counter() + seconds
    done = 0
    while time.perf_counter() < end:
        for n in range(20):
            shared.append(n)
        done += 20
        if len(shared) > 100_000:  # a list that grows for ever would measure the arena
            del shared[1000:]
    count.value = done
