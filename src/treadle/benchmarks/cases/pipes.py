"""Pipes between two processes: round trips of small messages, throughput of large ones."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

import treadle
from treadle.benchmarks.case import Case, Measure, against
from treadle.benchmarks.clock import lasting, rate
from treadle.benchmarks.units import Unit
from treadle.benchmarks.workers import elapsed, in_processes

MakePipe = Callable[[], Any]

_MEBIBYTE = bytes(range(256)) * 4096
_FIRST_TRIPS = 100
_FIRST_MESSAGES = 20


def cases() -> list[Case]:
    """An int there and back, 1 MiB messages one way; with a selector, too."""
    return [
        Case(
            name="pipe.round-trip",
            title="Round trip of an int through a Pipe",
            unit=Unit.SECONDS,
            contenders={
                "treadle": _round_trip(treadle.Pipe),
                "treadle exposed": _round_trip(_exposed),
                "multiprocessing.Pipe": _round_trip(multiprocessing.Pipe),
            },
            rows=(
                *against(["treadle"], {"multiprocessing.Pipe": 1 / 4}),
                *against(["treadle exposed"], {"multiprocessing.Pipe": None}),
            ),
        ),
        Case(
            name="pipe.bytes",
            title="Pipe of 1 MiB bytes messages, 1 to 1",
            unit=Unit.BYTES_PER_SECOND,
            contenders={
                "treadle": _stream(treadle.Pipe),
                "multiprocessing.Pipe": _stream(multiprocessing.Pipe),
            },
            rows=against(["treadle"], {"multiprocessing.Pipe": 4}),
        ),
    ]


def _exposed() -> Any:
    """Both ends with a selector somewhere: each message to an empty end costs a system call."""
    ends = treadle.Pipe()
    for end in ends:
        end.fileno()
    return ends


def _round_trip(make: MakePipe) -> Measure:
    def run(number: int) -> float:
        here, there = make()

        def ask() -> None:
            for _ in range(number):
                here.send(7)
                here.recv()

        def answer() -> None:
            for _ in range(number):
                there.send(there.recv())

        return elapsed(in_processes(ask, answer))

    def measure(seconds: float) -> float:
        number, duration = lasting(run, seconds, start=_FIRST_TRIPS)
        return duration / number

    return measure


def _stream(make: MakePipe) -> Measure:
    def run(number: int) -> float:
        here, there = make()

        def send() -> None:
            for _ in range(number):
                here.send_bytes(_MEBIBYTE)

        def receive() -> None:
            for _ in range(number):
                received = there.recv_bytes()
            if received != _MEBIBYTE:
                raise AssertionError("what came is not what was sent")

        return elapsed(in_processes(send, receive))

    return lambda seconds: rate(run, seconds, start=_FIRST_MESSAGES) * len(_MEBIBYTE)
