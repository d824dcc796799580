"""Round trips between two processes: one sends, the other answers, nothing else is under way."""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import treadle
from treadle.benchmarks.case import Case, Measure, Unavailable, against
from treadle.benchmarks.cases.throughput import faster_fifo_queue, multiprocessing_queue
from treadle.benchmarks.clock import lasting
from treadle.benchmarks.units import Unit
from treadle.benchmarks.workers import elapsed, in_processes

_FIRST_TRIPS = 100


def cases() -> list[Case]:
    """A round trip of a small int through two queues, beside the least that a futex can do."""
    return [
        Case(
            name="round-trip",
            title="Round trip of an int between 2 processes",
            unit=Unit.SECONDS,
            contenders={
                "treadle": _through_queues(treadle.Queue),
                "multiprocessing.Queue": _through_queues(multiprocessing_queue),
                "C futex": _futex,
                "faster-fifo": _through_queues(faster_fifo_queue),
                "multiprocessing.Pipe": _through_pipe,
            },
            rows=against(
                ["treadle"],
                {
                    "multiprocessing.Queue": 1 / 6,
                    "C futex": 3,
                    "faster-fifo": None,
                    "multiprocessing.Pipe": None,
                },
            ),
        )
    ]


def _through_queues(make: Callable[[], Any]) -> Measure:
    def run(number: int) -> float:
        there, back = make(), make()

        def ask() -> None:
            for _ in range(number):
                there.put(7)
                back.get()

        def answer() -> None:
            for _ in range(number):
                back.put(there.get())

        return elapsed(in_processes(ask, answer))

    return lambda seconds: _trip(run, seconds)


def _through_pipe(seconds: float) -> float:
    def run(number: int) -> float:
        here, there = multiprocessing.Pipe()

        def ask() -> None:
            for _ in range(number):
                here.send(7)
                here.recv()

        def answer() -> None:
            for _ in range(number):
                there.send(there.recv())

        return elapsed(in_processes(ask, answer))

    return _trip(run, seconds)


def _trip(run: Callable[[int], float], seconds: float) -> float:
    number, duration = lasting(run, seconds, start=_FIRST_TRIPS)
    return duration / number


def _futex(seconds: float) -> float:
    """The C program beside this package, built with the machine's own compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise Unavailable("no C compiler (cc) to build the futex ping-pong with")
    source = resources.files("treadle.benchmarks") / "futex_ping_pong.c"
    with resources.as_file(source) as path, tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "futex_ping_pong"
        subprocess.run([compiler, "-O2", "-o", str(program), str(path)], check=True)

        def run(number: int) -> float:
            done = subprocess.run(
                [str(program), str(number)], check=True, stdout=subprocess.PIPE, text=True
            )
            return float(done.stdout)

        return _trip(run, seconds)
