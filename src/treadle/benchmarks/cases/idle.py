"""A process that waits: the share of a processor that it uses meanwhile."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping
from typing import Any

import treadle
from treadle.benchmarks.case import Case, Limit, Measure, against
from treadle.benchmarks.units import Unit
from treadle.benchmarks.workers import in_processes

_LIMIT_PERCENT = 0.1
_WINDOW = 5  # times as long as other measurements: a waiter's costs come in rare, tiny portions

Act = Callable[[Any], Any]


def cases() -> list[Case]:
    """Blocked in Lock.acquire, Queue.get and Event.wait."""
    fork = multiprocessing.get_context("fork")
    return [
        _case(
            "idle.lock",
            "Processor used while blocked in Lock.acquire",
            {"treadle": treadle.Lock, "multiprocessing.Lock": fork.Lock},
            hold=lambda lock: lock.acquire(),
            wait=lambda lock: lock.acquire(),
            end=lambda lock: lock.release(),
        ),
        _case(
            "idle.queue",
            "Processor used while blocked in Queue.get",
            {"treadle": treadle.Queue, "multiprocessing.Queue": fork.Queue},
            hold=lambda q: None,
            wait=lambda q: q.get(),
            end=lambda q: q.put(7),
        ),
        _case(
            "idle.event",
            "Processor used while blocked in Event.wait",
            {"treadle": treadle.Event, "multiprocessing.Event": fork.Event},
            hold=lambda event: None,
            wait=lambda event: event.wait(),
            end=lambda event: event.set(),
        ),
    ]


def _case(
    name: str,
    title: str,
    makers: Mapping[str, Callable[[], Any]],
    *,
    hold: Act,
    wait: Act,
    end: Act,
) -> Case:
    return Case(
        name=name,
        title=title,
        unit=Unit.PERCENT,
        contenders={
            contender: _waiting(make, hold, wait, end) for contender, make in makers.items()
        },
        rows=(
            Limit("treadle", _LIMIT_PERCENT),
            *against(["treadle"], dict.fromkeys(set(makers) - {"treadle"})),
        ),
        rounds=3,
    )


def _waiting(make: Callable[[], Any], hold: Act, wait: Act, end: Act) -> Measure:
    """One process holds the object; the other reads its processor clock around its wait for it."""

    def measure(seconds: float) -> float:
        subject = make()
        holder_end, waiter_end = multiprocessing.Pipe()

        def holder() -> None:
            hold(subject)
            holder_end.send("held")
            holder_end.recv()
            time.sleep(seconds * _WINDOW)
            end(subject)

        def waiter() -> float:
            waiter_end.recv()
            waiter_end.send("about to wait")
            began, used = time.perf_counter(), time.process_time()
            wait(subject)
            return 100 * (time.process_time() - used) / (time.perf_counter() - began)

        _, run = in_processes(holder, waiter)
        percent: float = run.result
        return percent

    return measure
