"""The awaitable views of all objects: what ``.aio`` gives.

A view is the same object with coroutine methods. A task that waits owns no thread and never blocks
its loop: it is parked in the process's lot, and whoever changes the object, a thread or a task of
whatever process, has it told. Cancelling it loses nothing: an item or a permit is taken by the
task itself, in the step in which it returns, so only a wake-up can be in flight, and that is passed
on to the next.

Prior art: ``asyncio``'s own primitives, whose semantics these keep (first come, first served among
the tasks of one process), and trio's ``ParkingLot``. Departure: what is waited for is shared with
threads and other processes, which may be faster.

Works under asyncio, with any loop of its interface (uvloop), and under trio; so under anyio, too.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from treadle._core import PENDING, ReadPlace, TaskIdentity, Waiter
from treadle._errors import Empty, Full, ShutDown

if TYPE_CHECKING:
    from types import TracebackType

    from treadle import _core, _sync

__all__ = [
    "Barrier",
    "Condition",
    "Connection",
    "Event",
    "Latch",
    "Lock",
    "Queue",
    "RLock",
    "RWLock",
    "Semaphore",
]

_T = TypeVar("_T")


# ---- Event loops


class _TrioSignal:
    """What a trio task awaits: as a future of asyncio's, as far as a Waiter uses it."""

    __slots__ = ("_event", "_loop")

    def __init__(self, loop: _TrioLoop, event: Any) -> None:
        self._loop = loop
        self._event = event

    def done(self) -> bool:
        return bool(self._event.is_set())

    def set_result(self, result: None) -> None:
        self._event.set()

    def __iter__(self) -> Any:
        return self._loop.wait(self._event).__await__()


class _TrioLoop:
    """A trio run, as far as the Waiter that it is made for uses an event loop.

    All that comes from outside of the waiting task takes trio's own way in, which is safe for
    threads, signal handlers, finalizers, and the host of a guest run.
    """

    __slots__ = ("_deadline", "_expire", "_token", "_trio")

    def __init__(self, trio: Any) -> None:
        self._trio = trio
        self._token = trio.lowlevel.current_trio_token()
        self._expire: Callable[[], object] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _TrioLoop) and self._token is other._token

    def __hash__(self) -> int:
        return hash(self._token)

    def call_soon_threadsafe(self, function: Callable[..., object], *arguments: object) -> None:
        """Raises a RuntimeError, as asyncio's, if the run is over."""
        self._token.run_sync_soon(function, *arguments)

    call_soon = call_soon_threadsafe

    def call_later(self, seconds: float, function: Callable[[], object]) -> _TrioLoop:
        """Returns what cancels it. One call at a time; the task makes it, while it waits."""
        self._deadline = self._trio.current_time() + seconds
        self._expire = function
        return self

    def cancel(self) -> None:
        self._expire = None

    async def wait(self, event: Any) -> None:
        expire = self._expire
        if expire is None:
            await event.wait()
            return
        with self._trio.CancelScope(deadline=self._deadline):
            await event.wait()
        if not event.is_set():
            expire()

    def shielded(self) -> Any:
        """A context in which nothing cancels the task."""
        return self._trio.CancelScope(shield=True)

    def create_future(self) -> _TrioSignal:
        return _TrioSignal(self, self._trio.Event())


def _trio_task() -> Any:
    """The calling task, if it is trio's; else None."""
    trio = sys.modules.get("trio")
    if trio is None:
        return None
    try:
        return trio.lowlevel.current_task()
    except (AttributeError, RuntimeError):  # AttributeError: another thread is about to import it
        return None


def running_loop(loop: Any) -> tuple[Any, bool]:
    """The event loop that runs the calling task, and whether it is trio's.

    loop: asyncio's, if one runs in this thread. It may be that of other tasks: of the host, where
    trio's run is a guest.
    """
    if loop is None or asyncio.current_task() is None:
        if _trio_task() is not None:
            return _TrioLoop(sys.modules["trio"]), True
        if loop is None:
            raise RuntimeError("no running event loop, neither asyncio's nor trio's")
    return loop, False


