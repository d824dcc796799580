"""Calls that no program should make: internals with None, objects that no ``__init__`` has made.

They may do what they like, but crash.
"""

from __future__ import annotations

import faulthandler
import importlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from treadle import _core

_ROOT = Path(__file__).parents[2]


class _Enough(Exception):
    pass


def _classes() -> list[type]:
    """All native ones; those whose ``__new__`` wants arguments are made by functions of theirs."""
    found = {each for each in vars(_core).values() if isinstance(each, type)}
    return sorted(
        (each for each in found if each.__module__.startswith("treadle")),
        key=lambda each: (each.__name__, each.__module__),
    )


@pytest.mark.slow
def test_no_call_crashes() -> None:
    program = [sys.executable, "-m", "tests.stress.test_rubbish"]
    told = subprocess.run(program, cwd=_ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    calls = int(told.stdout)
    assert calls > 1000


# ---- In a process of its own


# What treadle imports late: an import that is interrupted leaves half a module behind.
_LATE = [
    "asyncio",
    "cloudpickle",
    "heapq",
    "multiprocessing.reduction",
    "treadle._records",
    "treadle.aio",
]


def _main() -> None:
    faulthandler.enable()
    for module in _LATE:
        importlib.import_module(module)
    signal.signal(signal.SIGALRM, _enough)
    print(sum(_call_all(each) for each in _classes()))


def _call_all(of: type) -> int:
    calls = 0
    for name in _methods(of):
        for count in range(4):
            thing = _unmade(of)
            if thing is None:
                return 0
            with suppress(_Enough):
                _call(getattr(type(thing), name), thing, *[None] * count)
            calls += 1
    return calls


def _methods(of: type) -> Iterator[str]:
    for base in of.__mro__[:-1]:
        for name, what in vars(base).items():
            if name in ("__new__", "__init_subclass__", "__subclasshook__"):
                continue
            if callable(what) or hasattr(what, "__get__"):
                yield name


def _unmade(of: type) -> Any:
    try:
        return of.__new__(of)
    except (TypeError, RuntimeError):
        return None


def _call(function: Any, *arguments: Any) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.02)  # some wait, and rightly so
    try:
        if callable(function):
            function(*arguments)
        else:  # a property
            function.__get__(arguments[0])
    except Exception:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _enough(*_: object) -> None:
    raise _Enough


if __name__ == "__main__":
    _main()
