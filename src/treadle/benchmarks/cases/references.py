"""Queues that pass references within one process, and conditions: one thread, and two."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import treadle
import treadle.queue
import treadle.threading
from treadle.benchmarks.case import Case, against
from treadle.benchmarks.cases.operations import measure
from treadle.benchmarks.cases.throughput import transfer
from treadle.benchmarks.clock import lasting
from treadle.benchmarks.units import Unit
from treadle.benchmarks.workers import elapsed, in_threads

_PUT_GET = "x.put(1); x.get()"
_FIRST_TRIPS = 100

_private_queue = partial(treadle.Queue, shared=False)


def cases() -> list[Case]:
    """Put and get in one thread, a queue and a condition between two."""
    return [
        Case(
            name="queue.same-thread",
            title="Queue put + get of an int, same thread",
            unit=Unit.SECONDS,
            contenders={
                "treadle private": measure(_PUT_GET, _private_queue),
                "treadle.queue.Queue": measure(_PUT_GET, treadle.queue.Queue),
                # By value: beside those who pass references it is only shown.
                "treadle shared": measure(_PUT_GET, treadle.Queue),
                "queue.Queue": measure(_PUT_GET, queue.Queue),
                "queue.SimpleQueue": measure(_PUT_GET, queue.SimpleQueue),
            },
            rows=(
                *against(
                    ["treadle private", "treadle.queue.Queue"],
                    {"queue.Queue": 1 / 15, "queue.SimpleQueue": 1.2},
                ),
                *against(["treadle shared"], {"queue.Queue": None, "queue.SimpleQueue": None}),
            ),
        ),
        _ordered("PriorityQueue", treadle.PriorityQueue, treadle.queue.PriorityQueue),
        _ordered("LifoQueue", treadle.LifoQueue, treadle.queue.LifoQueue),
        Case(
            name="queue.threads",
            title="Queue of small ints, 1 to 1 thread",
            unit=Unit.PER_SECOND,
            contenders={
                "treadle private": transfer(_private_queue, 7, in_threads),
                "treadle.queue.Queue": transfer(treadle.queue.Queue, 7, in_threads),
                "treadle shared": transfer(treadle.Queue, 7, in_threads),
                "queue.Queue": transfer(queue.Queue, 7, in_threads),
                "queue.SimpleQueue": transfer(queue.SimpleQueue, 7, in_threads),
            },
            rows=(
                *against(
                    ["treadle private", "treadle.queue.Queue"],
                    {"queue.SimpleQueue": 1, "queue.Queue": None},
                ),
                *against(["treadle shared"], {"queue.SimpleQueue": None, "queue.Queue": None}),
            ),
        ),
        Case(
            name="condition.threads",
            title="Condition wait + notify, round trip between 2 threads",
            unit=Unit.SECONDS,
            contenders={
                "treadle private": _ping_pong(partial(treadle.Condition, shared=False)),
                "treadle.threading.Condition": _ping_pong(treadle.threading.Condition),
                "treadle shared": _ping_pong(treadle.Condition),
                "threading.Condition": _ping_pong(threading.Condition),
            },
            rows=against(
                ["treadle private", "treadle.threading.Condition", "treadle shared"],
                {"threading.Condition": 1 / 2},
            ),
        ),
    ]


def _ordered(kind: str, treadle_kind: Callable[..., Any], drop_in: Callable[..., Any]) -> Case:
    rival = f"queue.{kind}"
    return Case(
        name=f"{kind.lower()}.same-thread",
        title=f"{kind} put + get of an int, same thread",
        unit=Unit.SECONDS,
        contenders={
            "treadle private": measure(_PUT_GET, partial(treadle_kind, shared=False)),
            f"treadle.queue.{kind}": measure(_PUT_GET, drop_in),
            "treadle shared": measure(_PUT_GET, treadle_kind),
            rival: measure(_PUT_GET, getattr(queue, kind)),
        },
        rows=(
            *against(["treadle private", f"treadle.queue.{kind}"], {rival: 1 / 8}),
            *against(["treadle shared"], {rival: None}),
        ),
    )


def _ping_pong(make: Callable[[], Any]) -> Callable[[float], float]:
    """Two threads take turns; each waits for its own and notifies the other."""

    def run(number: int) -> float:
        condition = make()
        turn = 0

        def play(mine: int) -> None:
            nonlocal turn
            with condition:
                for _ in range(number):
                    while turn != mine:
                        condition.wait()
                    turn = 1 - mine
                    condition.notify()

        return elapsed(in_threads(partial(play, 0), partial(play, 1)))

    def timed(seconds: float) -> float:
        number, duration = lasting(run, seconds, start=_FIRST_TRIPS)
        return duration / number

    return timed
