"""What shared locks cost to have: bytes, creation, what a million leave, what others feel of it."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import treadle
from treadle.benchmarks.case import Case, Comparison, Limit, Measure, Unavailable, against
from treadle.benchmarks.clock import seconds_per_operation
from treadle.benchmarks.units import Unit

_COUNTED = (
    500_000  # enough for the step in which the arena reserves memory to weigh a few bytes a lock
)
_MILLION = 1_000_000
_LIVE = 100_000
_NO_GROWTH_BYTES = 256 * 1024  # what the interpreter's own allocator may shift
_NO_SLOWDOWN = 1.1  # room for the caches, which other objects share


def cases() -> list[Case]:
    """Size, creation, growth, and speed beside 100,000 live locks."""
    fork = multiprocessing.get_context("fork")
    return [
        Case(
            name="lock.bytes",
            title="Memory of a shared Lock outside its process",
            unit=Unit.BYTES,
            contenders={"treadle shared": _arena_bytes_per_lock},
            rows=(Limit("treadle shared", 128),),
            rounds=1,
        ),
        Case(
            name="lock.create",
            title="Lock created and dropped",
            unit=Unit.SECONDS,
            contenders={
                "treadle shared": _created_and_dropped(treadle.Lock),
                "multiprocessing.Lock": _created_and_dropped(fork.Lock),
                "threading.Lock": _created_and_dropped(threading.Lock),
            },
            rows=(
                Limit("treadle shared", 1.5e-6),
                *against(
                    ["treadle shared"], {"multiprocessing.Lock": None, "threading.Lock": None}
                ),
            ),
        ),
        Case(
            name="lock.million",
            title="Growth after a million shared Locks made and dropped",
            unit=Unit.BYTES,
            contenders={"treadle shared": _growth_of_a_million},
            rows=(Limit("treadle shared", _NO_GROWTH_BYTES),),
            rounds=1,
        ),
        _beside_live_locks(
            "live.lock", "Lock acquire + release beside 100,000", "x.acquire(); x.release()"
        ),
        _beside_live_locks("live.create", "Lock created and dropped beside 100,000", "make()"),
    ]


def _arena_bytes_per_lock(_seconds: float) -> float:
    first = treadle.Lock()  # the arena comes with it
    before = _memory_file_bytes()
    locks = [treadle.Lock() for _ in range(_COUNTED)]
    grown = _memory_file_bytes() - before
    del first, locks
    return grown / _COUNTED


def _created_and_dropped(make: Callable[[], Any]) -> Measure:
    return lambda seconds: seconds_per_operation("make()", {"make": make}, seconds)


def _growth_of_a_million(_seconds: float) -> float:
    """Growth of memory file and private memory, over what the first 10,000 locks had needed."""
    for _ in range(10_000):
        treadle.Lock()
    before = _memory_file_bytes() + private_bytes()
    for _ in range(_MILLION):
        treadle.Lock()
    return float(_memory_file_bytes() + private_bytes() - before)


def _beside_live_locks(name: str, title: str, statement: str) -> Case:
    def measure(live: int) -> Measure:
        def timed(seconds: float) -> float:
            locks = [treadle.Lock() for _ in range(live)]
            names = {"x": treadle.Lock(), "make": treadle.Lock}
            duration = seconds_per_operation(statement, names, seconds)
            del locks
            return duration

        return timed

    alone, crowded = "treadle alone", "treadle beside 100,000"
    return Case(
        name=name,
        title=title,
        unit=Unit.SECONDS,
        contenders={crowded: measure(_LIVE), alone: measure(0)},
        rows=(Comparison(crowded, alone, _NO_SLOWDOWN),),
    )


def _memory_file_bytes() -> int:
    """Memory that the kernel has given to the memory files this process holds open.

    Seen from outside and not asked of treadle, so that the figure does not rest on its own books.
    """
    total = 0
    found = False
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if os.readlink(entry).startswith("/memfd:"):
                total += os.stat(entry).st_blocks * 512
                found = True
        except FileNotFoundError:
            continue  # the descriptor of this very listing
    if not found:
        raise Unavailable("no memory file is open, so there is nothing to weigh")
    return total


def private_bytes() -> int:
    """Memory of this process that no other can see."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise Unavailable("this kernel does not tell a process's private memory (RssAnon)")
