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
import heapq
import math
import sys
import weakref
from collections import deque
from collections.abc import Callable
from types import GenericAlias, TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

import treadle
from treadle._core import PENDING, PrivateQueue, Waiter
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

_T = TypeVar("_T")
_SHUT_DOWN: type[Exception] = getattr(_standard, "QueueShutDown", treadle.ShutDown)


class _Inside:
    """A part of the pure Python classes that there is not: what says so, and what there is.

    A subclass, or an instance, may have one of that name.
    """

    def __init__(self, hint: str) -> None:
        self._hint = hint

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise AttributeError(f"treadle.asyncio.{owner.__name__} has no {self._name}: {self._hint}")


_KEPT_NATIVELY = "who waits is kept natively; repr() says how many do"


class _Described:
    """The repr of the standard library's classes."""

    _waiters: Any = _Inside(_KEPT_NATIVELY)

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


class Queue(Generic[_T]):
    """A first-in, first-out queue between tasks: ``asyncio.Queue``.

    A subclass keeps its items in ``_queue``, or as it likes, by ``_init``, ``_put`` and ``_get``,
    and may say how many there are and whether there is room, by ``qsize``, ``empty`` and ``full``:
    as in the standard library, but that they are called under a lock, and must not put, get or join
    (RuntimeError). That is slower than this class itself, which keeps its items natively.
    """

    _native: treadle.Queue[_T]
    _waited: "treadle.Queue[_T] | _ThroughNowait[_T]"  # what put and get, which may wait, go by

    _queue: Any = _Inside(
        "it keeps its items natively. Instances of a subclass have one, "
        "if it only says `class Queue(asyncio.Queue): pass`"
    )
    _getters: Any = _Inside(_KEPT_NATIVELY)
    _putters: Any = _Inside(_KEPT_NATIVELY)
    _finished: Any = _Inside("it is kept natively; _unfinished_tasks says how many are left")

    def __init__(self, maxsize: int = 0) -> None:
        self._maxsize = maxsize
        bound = math.ceil(maxsize) if 0 < maxsize < 1 << 63 else 0  # infinity is no bound
        if type(self) in _OWN:
            self._native = self._waited = self._make(bound)
        else:
            self._native = self._waited = _KeptByHooks(self, bound)
            if _overrides(type(self), "put_nowait", "get_nowait"):
                self._waited = _ThroughNowait(self)
            self._init(maxsize)

    def _make(self, maxsize: int) -> treadle.Queue[_T]:
        return treadle.Queue(maxsize, shared=False)

    @property
    def shared_with_threads(self) -> treadle.Queue[_T]:
        """The same queue, for threads."""
        native = self._native
        if isinstance(native, _KeptByHooks):
            native.stay(self)
        return native

    @property
    def maxsize(self) -> int:
        """How many items wait at most; 0 is no limit."""
        return self._maxsize

    def qsize(self) -> int:
        """Returns how many items wait."""
        return self._native.qsize()

    def empty(self) -> bool:
        """Returns whether no item waits."""
        return self._native.empty()

    def full(self) -> bool:
        """Returns whether the queue has no room."""
        return self._native.full()

    async def put(self, item: _T) -> None:
        """Puts an item; waits while the queue is full."""
        queue = self._waited
        try:
            if not queue._put_now(item):
                await queue._putting_one(item, None)
        except treadle.ShutDown:
            raise _SHUT_DOWN from None

    def put_nowait(self, item: _T) -> None:
        """Puts an item. Raises QueueFull."""
        try:
            if not self._native._put_now(item):
                raise _standard.QueueFull
        except treadle.ShutDown:
            raise _SHUT_DOWN from None

    async def get(self) -> _T:
        """Takes an item; waits while the queue is empty."""
        queue = self._waited
        try:
            item = queue._get_now(False)
            if item is PENDING:
                item = await queue._getting(False, None)
        except treadle.ShutDown:
            raise _SHUT_DOWN from None
        return item  # type: ignore[no-any-return]

    def get_nowait(self) -> _T:
        """Takes an item. Raises QueueEmpty."""
        try:
            item = self._native._get_now(False)
        except treadle.ShutDown:
            raise _SHUT_DOWN from None
        if item is PENDING:
            raise _standard.QueueEmpty
        return item  # type: ignore[no-any-return]

    def task_done(self) -> None:
        """Says that an item that was got is done with. Raises ValueError if that was too often."""
        self._native.task_done()

    async def join(self) -> None:
        """Waits until every item that was put is done with."""
        await Waiter(self._native._attempt_join)

    if sys.version_info >= (3, 13):

        def shutdown(self, immediate: bool = False) -> None:
            """Ends the queue: put raises QueueShutDown, and get once the queue is empty."""
            self._native.shutdown(immediate)

    @property
    def _unfinished_tasks(self) -> int:
        return self._native.statistics().unfinished

    @_unfinished_tasks.setter
    def _unfinished_tasks(self, unfinished: int) -> None:
        if not isinstance(self._native, _KeptByHooks):
            raise AttributeError("the count of unfinished tasks can only be set by a subclass")
        self._native.unfinished_tasks = unfinished

    # What subclasses may override; called in them alone, and by them.

    def _init(self, maxsize: int) -> None:
        self._queue = deque()

    def _put(self, item: _T) -> None:
        self._queue.append(item)

    def _get(self) -> _T:
        return self._queue.popleft()  # type: ignore[no-any-return]

    def _format(self) -> str:
        described = f"maxsize={self._maxsize!r}"
        unfinished = self._native.statistics().unfinished
        if self.qsize():
            described += f" qsize={self.qsize()}"
        if unfinished:
            described += f" tasks={unfinished}"
        if self._native.is_shutdown:
            described += " shutdown"
        return described

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x} {self._format()}>"

    def __str__(self) -> str:
        return f"<{type(self).__name__} {self._format()}>"

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(GenericAlias)


