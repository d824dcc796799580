"""Event and Latch for tasks."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from treadle._core import PENDING, Waiter

if TYPE_CHECKING:
    from treadle import _core


class Event:
    """A ``treadle.Event`` for tasks: ``event.aio``.

    >>> import asyncio, treadle
    >>> asyncio.run(treadle.Event().aio.wait(timeout=0.01))
    False
    """

    __slots__ = ("_event",)

    def __init__(self, event: _core.Event) -> None:
        self._event = event

    async def wait(self, timeout: float | None = None) -> bool:
        """As ``treadle.Event.wait``."""
        if self._event.is_set():
            return True
        attempt = functools.partial(self._event._attempt, self._event._epoch())
        return await Waiter(attempt, timeout) is not PENDING

    def set(self) -> None:
        """As ``treadle.Event.set``."""
        self._event.set()

    def clear(self) -> None:
        """As ``treadle.Event.clear``."""
        self._event.clear()

    def is_set(self) -> bool:
        """As ``treadle.Event.is_set``."""
        return self._event.is_set()


class Latch:
    """A ``treadle.Latch`` for tasks: ``latch.aio``.

    >>> import asyncio, treadle
    >>> asyncio.run(treadle.Latch(1).aio.wait(timeout=0.01))
    False
    """

    __slots__ = ("_latch",)

    def __init__(self, latch: _core.Latch) -> None:
        self._latch = latch

    async def wait(self, timeout: float | None = None) -> bool:
        """As ``treadle.Latch.wait``."""
        return await Waiter(self._latch._attempt, timeout) is not PENDING

    def count_down(self, n: int = 1) -> None:
        """As ``treadle.Latch.count_down``."""
        self._latch.count_down(n)

    @property
    def count(self) -> int:
        """As ``treadle.Latch.count``."""
        return self._latch.count
