"""A drop-in for the standard library's ``asyncio``: ``from treadle import asyncio``.

Lock, Event, Condition, Semaphore, BoundedSemaphore, Barrier and the queues are treadle's, private
(``shared=False``): they belong to no loop, so that tasks of several loops, each in its thread, may
use one object at once; and each has the object of the other world in ``.shared_with_threads``.
Everything else is the standard library's own.

>>> from treadle import asyncio
>>> async def main():
...     queue = asyncio.Queue()
...     await queue.put("hello")
...     return await queue.get()
>>> asyncio.run(main())
'hello'
"""

import asyncio as _standard
import enum
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import treadle
from treadle._core import Waiter
from treadle._inside import KEPT_NATIVELY, Inside
from treadle.aio._locks import Entered

if TYPE_CHECKING:
    from asyncio.base_events import *  # noqa: F403
    from asyncio.coroutines import *  # noqa: F403
    from asyncio.events import *  # noqa: F403
    from asyncio.exceptions import *  # noqa: F403
    from asyncio.futures import *  # noqa: F403
    from asyncio.protocols import *  # noqa: F403
    from asyncio.queues import QueueEmpty as QueueEmpty
    from asyncio.queues import QueueFull as QueueFull
    from asyncio.runners import *  # noqa: F403
    from asyncio.streams import *  # noqa: F403
    from asyncio.subprocess import *  # noqa: F403
    from asyncio.taskgroups import *  # noqa: F403
    from asyncio.tasks import *  # noqa: F403
    from asyncio.threads import *  # noqa: F403
    from asyncio.timeouts import *  # noqa: F403
    from asyncio.transports import *  # noqa: F403
    from asyncio.unix_events import *  # noqa: F403
else:
    from asyncio import *  # noqa: F403  what the running Python has

    __all__ = list(_standard.__all__)

# In place of those that the star has brought.
from treadle._asyncio_queues import LifoQueue as LifoQueue
from treadle._asyncio_queues import PriorityQueue as PriorityQueue
from treadle._asyncio_queues import Queue as Queue

_T = TypeVar("_T")


