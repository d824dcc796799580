"""Process and Thread for tasks.

The end of a process is seen by its descriptors, which the loop watches; that of a thread is told by
the thread itself.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from treadle._core import Event
from treadle.aio._loops import readable

if TYPE_CHECKING:
    from treadle._running import processes, threads

_SHORTEST, _LONGEST = 0.001, 0.05  # seconds between two looks at a thread


class Process:
    """A ``treadle.Process`` for tasks: ``process.aio``.

    >>> import asyncio, treadle
    >>> process = treadle.Process(target=divmod, args=(7, 2))
    >>> process.start()
    >>> asyncio.run(process.aio.result())
    (3, 1)
    """

    __slots__ = ("_process",)

    def __init__(self, process: processes.Process) -> None:
        self._process = process

    async def join(self, timeout: float | None = None) -> None:
        """As ``treadle.Process.join``."""
        await self._ends_within(timeout)

    async def result(self, timeout: float | None = None) -> Any:
        """As ``treadle.Process.result``."""
        return (await self._outcome_in(timeout)).unwrap()

    async def exception(self, timeout: float | None = None) -> BaseException | None:
        """As ``treadle.Process.exception``."""
        error: BaseException | None = (await self._outcome_in(timeout)).error
        return error

    async def _outcome_in(self, timeout: float | None) -> Any:
        self._process._check_asked()
        if not await self._ends_within(timeout):
            raise self._process._still_runs(timeout)
        return self._process._outcome_in(None)

    async def _ends_within(self, timeout: float | None) -> bool:
        if self._process._ends_within(0):
            return True
        descriptor = self._process._opened_end()
        try:
            await readable(descriptor, timeout)
        finally:
            os.close(descriptor)
        return self._process._ends_within(0)


class Thread:
    """A ``treadle.Thread`` for tasks: ``thread.aio``.

    >>> import asyncio, treadle
    >>> thread = treadle.Thread(target=sum, args=([1, 2, 3],))
    >>> thread.start()
    >>> asyncio.run(thread.aio.result())
    6
    """

    __slots__ = ("_thread",)

    def __init__(self, thread: threads.Thread) -> None:
        self._thread = thread

    async def join(self, timeout: float | None = None) -> None:
        """As ``treadle.Thread.join``."""
        self._thread.join(0)
        deadline = None if timeout is None else time.monotonic() + timeout
        await self._runs_no_more(timeout)
        pause = _SHORTEST
        while self._thread.is_alive():
            if deadline is not None:
                pause = min(pause, deadline - time.monotonic())
                if pause <= 0:
                    return
            await Event(shared=False).aio.wait(pause)
            pause = min(2 * pause, _LONGEST)

    async def result(self, timeout: float | None = None) -> Any:
        """As ``treadle.Thread.result``."""
        return (await self._outcome_in(timeout)).unwrap()

    async def exception(self, timeout: float | None = None) -> BaseException | None:
        """As ``treadle.Thread.exception``."""
        error: BaseException | None = (await self._outcome_in(timeout)).error
        return error

    async def _outcome_in(self, timeout: float | None) -> Any:
        self._thread._check_asked()
        if not await self._runs_no_more(timeout):
            await self.join(timeout)
            if self._thread.is_alive():
                raise self._thread._still_runs(timeout)
        return self._thread._outcome_so_far()

    async def _runs_no_more(self, timeout: float | None) -> bool:
        """Whether it has told within the time; one with a ``run`` of its own need not tell."""
        thread = self._thread
        if not thread.is_alive() or thread._tells is None:
            return not thread.is_alive()
        return await thread._tells.aio.wait(timeout)
