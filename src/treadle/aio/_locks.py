"""Lock, RLock, RWLock and Semaphore for tasks."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from treadle._core import PENDING, ReadPlace, TaskIdentity, Waiter
from treadle.aio._loops import identity_of_caller, identity_of_task, returns_coroutine

if TYPE_CHECKING:
    from types import TracebackType

    from treadle import _core


def _acquire_timeout(blocking: bool, timeout: float | None) -> float | None:
    """The timeout of ``acquire(blocking, timeout)``; None is for ever."""
    if timeout is None or timeout == -1:
        return None if blocking else 0
    if not blocking:
        raise ValueError("can't specify a timeout for a non-blocking call")
    if timeout < 0:
        raise ValueError("timeout value must be a non-negative number")
    return timeout


class Recovery:
    """``async with lock.aio.recover()``."""

    __slots__ = ("_recovery", "_timeout")

    def __init__(self, recovery: Any, timeout: float) -> None:
        self._recovery = recovery
        self._timeout = _acquire_timeout(True, timeout)

    async def __aenter__(self) -> bool:
        needed = PENDING
        try:
            needed = await Waiter(self._recovery._attempt, self._timeout)
        finally:
            if needed is PENDING:
                self._recovery._give_up()
        if needed is PENDING:
            self._recovery._too_late()
        return bool(needed)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._recovery.__exit__(kind, error, trace)


class Entered:
    """``async with``, for what has ``acquire`` and ``release``."""

    __slots__ = ()

    if TYPE_CHECKING:
        acquire: Callable[..., Awaitable[bool]]
        release: Callable[..., None]

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class Lock(Entered):
    """A ``treadle.Lock`` for tasks: ``lock.aio``.

    Tasks are served in order among themselves, but not before threads: beside threads that release
    the lock and take it again at once, a task may wait for seconds.

    >>> import asyncio, treadle
    >>> lock = treadle.Lock()
    >>> async def main():
    ...     async with lock.aio:
    ...         return lock.locked()
    >>> asyncio.run(main())
    True
    """

    __slots__ = ("_lock",)

    def __init__(self, lock: _core.Lock) -> None:
        self._lock = lock

    async def acquire(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """As ``treadle.Lock.acquire``."""
        left = _acquire_timeout(blocking, timeout)
        if self._lock._try():
            return True
        if left == 0:
            return self._lock.acquire(False)
        return await Waiter(self._lock._attempt, left) is not PENDING

    def release(self) -> None:
        """As ``treadle.Lock.release``."""
        self._lock._release_for_task()

    def locked(self) -> bool:
        """As ``treadle.Lock.locked``."""
        return self._lock.locked()

    def recover(self, timeout: float = -1) -> Recovery:
        """As ``treadle.Lock.recover``: returns an asynchronous context manager.

        >>> import asyncio, treadle
        >>> async def main():
        ...     async with treadle.Lock().aio.recover() as needed:
        ...         return needed
        >>> asyncio.run(main())
        False
        """
        return Recovery(self._lock._recovery_for_task(), timeout)

    # What a condition asks of its lock. `owner`: who waits, as far as the lock tells owners apart.

    def _caller(self) -> None:
        return None

    def _is_owned(self, owner: None = None) -> bool:
        return self._lock.locked()

    def _release_save(self, owner: None) -> None:
        self._lock.release()

    async def _restore(self, saved: Any) -> None:
        await Waiter(functools.partial(self._lock._attempt_restore, saved))

    def _restore_closed(self, saved: Any) -> None:
        self._lock._restore_closed()


class RLock(Entered):
    """A ``treadle.RLock`` for tasks: ``lock.aio``. The task owns it, not its thread.

    >>> import asyncio, treadle
    >>> lock = treadle.RLock()
    >>> async def main():
    ...     async with lock.aio, lock.aio:
    ...         return lock.locked()
    >>> asyncio.run(main())
    True
    """

    __slots__ = ("_lock",)

    def __init__(self, lock: _core.RLock) -> None:
        self._lock = lock

    @returns_coroutine
    def acquire(
        self, blocking: bool = True, timeout: float | None = -1
    ) -> Coroutine[Any, Any, bool]:
        """As ``treadle.RLock.acquire``, for the calling task.

        The task that makes the call owns the lock, also where another one runs the coroutine, as
        with ``asyncio.wait_for`` before Python 3.12. Code of your own that a task of its own runs
        calls for that task, and takes the lock with it to its end: for a time limit, prefer
        ``timeout=`` to ``asyncio.wait_for``.
        """
        return self._acquire(identity_of_caller(), blocking, timeout)

    async def _acquire(
        self, caller: TaskIdentity | None, blocking: bool, timeout: float | None
    ) -> bool:
        identity = caller or identity_of_task()
        left = _acquire_timeout(blocking, timeout)
        attempt = functools.partial(self._lock._attempt_by, identity)
        return await Waiter(attempt, left) is not PENDING

    def release(self) -> None:
        """As ``treadle.RLock.release``, for the calling task."""
        self._lock._release_by(identity_of_task())

    def locked(self) -> bool:
        """As ``treadle.RLock.locked``."""
        return self._lock.locked()

    def recover(self, timeout: float = -1) -> Recovery:
        """As ``treadle.RLock.recover``, for the calling task."""
        return Recovery(self._lock._recovery_by(identity_of_task()), timeout)

    def _caller(self) -> TaskIdentity | None:
        return identity_of_caller()

    def _is_owned(self, owner: TaskIdentity | None = None) -> bool:
        return self._lock._is_owned_by(owner or identity_of_task())

    def _release_save(self, owner: TaskIdentity | None) -> tuple[TaskIdentity, int]:
        identity = owner or identity_of_task()
        return identity, self._lock._release_save_by(identity)

    async def _restore(self, saved: Any) -> None:
        await Waiter(functools.partial(self._lock._attempt_restore_by, *saved))

    def _restore_closed(self, saved: Any) -> None:
        self._lock._restore_closed_by(*saved)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, GeneratorExit):  # closed, by whoever collects it
            self._lock._exit_closed()
        else:
            self.release()


class _Hold:
    """``async with lock.aio.read()`` and ``write()``."""

    __slots__ = ("_acquire", "_holder", "_release")

    def __init__(
        self,
        acquire: Callable[[], Awaitable[bool]],
        release: Callable[[TaskIdentity], None],
    ) -> None:
        self._acquire = acquire
        self._release = release
        self._holder: TaskIdentity | None = None

    async def __aenter__(self) -> None:
        await self._acquire()
        self._holder = identity_of_task()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Where the coroutine is closed, its task is not the one, if any, that runs now.
        closed = isinstance(error, GeneratorExit) and self._holder is not None
        self._release(self._holder if closed else identity_of_task())  # type: ignore[arg-type]


class RWLock:
    """A ``treadle.RWLock`` for tasks: ``lock.aio``. The task holds it, not its thread.

    >>> import asyncio, treadle
    >>> lock = treadle.RWLock()
    >>> async def main():
    ...     async with lock.aio.write():
    ...         return lock.locked()
    >>> asyncio.run(main())
    True
    """

    __slots__ = ("_lock",)

    def __init__(self, lock: _core.RWLock) -> None:
        self._lock = lock

    @property
    def __aenter__(self) -> Any:
        lock: Any = self._lock
        return lock.__aenter__  # raises what says how

    def read(self) -> _Hold:
        """Returns an asynchronous context manager that holds the lock for reading."""
        return _Hold(self.acquire_read, self._lock._release_read_by)

    def write(self) -> _Hold:
        """Returns an asynchronous context manager that holds the lock for writing."""
        return _Hold(self.acquire_write, self._lock._release_write_by)

    def recover(self, timeout: float = -1) -> Recovery:
        """As ``treadle.RWLock.recover``, for the calling task."""
        return Recovery(self._lock._recovery_by(identity_of_task()), timeout)

    @returns_coroutine
    def acquire_read(
        self, blocking: bool = True, timeout: float | None = -1
    ) -> Coroutine[Any, Any, bool]:
        """As ``treadle.RWLock.acquire_read``, for the calling task: see ``RLock.acquire``.

        For a time limit, prefer ``timeout=`` to ``asyncio.wait_for``.
        """
        return self._acquire_read(identity_of_caller(), blocking, timeout)

    async def _acquire_read(
        self, caller: TaskIdentity | None, blocking: bool, timeout: float | None
    ) -> bool:
        identity, place, lock = caller or identity_of_task(), ReadPlace(), self._lock
        attempt = functools.partial(lock._attempt_read_by, identity, place)
        try:
            result = await Waiter(attempt, _acquire_timeout(blocking, timeout))
        except BaseException:
            if lock._cancel_read_by(identity, place):
                lock._release_read_by(identity)
            raise
        return result is not PENDING or lock._cancel_read_by(identity, place)

    @returns_coroutine
    def acquire_write(
        self, blocking: bool = True, timeout: float | None = -1
    ) -> Coroutine[Any, Any, bool]:
        """As ``treadle.RWLock.acquire_write``, for the calling task: see ``RLock.acquire``.

        For a time limit, prefer ``timeout=`` to ``asyncio.wait_for``.
        """
        return self._acquire_write(identity_of_caller(), blocking, timeout)

    async def _acquire_write(
        self, caller: TaskIdentity | None, blocking: bool, timeout: float | None
    ) -> bool:
        identity, lock = caller or identity_of_task(), self._lock
        attempt = functools.partial(lock._attempt_write_by, identity)
        result = PENDING
        try:
            result = await Waiter(attempt, _acquire_timeout(blocking, timeout))
        finally:
            if result is PENDING:
                lock._cancel_write_by(identity)
        return result is not PENDING

    def release_read(self) -> None:
        """As ``treadle.RWLock.release_read``, for the calling task."""
        self._lock._release_read_by(identity_of_task())

    def release_write(self) -> None:
        """As ``treadle.RWLock.release_write``, for the calling task."""
        self._lock._release_write_by(identity_of_task())

    def locked(self) -> bool:
        """As ``treadle.RWLock.locked``."""
        return self._lock.locked()


class Semaphore(Entered):
    """A ``treadle.Semaphore`` or ``BoundedSemaphore`` for tasks: ``semaphore.aio``.

    Threads that take permits again and again keep tasks waiting, as with ``Lock``.

    >>> import asyncio, treadle
    >>> tickets = treadle.Semaphore(2)
    >>> async def main():
    ...     async with tickets.aio:
    ...         return tickets.get_value()
    >>> asyncio.run(main())
    1
    """

    __slots__ = ("_semaphore",)

    def __init__(self, semaphore: _core.Semaphore | _core.BoundedSemaphore) -> None:
        self._semaphore = semaphore

    async def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """As ``treadle.Semaphore.acquire``."""
        if not blocking and timeout is not None:
            raise ValueError("can't specify timeout for non-blocking acquire")
        left = timeout if blocking else 0
        if self._semaphore._try():
            return True
        if left is not None and left <= 0:
            return False
        return await Waiter(self._semaphore._attempt, left) is not PENDING

    def release(self, n: int = 1) -> None:
        """As ``treadle.Semaphore.release``."""
        self._semaphore.release(n)

    def get_value(self) -> int:
        """As ``treadle.Semaphore.get_value``."""
        return self._semaphore.get_value()