class _Described:
    """The repr of the standard library's classes."""

    _waiters: Any = Inside(KEPT_NATIVELY)

    def _state(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        described = object.__repr__(self)
        return f"<{described[1:-1]} [{self._state()}]>"


class Lock(_Described, Entered):
    """A lock for tasks: ``asyncio.Lock``."""

    def __init__(self) -> None:
        self._lock = treadle.Lock(shared=False)

    @property
    def shared_with_threads(self) -> treadle.Lock:
        """The same lock, for threads."""
        return self._lock

    async def acquire(self) -> bool:
        """Takes the lock; always returns True."""
        if not self._lock._try():
            await Waiter(self._lock._attempt)
        return True

    def release(self) -> None:
        """Frees the lock. Raises RuntimeError if nobody holds it."""
        try:
            self._lock._release_for_task()
        except RuntimeError:
            raise RuntimeError("Lock is not acquired.") from None

    def locked(self) -> bool:
        """Returns whether somebody holds the lock."""
        return self._lock.locked()

    def _state(self) -> str:
        return _with_waiters("locked" if self.locked() else "unlocked", self._lock._waiting_tasks())


class Event(_Described):
    """A flag for tasks to wait for: ``asyncio.Event``."""

    def __init__(self) -> None:
        self._event = treadle.Event(shared=False)
        self._waiting = 0

    @property
    def shared_with_threads(self) -> treadle.Event:
        """The same event, for threads."""
        return self._event

    def is_set(self) -> bool:
        """Returns whether the flag is set."""
        return self._event.is_set()

    def set(self) -> None:
        """Sets the flag and wakes everybody who waits for it."""
        self._event.set()

    def clear(self) -> None:
        """Resets the flag."""
        self._event.clear()

    async def wait(self) -> bool:
        """Waits until the flag is set; returns True."""
        if not self._event.is_set():
            self._waiting += 1
            try:
                await self._event.aio.wait()
            finally:
                self._waiting -= 1
        return True

    def _state(self) -> str:
        return _with_waiters("set" if self.is_set() else "unset", self._waiting)


class Condition(_Described, Entered):
    """A condition variable for tasks: ``asyncio.Condition``."""

    def __init__(self, lock: Lock | None = None) -> None:
        if lock is None:
            lock = Lock()
        elif not isinstance(lock, Lock):
            of = type(lock)
            raise TypeError(
                "the lock must be a treadle.asyncio.Lock (from treadle import asyncio), "
                f"not {of.__module__}.{of.__qualname__}"
            )
        self._lock = lock
        self._condition = treadle.Condition(lock._lock, shared=False)
        self._view = self._condition.aio
        self._waiting = 0
        self.locked = lock.locked
        self.acquire = lock.acquire
        self.release = lock.release

    @property
    def shared_with_threads(self) -> treadle.Condition:
        """The same condition, for threads."""
        return self._condition

    async def wait(self) -> bool:
        """Releases the lock, waits for a notification, takes the lock again; returns True."""
        self._waiting += 1
        try:
            return await self._view.wait()
        finally:
            self._waiting -= 1

    async def wait_for(self, predicate: Callable[[], _T]) -> _T:
        """Waits until the predicate is true; returns its last value."""
        while not (result := predicate()):
            await self.wait()
        return result

    def notify(self, n: int = 1) -> None:
        """Wakes up to n waiters. Raises RuntimeError if the lock is not held."""
        self._view.notify(n)

    def notify_all(self) -> None:
        """Wakes all waiters. Raises RuntimeError if the lock is not held."""
        self.notify(self._condition._core.waiting)  # which a subclass may have overridden

    def _state(self) -> str:
        return _with_waiters("locked" if self.locked() else "unlocked", self._waiting)


class Semaphore(_Described, Entered):
    """A counter of permits for tasks: ``asyncio.Semaphore``."""

    def __init__(self, value: int = 1) -> None:
        if value < 0:
            raise ValueError("Semaphore initial value must be >= 0")
        self._semaphore: treadle.Semaphore | treadle.BoundedSemaphore
        self._semaphore = treadle.Semaphore(value, shared=False)

    @property
    def shared_with_threads(self) -> treadle.Semaphore | treadle.BoundedSemaphore:
        """The same semaphore, for threads."""
        return self._semaphore

    @property
    def _value(self) -> int:
        return self._semaphore.get_value()

    def locked(self) -> bool:
        """Returns whether a permit cannot be had at once."""
        return self._semaphore.get_value() == 0 or self._semaphore._waiting_tasks() != 0

    async def acquire(self) -> bool:
        """Takes a permit; always returns True."""
        if not self._semaphore._try():
            await Waiter(self._semaphore._attempt)
        return True

    def release(self) -> None:
        """Adds a permit."""
        self._semaphore.release()

    def _state(self) -> str:
        value = self._semaphore.get_value()
        state = "locked" if self.locked() else f"unlocked, value:{value}"
        return _with_waiters(state, self._semaphore._waiting_tasks())


class BoundedSemaphore(Semaphore):
    """A semaphore that refuses more releases than acquires: ``asyncio.BoundedSemaphore``."""

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self._semaphore = treadle.BoundedSemaphore(value, shared=False)

    def release(self) -> None:
        """Gives a permit back. Raises ValueError if that would be more than there were at first."""
        try:
            super().release()
        except ValueError:
            raise ValueError("BoundedSemaphore released too many times") from None


class _Phase(enum.Enum):
    FILLING = "filling"
    DRAINING = "draining"  # all have come, not all have left
    RESETTING = "resetting"
    BROKEN = "broken"


class Barrier(_Described):
    """A point where tasks wait for each other: ``asyncio.Barrier``.

    Over a Condition and not over ``treadle.Barrier``, whose semantics are those of
    ``threading.Barrier``: there a party that gives up breaks the barrier, here it may be cancelled.
    """

    def __init__(self, parties: int) -> None:
        if parties < 1:
            raise ValueError("parties must be > 0")
        self._parties = parties
        self._condition = Condition()
        self._phase = _Phase.FILLING
        self._inside = 0  # parties that have come and not left

    async def wait(self) -> int:
        """Waits for the others; returns a number from 0 to parties - 1, another one for each."""
        async with self._condition:
            await self._until_not(_Phase.DRAINING, _Phase.RESETTING)
            self._check(_Phase.BROKEN)
            index = self._inside
            self._inside += 1
            try:
                if self._inside == self._parties:
                    self._move_to(_Phase.DRAINING)
                else:
                    await self._until_not(_Phase.FILLING)
                    self._check(_Phase.BROKEN, _Phase.RESETTING)
                return index
            finally:
                self._inside -= 1
                if self._inside == 0 and self._phase in (_Phase.DRAINING, _Phase.RESETTING):
                    self._move_to(_Phase.FILLING)

    async def _until_not(self, *phases: _Phase) -> None:
        await self._condition.wait_for(lambda: self._phase not in phases)

    def _check(self, *failed: _Phase) -> None:
        if self._phase in failed:
            what = "aborted" if self._phase is _Phase.BROKEN else "reset"
            raise _standard.BrokenBarrierError(f"the barrier was {what}")

    def _move_to(self, phase: _Phase) -> None:
        self._phase = phase
        self._condition.notify_all()

    async def reset(self) -> None:
        """Makes the barrier as new; who waits gets a BrokenBarrierError."""
        async with self._condition:
            self._move_to(_Phase.RESETTING if self._inside else _Phase.FILLING)

    async def abort(self) -> None:
        """Breaks the barrier, for who waits and who comes, until ``reset()``."""
        async with self._condition:
            self._move_to(_Phase.BROKEN)

    @property
    def parties(self) -> int:
        """How many parties make a round."""
        return self._parties

    @property
    def n_waiting(self) -> int:
        """How many are waiting for a round to fill."""
        return self._inside if self._phase is _Phase.FILLING else 0

    @property
    def broken(self) -> bool:
        """Whether the barrier is broken."""
        return self._phase is _Phase.BROKEN

    async def __aenter__(self) -> int:
        return await self.wait()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def _state(self) -> str:
        if self.broken:
            return "broken"
        return f"{self._phase.value}, waiters:{self.n_waiting}/{self._parties}"


def _with_waiters(state: str, waiting: int) -> str:
    return f"{state}, waiters:{waiting}" if waiting else state


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name.startswith("__"):  # by asyncio's __path__, its modules would be imported once more
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(_standard, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *(name for name in dir(_standard) if name[:2] != "__")})
