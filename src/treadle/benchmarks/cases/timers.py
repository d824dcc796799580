"""Timers: started and cancelled, as timeouts of what goes well are; pending by the thousand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import treadle
from treadle.benchmarks.case import Case, Limit, Measure, Unavailable, against
from treadle.benchmarks.clock import seconds_per_operation
from treadle.benchmarks.units import Unit

_PENDING = 100_000
_STATEMENT = "timer = make(3600, print); timer.start(); timer.cancel()"


def cases() -> list[Case]:
    """Start and cancel, alone and beside 100,000 pending; the memory of a pending one."""
    return [
        Case(
            name="timer",
            title="Timer made, started and cancelled",
            unit=Unit.SECONDS,
            contenders={
                "treadle": _started_and_cancelled(0),
                "treadle beside 100,000": _started_and_cancelled(_PENDING),
                "threading.Timer": _threads_started_and_cancelled,
            },
            rows=against(["treadle", "treadle beside 100,000"], {"threading.Timer": 1 / 20}),
        ),
        Case(
            name="timer.bytes",
            title="Memory of a pending Timer, of 100,000",
            unit=Unit.BYTES,
            contenders={"treadle": _bytes_per_timer},
            rows=(Limit("treadle", 1024),),
            rounds=1,
        ),
    ]


def _started_and_cancelled(pending: int) -> Measure:
    def measure(seconds: float) -> float:
        others = _start(pending, treadle.Timer)
        duration = seconds_per_operation(_STATEMENT, {"make": treadle.Timer}, seconds)
        for timer in others:
            timer.cancel()
        return duration

    return measure


def _threads_started_and_cancelled(seconds: float) -> float:
    return seconds_per_operation(_STATEMENT, {"make": threading.Timer}, seconds)


def _start(number: int, make: Callable[..., Any]) -> list[Any]:
    timers = [make(3600 + index % 60, print) for index in range(number)]
    for timer in timers:
        timer.start()
    return timers


def _bytes_per_timer(_seconds: float) -> float:
    """Resident memory, the list that the timers lie in included."""
    for timer in _start(1_000, treadle.Timer):  # the threads, and what the interpreter keeps
        timer.cancel()
    before = _resident_bytes()
    timers = _start(_PENDING, treadle.Timer)
    grown = _resident_bytes() - before
    for timer in timers:
        timer.cancel()
    return grown / _PENDING


def _resident_bytes() -> int:
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    raise Unavailable("this kernel does not tell a process's resident memory (VmRSS)")
