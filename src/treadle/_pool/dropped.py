"""What is done when an object of a pool's is collected: elsewhere, and later.

A collection may begin in any thread at any allocation, also in one that holds a lock of the engine.
So a finalizer takes no lock itself: a thread of its own does what there is to do.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from _thread import start_new_thread
from collections.abc import Callable
from typing import Any

__all__ = ["elsewhere", "when_dropped"]


def when_dropped(subject: object, call: Callable[..., object], *args: Any) -> Any:
    """Have ``call(*args)`` called when the subject is collected, though not at the very end of the
    interpreter, nor in a child of fork. Returns the finalizer.
    """
    finalizer = weakref.finalize(subject, _call_elsewhere, os.getpid(), call, args)
    finalizer.atexit = False
    return finalizer


def elsewhere(call: Callable[..., object], *args: Any) -> None:
    """Have it called by a thread of its own."""
    with contextlib.suppress(RuntimeError):  # the interpreter ends
        start_new_thread(call, args)


def _call_elsewhere(pid: int, call: Callable[..., object], args: tuple[Any, ...]) -> None:
    if os.getpid() == pid:
        elsewhere(call, *args)
