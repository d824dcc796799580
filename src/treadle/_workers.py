"""The threads in which timers' functions run: as many as are busy, up to a bound if there is one.

Prior art: ``concurrent.futures.ThreadPoolExecutor``, whose threads neither end when idle nor may be
daemons. What is taken is a number, so that a timer cancelled meanwhile is held by nobody.
"""

from __future__ import annotations

import threading
from _thread import allocate_lock
from queue import Empty, SimpleQueue

TYPE_CHECKING = False  # type checkers know the name; importing typing takes longer than all of this
if TYPE_CHECKING:
    from collections.abc import Callable

MOST_WORKERS = 32
IDLE_SECONDS = 10.0

_NOTHING = 0  # no serial number


class Workers:
    """Calls ``fire`` with each serial number that it is given, in the order of ``take``.

    ``fire`` says whether the worker goes on. Only one thread may ``take``.
    """

    def __init__(
        self, fire: Callable[[int], bool], daemon: bool, most: float, idle_seconds: float
    ) -> None:
        self.count = 0
        self._fire = fire
        self._daemon = daemon
        self._most = most
        self._idle_seconds = idle_seconds
        self._due: SimpleQueue[int] = SimpleQueue()
        self._unfinished = 0
        self._counts = allocate_lock()  # guards the two; no code of a user's runs under it

    def take(self, serial: int) -> None:
        with self._counts:
            self._unfinished += 1
            grow = self.count < min(self._unfinished, self._most)
            self.count += grow
            alone = self.count == 1
            self._due.put(serial)
        if grow:
            try:
                threading.Thread(
                    target=self._work, name="treadle-timer", daemon=self._daemon
                ).start()
            except RuntimeError:  # the system has no more threads: those that there are must do
                with self._counts:
                    self.count -= 1
                if alone:
                    self._fire(self._due.get())
                    self._finished()

    def end_when_idle(self) -> None:
        """From now on no worker waits for more to do."""
        self._idle_seconds = 0.0
        for _ in range(self.count):
            self._due.put(_NOTHING)

    def _work(self) -> None:
        while True:
            try:
                serial = self._due.get(timeout=self._idle_seconds)
            except Empty:
                serial = _NOTHING
            if serial != _NOTHING:
                if not self._fire(serial):
                    return
                self._finished()
                continue
            with self._counts:
                if self._due.empty():
                    self.count -= 1
                    return

    def _finished(self) -> None:
        with self._counts:
            self._unfinished -= 1
