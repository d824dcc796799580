"""What the standard modules have and the drop-ins lack: ``python -m tests.dropins.exports``.

Names in the modules, and public attributes of what is made by them. Needs nothing but treadle, so
that it runs on every interpreter on the machine.
"""

from __future__ import annotations

import asyncio as standard_asyncio
import queue as standard_queue
import sys
import threading as standard_threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import treadle.asyncio
import treadle.queue
import treadle.threading

_PAIRS: list[tuple[ModuleType, ModuleType]] = [
    (standard_threading, treadle.threading),
    (standard_queue, treadle.queue),
    (standard_asyncio, treadle.asyncio),
]
_ARGUMENTS: dict[str, tuple[Any, ...]] = {"Barrier": (2,), "Timer": (1, print)}

# Undocumented synonyms.
NOT_APPLICABLE = {"Lock": {"acquire_lock", "locked_lock", "release_lock"}}


def missing() -> Iterator[str]:
    for standard, ours in _PAIRS:
        for name in set(dir(standard)) - {"__path__"}:  # a drop-in is no package
            if not hasattr(ours, name):
                yield f"{ours.__name__} has no {name}"
            elif name not in dir(ours):
                yield f"dir({ours.__name__}) does not show {name}"
        for name in set(standard.__all__) - set(ours.__all__):
            yield f"{ours.__name__}.__all__ has no {name}"
        for name in standard.__all__:
            yield from _missing_in(name, getattr(standard, name), getattr(ours, name))


def _missing_in(name: str, standard: Any, ours: Any) -> Iterator[str]:
    """A class, or a factory, of ours in place of the standard one."""
    if standard is ours or not callable(standard) or _is_exception(standard):
        return
    arguments = _ARGUMENTS.get(name, ())
    theirs, mine = standard(*arguments), ours(*arguments)
    for attribute in dir(theirs):
        if attribute.startswith("_") or attribute in NOT_APPLICABLE.get(name, ()):
            continue
        if not hasattr(mine, attribute):
            yield f"{ours.__module__}.{name} has no {attribute}"


def _is_exception(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)


def main() -> int:
    lacks = sorted(missing())
    print("\n".join(lacks) or "nothing is missing")
    return 1 if lacks else 0


if __name__ == "__main__":
    sys.exit(main())
