"""A thread that does what it is told, and how to see that a thread is blocked."""

from __future__ import annotations

import gc
import os
import platform
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import treadle

_FUTEX, _PPOLL = {"x86_64": (202, 271), "aarch64": (98, 73)}[platform.machine()]


class OtherThread:
    """Runs calls one after the other; a daemon, so that a failed test does not hang in it."""

    def __init__(self, name: str | None = None) -> None:
        self._calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    @property
    def native_id(self) -> int:
        assert self._thread.native_id is not None
        return self._thread.native_id

    def start(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Begin a call, of which the Future tells the end."""
        future: Future[Any] = Future()
        self._calls.put((future, function, args))
        return future

    def do(self, function: Callable[..., Any], *args: Any) -> Any:
        """Make a call, and wait for what it returns."""
        return self.start(function, *args).result()

    def dismiss(self) -> None:
        """Let it end when it has nothing left to do, and with it what it refers to.

        Waits for that, but not for ever: a call that hangs is the failure of the test that made it.
        """
        self._calls.put(None)
        self._thread.join(timeout=5)

    def end(self) -> None:
        self._calls.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function, args = call
            try:
                future.set_result(function(*args))
            except BaseException as error:
                future.set_exception(error)


def until(condition: Callable[[], object]) -> None:
    """Return when the condition is true; the watchdog bounds it."""
    while not condition():
        time.sleep(0.001)


def until_parked(thing: Any, native_id: int) -> None:
    """Return when that thread of this process sleeps in the kernel, waiting for the object."""
    until(lambda: is_parked(thing, native_id))


def is_parked(thing: Any, native_id: int) -> bool:
    with open(f"/proc/self/task/{native_id}/syscall") as file:
        call = file.read().split()
    if isinstance(thing, treadle.Connection) and call[0] == str(_PPOLL):
        return True
    if call[0] != str(_FUTEX):
        return False
    word = int(call[1], 16)
    return any(begin <= word < end for begin, end in _places(thing))


def _places(thing: Any) -> list[tuple[int, int]]:
    """Where the words lie that a thread may wait on for the sake of that object."""
    if isinstance(thing, treadle.Connection):
        return _mapped("/memfd:treadle")
    if thing.name is not None:
        return _mapped(os.path.join(os.environ["TREADLE_NAMES_DIR"], "treadle-"))
    if thing.statistics().shared:
        return _mapped("/memfd:treadle")
    if isinstance(thing, (treadle.Barrier, treadle.Queue)):
        return _mapped("")  # anonymous memory: the C library's heap
    if isinstance(thing, treadle.Condition):
        return [*_inside(thing._core), *_inside(thing._lock)]
    if isinstance(thing, treadle.Queue):
        return [area for store in gc.get_referents(thing) for area in _inside(store)]
    return _inside(thing)


def _inside(thing: Any) -> list[tuple[int, int]]:
    return [(id(thing), id(thing) + type(thing).__basicsize__)]


def _mapped(prefix: str) -> list[tuple[int, int]]:
    """The areas that are mapped from a file of such a name; without one, the anonymous ones."""
    found = []
    with open("/proc/self/maps") as file:
        for line in file:
            area, *_, path = (*line.split(maxsplit=5), "")[:6]
            if path.startswith(prefix) if prefix else path.strip() in ("", "[heap]"):
                begin, end = area.split("-")
                found.append((int(begin, 16), int(end, 16)))
    return found
