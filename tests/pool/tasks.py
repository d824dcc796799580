"""Functions that the tests have called by workers: quickly imported, for those that are spawned."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any, NoReturn

import treadle


def square(x: int) -> int:
    return x * x


def positive_square(x: int) -> int:
    if x < 0:
        raise ValueError(f"{x} is negative")
    return x * x


def fail(*args: Any) -> NoReturn:
    raise LookupError(*args)


def where() -> tuple[int, int]:
    """The worker's number, and its process."""
    return treadle.current_worker().index, os.getpid()


def pid(*ignored: object) -> int:
    return os.getpid()


# ---- Told by events


def wait_for(go: treadle.Event, value: Any = None) -> Any:
    go.wait()
    return value


def begin_and_wait(began: treadle.Event, go: treadle.Event, value: Any = None) -> Any:
    began.set()
    go.wait()
    return value


def begin_and_stay(began: treadle.Event) -> NoReturn:
    """Until it is stopped: a thread can be, since it comes back to Python code time and again."""
    began.set()
    while True:
        time.sleep(0.001)


def put_and_stay(begun: treadle.Queue, *ignored: object) -> NoReturn:
    begun.put(os.getpid())
    while True:
        time.sleep(0.001)


def stay_if(bad: bool) -> bool:
    if bad:
        begin_and_stay(treadle.Event())
    return bad


def note(done: treadle.Queue, x: Any) -> Any:
    done.put(x)
    return x


# ---- Again and again


def fail_until(attempts: treadle.Queue, last: int) -> int:
    """Fails but for the attempt of that number."""
    attempts.put(time.monotonic())
    if (number := attempts.qsize()) < last:
        raise LookupError(f"attempt {number}")
    return number


def die_until(attempts: treadle.Queue, last: int, die: Callable[[], object]) -> int:
    """The worker dies but for the attempt of that number."""
    attempts.put(os.getpid())
    if (number := attempts.qsize()) < last:
        die()
    return number


def kill_self(*ignored: object) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("it was killed")
