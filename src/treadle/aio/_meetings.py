"""Condition and Barrier for tasks."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from treadle._core import PENDING, Waiter
from treadle.aio._locks import Entered, Lock, Recovery, RLock
from treadle.aio._loops import returns_coroutine, surely

if TYPE_CHECKING:
    from types import TracebackType

    from treadle import _sync


class Condition(Entered):
    """A ``treadle.Condition`` for tasks: ``condition.aio``.

    >>> import asyncio, treadle
    >>> condition = treadle.Condition()
    >>> async def main():
    ...     async with condition.aio as entered:
    ...         return await condition.aio.wait(timeout=0.01)
    >>> asyncio.run(main())
    False
    """

    __slots__ = ("_core", "_lock")

    def __init__(self, condition: _sync.Condition) -> None:
        lock = condition._lock
        if not hasattr(lock, "aio"):
            raise TypeError(
                f"a task cannot wait for {type(lock).__module__}.{type(lock).__name__}; "
                "make the condition with a treadle.Lock or treadle.RLock"
            )
        self._core = condition._core
        self._lock: Lock | RLock = lock.aio

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._lock.__aexit__(kind, error, trace)

    @returns_coroutine
    def acquire(
        self, blocking: bool = True, timeout: float | None = -1
    ) -> Coroutine[Any, Any, bool]:
        """Acquires the lock, as its ``aio.acquire``: an RLock for the task that makes this call.

        For a time limit, prefer ``timeout=`` to ``asyncio.wait_for``.
        """
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        """Releases the lock."""
        self._lock.release()

    def locked(self) -> bool:
        """Returns whether somebody holds the lock."""
        return self._lock.locked()

    def recover(self, timeout: float = -1) -> Recovery:
        """As ``treadle.Condition.recover``."""
        return self._lock.recover(timeout)

    @returns_coroutine
    def wait(self, timeout: float | None = None) -> Coroutine[Any, Any, bool]:
        """As ``treadle.Condition.wait``. Cancelled, it raises with the lock held again.

        The task that makes the call holds the lock, before and after, also where another one runs
        the coroutine, as with ``asyncio.wait_for`` before Python 3.12.
        """
        return self._wait(self._lock._caller(), timeout)

    async def _wait(self, owner: Any, timeout: float | None) -> bool:
        if not self._lock._is_owned(owner):
            raise RuntimeError("cannot wait on un-acquired lock")
        core = self._core
        ticket = core._enlist()
        try:
            saved = self._lock._release_save(owner)
            restore = functools.partial(self._lock._restore, saved)
            try:
                try:
                    result = await Waiter(functools.partial(core._attempt, ticket), timeout)
                except GeneratorExit:
                    raise
                except BaseException:
                    await surely(restore)
                    raise
                await surely(restore)
            except GeneratorExit:  # closed, not cancelled: it may not wait, not even for the lock
                self._lock._restore_closed(saved)
                raise
        except BaseException:
            # A notification that came all the same belongs to somebody else.
            if core._cancel(ticket):
                core.notify(1)
            raise
        return result is not PENDING or core._cancel(ticket)

    @returns_coroutine
    def wait_for(
        self, predicate: Callable[[], Any], timeout: float | None = None
    ) -> Coroutine[Any, Any, Any]:
        """As ``treadle.Condition.wait_for``, for the task that makes the call, as ``wait``."""
        return self._wait_for(self._lock._caller(), predicate, timeout)

    async def _wait_for(
        self, owner: Any, predicate: Callable[[], Any], timeout: float | None
    ) -> Any:
        deadline = None if timeout is None else time.monotonic() + timeout
        result = predicate()
        while not result:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            await self._wait(owner, left)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        """As ``treadle.Condition.notify``."""
        if not self._lock._is_owned():
            raise RuntimeError("cannot notify on un-acquired lock")
        self._core.notify(n)

    def notify_all(self) -> None:
        """As ``treadle.Condition.notify_all``."""
        self.notify(0x7FFFFFFF)


class Barrier:
    """A ``treadle.Barrier`` for tasks: ``barrier.aio``.

    >>> import asyncio, treadle
    >>> barrier = treadle.Barrier(2)
    >>> async def main():
    ...     return sorted(await asyncio.gather(barrier.aio.wait(), barrier.aio.wait()))
    >>> asyncio.run(main())
    [0, 1]
    """

    __slots__ = ("_barrier",)

    def __init__(self, barrier: _sync.Barrier) -> None:
        self._barrier = barrier

    async def wait(self, timeout: float | None = None) -> int:
        """As ``treadle.Barrier.wait``; a task that is cancelled breaks the barrier."""
        barrier = self._barrier
        core = barrier._core
        if timeout is None:
            timeout = barrier._timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        arrived = await Waiter(core._attempt_arrive, timeout)
        if arrived is None or arrived is PENDING:
            barrier._fail(timed_out=arrived is PENDING)
        phase, index = arrived
        left = None if deadline is None else deadline - time.monotonic()
        try:
            if index + 1 == barrier.parties:
                if barrier._action is not None:
                    barrier._action()
                passed = True if core._trip(phase) else None
            else:
                passed = await Waiter(functools.partial(core._attempt, phase), left)
        except BaseException:
            core._give_up(phase)
            raise
        if passed is PENDING and core._give_up(phase):
            passed = True
        if passed is not True:
            barrier._fail(timed_out=passed is PENDING)
        return int(index)

    async def __aenter__(self) -> int:
        return await self.wait()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass
