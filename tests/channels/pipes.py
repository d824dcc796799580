"""Ends of pipes in threads and processes of the tests."""

from __future__ import annotations

import os
import platform
import select
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import treadle

_SLEEPS = {"x86_64": ("271", "202"), "aarch64": ("73", "98")}[platform.machine()]  # ppoll, futex


class Answer:
    """What a call in a thread of its own returns or raises."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(function, *args), daemon=True)
        self._thread.start()

    def _run(self, function: Callable[..., Any], *args: Any) -> None:
        try:
            self._value = function(*args)
        except BaseException as error:
            self._error = error

    def get(self) -> Any:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value

    def until_asleep(self) -> None:
        """Return when its thread sleeps in poll(2) or on a futex; the watchdog bounds it."""
        call = Path(f"/proc/self/task/{self._thread.native_id}/syscall")
        while call.read_text().split()[0] not in _SLEEPS:
            os.sched_yield()


def until_waiting(end: treadle.Connection, number: int = 1) -> None:
    """Return when so many threads, of any process, wait at either end."""
    while end.statistics().waiting < number:
        os.sched_yield()


def is_readable(end: treadle.Connection) -> bool:
    return bool(select.select([end], [], [], 0)[0])


def fill(end: treadle.Connection) -> int:
    """Send until there is room for no more; returns how many messages that took."""
    size = 1 << 16
    count = 0
    while end.statistics().outgoing_bytes + size < 4 << 20:
        end.send_bytes(bytes(size - 1000))
        count += 1
    return count
