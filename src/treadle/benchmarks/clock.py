"""Timing loops: statements by the thousand, with the cost of the loop itself taken off.

The statement is compiled into the body of the loop, as `timeit` does, so that no call of ours is
part of the figure. `timeit` itself will not do: the empty loop has to be timed beside each chunk.
"""

from __future__ import annotations

import gc
import statistics
import textwrap
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from itertools import repeat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Timer = Callable[[], float]

_CHUNK_SECONDS = (
    0.01  # shorter than a scheduler's slice, so that most chunks are run without preemption
)
_FEWEST_CHUNKS = 5


def seconds_per_operation(
    statement: str, names: Mapping[str, Any], seconds: float, *, timer: Timer = time.perf_counter
) -> float:
    """Time of one `statement`, the empty loop subtracted, the garbage collector off.

    It is the median over many short chunks. `names` are the statement's variables, which are locals
    of the loop. `seconds` is how long to go on, about.

    >>> seconds_per_operation("x.append(1); x.pop()", {"x": []}, seconds=0.01) < 1e-3
    True
    """
    loop, empty = _compile_loop(statement, names), _compile_loop("pass", {})
    chunk = min(_CHUNK_SECONDS, seconds / (2 * _FEWEST_CHUNKS))
    with _garbage_collector_off():
        number, _ = lasting(lambda n: loop(repeat(None, n), timer, **names), chunk, start=100)
        empty(repeat(None, number), timer)  # the interpreter specialises a loop while it first runs
        differences = [
            loop(repeat(None, number), timer, **names) - empty(repeat(None, number), timer)
            for _ in range(max(_FEWEST_CHUNKS, round(seconds / (2 * chunk))))
        ]
    return statistics.median(differences) / number


def lasting(run: Callable[[int], float], seconds: float, *, start: int) -> tuple[int, float]:
    """Call `run(n)`, which returns the seconds it took, with growing n until that is enough.

    Enough is half of `seconds`. Returns the last n and its time. The shorter runs before it are the
    warm-up.
    """
    number = start
    while True:
        elapsed = run(number)
        if elapsed >= seconds / 2:
            return number, elapsed
        factor = seconds / elapsed if elapsed > 0 else _GROWTH
        number = int(number * min(_GROWTH, max(2.0, factor)))


def rate(run: Callable[[int], float], seconds: float, *, start: int) -> float:
    """Operations a second, where `run(n)` does n of them and n grows as in `lasting`."""
    number, elapsed = lasting(run, seconds, start=start)
    return number / elapsed


_GROWTH = 16.0  # a first, cold run says little about the speed: approach the goal in steps


def _compile_loop(statement: str, names: Mapping[str, Any]) -> Callable[..., float]:
    parameters = ", ".join(["_iterations", "_timer", *names])
    body = textwrap.indent(statement, " " * 8)
    source = (
        f"def loop({parameters}):\n"
        "    _began = _timer()\n"
        "    for _ in _iterations:\n"
        f"{body}\n"
        "    return _timer() - _began\n"
    )
    namespace: dict[str, Any] = {}
    exec(compile(source, "<timed loop>", "exec"), namespace)
    loop: Callable[..., float] = namespace["loop"]
    return loop


@contextmanager
def _garbage_collector_off() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
