"""A lock that two want all the time: acquisitions a second, both workers together.

Over a fixed time and not for a fixed number, so that a lock that favours one worker cannot leave
the other's share to be done in peace.
"""

from __future__ import annotations

import math
import multiprocessing
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import treadle
from treadle.benchmarks.case import Case, Measure, against
from treadle.benchmarks.units import Unit
from treadle.benchmarks.workers import Job, Run, in_processes, in_threads

_BATCH = 100  # acquisitions between two looks at the clock

Together = Callable[..., list[Run]]


def cases() -> list[Case]:
    """Two threads, and two processes, on one Lock."""
    fork = multiprocessing.get_context("fork")
    return [
        Case(
            name="lock.contended.threads",
            title="Lock wanted by 2 threads, acquisitions",
            unit=Unit.PER_SECOND,
            contenders={
                "treadle shared": _contended(in_threads, partial(treadle.Lock, shared=True)),
                "treadle private": _contended(in_threads, partial(treadle.Lock, shared=False)),
                "multiprocessing.Lock": _contended(in_threads, fork.Lock),
                "threading.Lock": _contended(in_threads, threading.Lock),
            },
            rows=against(
                ["treadle shared", "treadle private"],
                {"multiprocessing.Lock": None, "threading.Lock": None},
            ),
        ),
        Case(
            name="lock.contended.processes",
            title="Lock wanted by 2 processes, acquisitions",
            unit=Unit.PER_SECOND,
            contenders={
                "treadle shared": _contended(in_processes, partial(treadle.Lock, shared=True)),
                "multiprocessing.Lock": _contended(in_processes, fork.Lock),
            },
            rows=against(["treadle shared"], {"multiprocessing.Lock": None}),
        ),
    ]


def _contended(together: Together, make: Callable[[], Any]) -> Measure:
    def measure(seconds: float) -> float:
        lock = make()
        jobs: Sequence[Job] = [lambda: _acquire_for(lock, seconds)] * 2
        runs = together(*jobs)
        return math.fsum(run.result / (run.ended - run.began) for run in runs)

    return measure


def _acquire_for(lock: Any, seconds: float) -> int:
    acquired = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(_BATCH):
            lock.acquire()
            lock.release()
        acquired += _BATCH
    return acquired
