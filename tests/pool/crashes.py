"""What can go wrong (CRASHES), and where: objects that do it when they are pickled, or rebuilt."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn


class Wrong(Exception):
    """What goes wrong in the cells of that name."""


def _kill(number: signal.Signals) -> NoReturn:
    faulthandler.disable()  # no stacks on stderr: it is meant
    os.kill(os.getpid(), number)
    raise AssertionError("it was killed")


def segfault() -> NoReturn:
    _kill(signal.SIGSEGV)


def be_killed() -> NoReturn:
    _kill(signal.SIGKILL)


def leave() -> NoReturn:
    os._exit(3)


def exit_python() -> NoReturn:
    sys.exit(3)


def err() -> NoReturn:
    raise Wrong("as it was to be")


def hang() -> NoReturn:
    while True:  # comes back to Python code, where a thread can be stopped
        time.sleep(0.001)


def take_all_memory() -> NoReturn:
    bytearray(1 << 45)
    raise AssertionError("there was enough")


CRASHES: dict[str, Callable[[], NoReturn]] = {
    "SIGSEGV": segfault,
    "SIGKILL": be_killed,
    "_exit": leave,
    "sys.exit": exit_python,
    "error": err,
    "hang": hang,
    "memory": take_all_memory,
}


class Fine:
    """Can be sent, called, and squares."""

    def __call__(self, *ignored: object) -> int:
        return 49


class WhenPickled(Fine):
    def __init__(self, crash: str) -> None:
        self.crash = crash

    def __reduce__(self) -> Any:
        CRASHES[self.crash]()


class WhenRebuilt(Fine):
    def __init__(self, crash: str) -> None:
        self.crash = crash

    def __reduce__(self) -> Any:
        return CRASHES[self.crash], ()


class WhenCalled(Fine):
    def __init__(self, crash: str) -> None:
        self.crash = crash

    def __call__(self, *ignored: object) -> int:
        CRASHES[self.crash]()


def ignore(item: object) -> int:
    """The function of those whose argument is what goes wrong."""
    return 49


def make(item: object) -> object:
    """The function of those whose result is what goes wrong: ``(class, crash)``."""
    if isinstance(item, tuple):
        kind, crash = item
        return kind(crash)
    return 49


def initialize(crash: str, gate: Any) -> None:
    """Goes wrong unless the gate, an event, is set."""
    if not gate.is_set():
        CRASHES[crash]()