def _trio_run() -> _TrioLoop | None:
    """The trio run of the calling task; None, if that is asyncio's."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    found, is_trio_s = running_loop(loop)
    return found if is_trio_s else None


def _current_task() -> Any:
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    if task is None:
        task = _trio_task()
    if task is None:
        raise RuntimeError("no task is running: this is for the task that holds the lock")
    return task


_identities: weakref.WeakKeyDictionary[Any, TaskIdentity] = weakref.WeakKeyDictionary()


def _identity() -> TaskIdentity:
    """What the calling task goes by where owners are told apart."""
    task = _current_task()
    identity = _identities.get(task)
    if identity is None:
        name = task.get_name() if hasattr(task, "get_name") else task.name
        identity = _identities[task] = TaskIdentity(name)
    return identity


async def _surely(until: Callable[[], Awaitable[Any]]) -> None:
    """Awaits to the end, whatever cancels meanwhile; what did is raised afterwards."""
    run = _trio_run()
    if run is not None:
        with run.shielded():
            await until()
        return
    cancelled = None
    while True:
        try:
            await until()
            break
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        try:
            raise cancelled
        finally:
            cancelled = None  # no cycle with its traceback


def _acquire_timeout(blocking: bool, timeout: float | None) -> float | None:
    """The timeout of ``acquire(blocking, timeout)``; None is for ever."""
    if timeout is None or timeout == -1:
        return None if blocking else 0
    if not blocking:
        raise ValueError("can't specify a timeout for a non-blocking call")
    if timeout < 0:
        raise ValueError("timeout value must be a non-negative number")
    return timeout


# ---- Locks


class _Recovery:
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

    def recover(self, timeout: float = -1) -> _Recovery:
        """As ``treadle.Lock.recover``: returns an asynchronous context manager.

        >>> import asyncio, treadle
        >>> async def main():
        ...     async with treadle.Lock().aio.recover() as needed:
        ...         return needed
        >>> asyncio.run(main())
        False
        """
        return _Recovery(self._lock._recovery_for_task(), timeout)

    # What a condition asks of its lock.

    def _is_owned(self) -> bool:
        return self._lock.locked()

    def _release_save(self) -> None:
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

    __slots__ = ("_holder", "_lock")

    def __init__(self, lock: _core.RLock) -> None:
        self._lock = lock
        self._holder: TaskIdentity | None = None  # who has taken it by this view, latest

    async def acquire(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """As ``treadle.RLock.acquire``, for the calling task."""
        identity = _identity()
        left = _acquire_timeout(blocking, timeout)
        result = await Waiter(functools.partial(self._lock._attempt_by, identity), left)
        if result is PENDING:
            return False
        self._holder = identity
        return True

    def release(self) -> None:
        """As ``treadle.RLock.release``, for the calling task."""
        self._lock._release_by(_identity())

    def locked(self) -> bool:
        """As ``treadle.RLock.locked``."""
        return self._lock.locked()

    def recover(self, timeout: float = -1) -> _Recovery:
        """As ``treadle.RLock.recover``, for the calling task."""
        return _Recovery(self._lock._recovery_by(_identity()), timeout)

    def _is_owned(self) -> bool:
        return self._lock._is_owned_by(_identity())

    def _release_save(self) -> tuple[TaskIdentity, int]:
        identity = _identity()
        return identity, self._lock._release_save_by(identity)

    async def _restore(self, saved: Any) -> None:
        await Waiter(functools.partial(self._lock._attempt_restore_by, *saved))

    def _restore_closed(self, saved: Any) -> None:
        self._lock._restore_now_by(*saved)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, GeneratorExit):
            self.release()
        # Closed, by whoever collects it: it holds the lock, unless it would have to wait for it.
        elif self._holder is not None and self._lock._is_owned_by(self._holder):
            self._lock._release_by(self._holder)


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
        self._holder = _identity()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Where the coroutine is closed, its task is not the one, if any, that runs now.
        closed = isinstance(error, GeneratorExit) and self._holder is not None
        self._release(self._holder if closed else _identity())  # type: ignore[arg-type]


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

    def read(self) -> _Hold:
        """Returns an asynchronous context manager that holds the lock for reading."""
        return _Hold(self.acquire_read, self._lock._release_read_by)

    def write(self) -> _Hold:
        """Returns an asynchronous context manager that holds the lock for writing."""
        return _Hold(self.acquire_write, self._lock._release_write_by)

    def recover(self, timeout: float = -1) -> _Recovery:
        """As ``treadle.RWLock.recover``, for the calling task."""
        return _Recovery(self._lock._recovery_by(_identity()), timeout)

    async def acquire_read(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """As ``treadle.RWLock.acquire_read``, for the calling task."""
        identity, place, lock = _identity(), ReadPlace(), self._lock
        attempt = functools.partial(lock._attempt_read_by, identity, place)
        try:
            result = await Waiter(attempt, _acquire_timeout(blocking, timeout))
        except BaseException:
            if lock._cancel_read_by(identity, place):
                lock._release_read_by(identity)
            raise
        return result is not PENDING or lock._cancel_read_by(identity, place)

    async def acquire_write(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """As ``treadle.RWLock.acquire_write``, for the calling task."""
        identity, lock = _identity(), self._lock
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
        self._lock._release_read_by(_identity())

    def release_write(self) -> None:
        """As ``treadle.RWLock.release_write``, for the calling task."""
        self._lock._release_write_by(_identity())

    def locked(self) -> bool:
        """As ``treadle.RWLock.locked``."""
        return self._lock.locked()


class Semaphore(Entered):
    """A ``treadle.Semaphore`` or ``BoundedSemaphore`` for tasks: ``semaphore.aio``.

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
        left = _acquire_timeout(blocking, timeout)
        if self._semaphore._try():
            return True
        if left == 0:
            return False
        return await Waiter(self._semaphore._attempt, left) is not PENDING

    def release(self, n: int = 1) -> None:
        """As ``treadle.Semaphore.release``."""
        self._semaphore.release(n)

    def get_value(self) -> int:
        """As ``treadle.Semaphore.get_value``."""
        return self._semaphore.get_value()


