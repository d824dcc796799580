"""A clock that stands still until a test moves it, and knows when the scheduler sleeps on it."""

from __future__ import annotations

import threading

from treadle._timers import Clock


class HandClock(Clock):
    """Time is what the test says; ``settled`` returns when the scheduler has done all there is."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1000.0
        self.rings = 0
        self.wakes_at: float | None = None  # None: awake
        self._rung = False
        self._changed = threading.Condition()

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        with self._changed:
            self.wakes_at = self.time + seconds
            self._changed.notify_all()
            self._changed.wait_for(self._is_due)
            self._rung = False
            self.wakes_at = None

    def _is_due(self) -> bool:
        return self._rung or (self.wakes_at is not None and self.time >= self.wakes_at)

    def ring(self) -> None:
        with self._changed:
            self.rings += 1
            self._rung = True
            self._changed.notify_all()

    def advance(self, seconds: float) -> None:
        with self._changed:
            self.time += seconds
            self._changed.notify_all()

    def settled(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.wakes_at is not None and not self._is_due())