class PriorityQueue(Queue[_T]):
    """A queue between tasks that gives out the least item first: ``asyncio.PriorityQueue``."""

    def _make(self, maxsize: int) -> treadle.Queue[_T]:
        return treadle.PriorityQueue(maxsize, shared=False)

    def _init(self, maxsize: int) -> None:
        self._queue = []

    def _put(self, item: _T) -> None:
        heapq.heappush(self._queue, item)

    def _get(self) -> _T:
        return heapq.heappop(self._queue)  # type: ignore[no-any-return]


class LifoQueue(Queue[_T]):
    """A last-in, first-out queue between tasks: ``asyncio.LifoQueue``."""

    def _make(self, maxsize: int) -> treadle.Queue[_T]:
        return treadle.LifoQueue(maxsize, shared=False)

    def _init(self, maxsize: int) -> None:
        self._queue = []

    def _get(self) -> _T:
        return self._queue.pop()  # type: ignore[no-any-return]


_OWN: tuple[type[Queue[Any]], ...] = (Queue, PriorityQueue, LifoQueue)


def _overrides(of: type[Queue[Any]], *names: str) -> bool:
    """Has a subclass any of these of its own?"""
    base = next(each for each in of.__mro__ if each in _OWN)
    return any(getattr(of, name) is not getattr(base, name) for name in names)


class _ThroughNowait(Generic[_T]):
    """put() and get() of a subclass with a put_nowait() or get_nowait() of its own: the standard
    library's wait for room, or an item, and go through those.

    The queue is referred to weakly: whoever puts or gets holds it.
    """

    def __init__(self, queue: Queue[_T]) -> None:
        self._asyncio_queue = weakref.ref(queue)

    def _parts(self) -> "tuple[Queue[_T], _KeptByHooks[_T]]":
        queue = self._asyncio_queue()
        assert queue is not None
        native = queue._native
        assert isinstance(native, _KeptByHooks)
        return queue, native

    def _put_now(self, item: _T) -> bool:
        return False

    async def _putting_one(self, item: _T, timeout: None) -> bool:
        queue, native = self._parts()
        while True:
            while queue.full() and not native.is_shutdown:
                await Waiter(native._attempt_room)
            before = native.qsize()
            try:
                queue.put_nowait(item)
                return True
            except _standard.QueueFull:
                if not queue.full():  # or a thread was faster
                    raise
            finally:
                if native.qsize() <= before:
                    native._pass_on(True)

    def _get_now(self, copy: bool) -> Any:
        return PENDING

    async def _getting(self, copy: bool, timeout: None) -> Any:
        queue, native = self._parts()
        while True:
            while queue.empty() and not native.is_shutdown:
                await Waiter(native._attempt_item_there)
            before = native.qsize()
            try:
                return queue.get_nowait()
            except _standard.QueueEmpty:
                if not queue.empty():
                    raise
            finally:
                if native.qsize() >= before:
                    native._pass_on(False)


class _KeptByHooks(PrivateQueue[_T]):
    """What a queue with hooks of its own is for threads: who may put and get, and who must wait.

    Whether it is empty or full is what the queue says, as in the standard library: it is asked, not
    counted. The queue is referred to weakly, until threads have this one too: otherwise none would
    be freed before the cycle collector comes.
    """

    _NEVER_FULL = 1 << 62

    def __init__(self, queue: Queue[_T], maxsize: int) -> None:
        self._asyncio_queue = weakref.ref(queue)
        self._staying: Queue[_T] | None = None
        self._says_when_full = _overrides(type(queue), "full")
        self._says_how_many = _overrides(type(queue), "qsize", "empty", "full")
        super().__init__(self._NEVER_FULL if self._says_when_full else maxsize)

    def stay(self, queue: Queue[_T]) -> None:
        """Keeps the queue alive from now on."""
        self._staying = queue

    def _hooks(self) -> Queue[_T]:
        queue = self._asyncio_queue()
        assert queue is not None, "whoever calls holds the queue, or this one does"
        return queue

    def _init(self, maxsize: int) -> None:
        pass  # the queue does it, when it has this object

    def _qsize(self) -> int:
        queue = self._hooks()
        if not self._says_how_many:
            try:
                return len(queue._queue)
            except AttributeError:  # the items lie elsewhere, and are counted
                pass
        if queue.empty():
            return 0
        if self._says_when_full and queue.full():
            return self._NEVER_FULL
        return max(queue.qsize(), 1)

    def _put(self, item: _T) -> None:
        self._hooks()._put(item)

    def _get(self) -> _T:
        return self._hooks()._get()

    # What the queue's own qsize(), empty() and full() are, if it does not override them.

    def qsize(self) -> int:
        items = getattr(self._hooks(), "_queue", None)
        return super().qsize() if items is None else len(items)

    def empty(self) -> bool:
        queue = self._hooks()
        items = getattr(queue, "_queue", None)
        return queue.qsize() == 0 if items is None else not items

    def full(self) -> bool:
        queue = self._hooks()
        return 0 < queue.maxsize <= queue.qsize()


def _with_waiters(state: str, waiting: int) -> str:
    return f"{state}, waiters:{waiting}" if waiting else state


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name.startswith("__"):  # by asyncio's __path__, its modules would be imported once more
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(_standard, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *(name for name in dir(_standard) if name[:2] != "__")})