# ---- Event, Latch, Condition, Barrier


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

    async def acquire(self, blocking: bool = True, timeout: float | None = -1) -> bool:
        """Acquires the lock, as ``treadle.Lock.acquire``."""
        return await self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        """Releases the lock."""
        self._lock.release()

    def locked(self) -> bool:
        """Returns whether somebody holds the lock."""
        return self._lock.locked()

    def recover(self, timeout: float = -1) -> _Recovery:
        """As ``treadle.Condition.recover``."""
        return self._lock.recover(timeout)

    async def wait(self, timeout: float | None = None) -> bool:
        """As ``treadle.Condition.wait``. Cancelled, it raises with the lock held again."""
        if not self._lock._is_owned():
            raise RuntimeError("cannot wait on un-acquired lock")
        core = self._core
        ticket = core._enlist()
        try:
            saved = self._lock._release_save()
            restore = functools.partial(self._lock._restore, saved)
            try:
                try:
                    result = await Waiter(functools.partial(core._attempt, ticket), timeout)
                except GeneratorExit:
                    raise
                except BaseException:
                    await _surely(restore)
                    raise
                await _surely(restore)
            except GeneratorExit:  # closed, not cancelled: it may not wait, not even for the lock
                self._lock._restore_closed(saved)
                raise
        except BaseException:
            # A notification that came all the same belongs to somebody else.
            if core._cancel(ticket):
                core.notify(1)
            raise
        return result is not PENDING or core._cancel(ticket)

    async def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """As ``treadle.Condition.wait_for``."""
        deadline = None if timeout is None else time.monotonic() + timeout
        result = predicate()
        while not result:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            await self.wait(left)
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


# ---- Queues


