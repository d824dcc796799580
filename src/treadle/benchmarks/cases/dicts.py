"""Dicts that processes share, beside a Manager's: small plain items, by one process and by two."""

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

_MANAGED = "Manager().dict()"
_fork = multiprocessing.get_context("fork")


def cases() -> list[Case]:
    """Get and set of one process; sets of two at once."""
    return [
        *(
            Case(
                name=f"dict.{name}",
                title=f"Dict {title}",
                unit=Unit.SECONDS,
                contenders={
                    "treadle": _operation(statement, treadle.Dict),
                    _MANAGED: _operation(statement, None),
                    "dict": _operation(statement, dict),
                },
                rows=against(["treadle"], {_MANAGED: target, "dict": None}),
            )
            for name, title, statement, target in (
                ("get", "d[k] of a small int", "x['key 7']", 0.01),
                ("set", "d[k] = a small int", "x['key 7'] = 8", 0.01),
                ("new", "d[k] = v and del d[k]", "x['new'] = 8; del x['new']", 0.01),
                ("text", "d[k] = 20 characters, and d[k]", "x[7] = 'x' * 20; x[7]", None),
            )
        ),
        Case(
            name="dict.processes",
            title="Dict d[k] = v, 2 processes at once",
            unit=Unit.PER_SECOND,
            contenders={"treadle": _two_at_once(treadle.Dict), _MANAGED: _two_at_once(None)},
            rows=against(["treadle"], {_MANAGED: 50}),
            rounds=5,
        ),
    ]


def _items() -> dict[str, int]:
    return {f"key {n}": n for n in range(1000)}


def _operation(statement: str, make: Callable[[Any], Any] | None) -> Measure:
    """`make` None: by a Manager."""

    def measure(seconds: float) -> float:
        if make is not None:
            return seconds_per_operation(statement, {"x": make(_items())}, seconds)
        with _fork.Manager() as manager:
            return seconds_per_operation(statement, {"x": manager.dict(_items())}, seconds)

    return measure


def _two_at_once(make: Callable[[Any], Any] | None) -> Measure:
    def measure(seconds: float) -> float:
        if make is not None:
            return _puts(make(_items()), seconds)
        with _fork.Manager() as manager:
            return _puts(manager.dict(_items()), seconds)

    return measure


def _puts(shared: Any, seconds: float) -> float:
    """How many a second two processes make together."""
    counts: list[Any] = [_fork.Value("q", 0), _fork.Value("q", 0)]
    ready = _fork.Barrier(2)
    workers = [
        _fork.Process(target=_put_for, args=(shared, seconds, ready, count)) for count in counts
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return float(sum(count.value for count in counts)) / seconds


def _put_for(shared: Any, seconds: float, ready: Any, count: Synchronized[int]) -> None:
    keys = list(_items())[:20]
    ready.wait()
    end = time.perf_counter() + seconds
    done = 0
    while time.perf_counter() < end:
        for key in keys:
            shared[key] = done
        done += len(keys)
    count.value = done