class Queue(Generic[_T]):
    """A queue for tasks: ``queue.aio``.

    >>> import asyncio, treadle
    >>> queue = treadle.Queue()
    >>> async def main():
    ...     await queue.aio.put_many("ab")
    ...     queue.shutdown()
    ...     return [item async for item in queue.aio]
    >>> asyncio.run(main())
    ['a', 'b']
    """

    __slots__ = ("_queue",)

    def __init__(self, queue: _core.Queue[_T]) -> None:
        self._queue = queue

    async def put(self, item: _T, block: bool = True, timeout: float | None = None) -> None:
        """As ``treadle.Queue.put``."""
        queue = self._queue
        if queue._put_now(item):
            return
        if not block:
            raise Full
        if await queue._putting([item], timeout) is PENDING:
            raise Full

    async def put_many(self, items: Iterable[_T], timeout: float | None = None) -> None:
        """As ``treadle.Queue.put_many``."""
        if await self._queue._putting(list(items), timeout) is PENDING:
            raise Full

    async def get(
        self, block: bool = True, timeout: float | None = None, *, copy: bool = True
    ) -> _T:
        """As ``treadle.Queue.get``."""
        queue = self._queue
        item = queue._get_now(copy)
        if item is PENDING:
            if not block:
                raise Empty
            item = await queue._getting(copy, timeout)
            if item is PENDING:
                raise Empty
        return item  # type: ignore[no-any-return]

    async def get_many(self, max_items: int, timeout: float | None = None) -> list[_T]:
        """As ``treadle.Queue.get_many``."""
        if max_items < 1:
            raise ValueError(f"max_items must be one or more, not {max_items}")
        attempt = functools.partial(self._queue._attempt_get_many, min(max_items, 1 << 20))
        items = await Waiter(attempt, timeout)
        if items is PENDING:
            raise Empty
        return items  # type: ignore[no-any-return]

    async def lease(self, timeout: float | None = None) -> _core.Lease[_T]:
        """As ``treadle.Queue.lease``: ``with await queue.aio.lease() as lease:``."""
        lease = await Waiter(self._queue._attempt_lease, timeout)
        if lease is PENDING:
            raise Empty
        return lease  # type: ignore[no-any-return]

    async def join(self, timeout: float | None = None) -> bool:
        """As ``treadle.Queue.join``."""
        return await Waiter(self._queue._attempt_join, timeout) is not PENDING

    def put_nowait(self, item: _T) -> None:
        """As ``treadle.Queue.put_nowait``."""
        self._queue.put_nowait(item)

    def get_nowait(self) -> _T:
        """As ``treadle.Queue.get_nowait``."""
        return self._queue.get_nowait()

    def task_done(self) -> None:
        """As ``treadle.Queue.task_done``."""
        self._queue.task_done()

    def shutdown(self, immediate: bool = False) -> None:
        """As ``treadle.Queue.shutdown``."""
        self._queue.shutdown(immediate)

    def qsize(self) -> int:
        """As ``treadle.Queue.qsize``."""
        return self._queue.qsize()

    def empty(self) -> bool:
        """As ``treadle.Queue.empty``."""
        return self._queue.empty()

    def full(self) -> bool:
        """As ``treadle.Queue.full``."""
        return self._queue.full()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _T:
        try:
            return await self.get()
        except ShutDown:
            raise StopAsyncIteration from None


class Connection:
    """An end of a pipe for tasks: ``end.aio``.

    A close of the other end is seen at once, the death of its process within half a second.

    >>> import asyncio, treadle
    >>> here, there = treadle.Pipe()
    >>> async def main():
    ...     asking = asyncio.ensure_future(there.aio.recv())
    ...     await here.aio.send("hello")
    ...     return await asking
    >>> asyncio.run(main())
    'hello'
    """

    __slots__ = ("_end",)

    def __init__(self, end: _core.Connection) -> None:
        self._end = end

    async def send(self, obj: Any) -> None:
        """As ``treadle.Connection.send``."""
        await Waiter(functools.partial(self._end._attempt_send, self._end._prepare(obj)))

    async def send_bytes(self, buf: Any, offset: int = 0, size: int | None = None) -> None:
        """As ``treadle.Connection.send_bytes``."""
        prepared = self._end._prepare_bytes(buf, offset, size)
        await Waiter(functools.partial(self._end._attempt_send, prepared))

    async def recv(self) -> Any:
        """As ``treadle.Connection.recv``."""
        return await Waiter(functools.partial(self._end._attempt_receive, True))

    async def recv_bytes(self) -> bytes:
        """As ``treadle.Connection.recv_bytes``."""
        message: bytes = await Waiter(functools.partial(self._end._attempt_receive, False))
        return message
