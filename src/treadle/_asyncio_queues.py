"""The queues of ``treadle.asyncio``."""

from __future__ import annotations

import asyncio as _standard
import heapq
import math
import sys
import weakref
from collections import deque
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import treadle
from treadle._core import PENDING, PrivateQueue, Waiter
from treadle._inside import KEPT_NATIVELY, Inside

__all__ = ["LifoQueue", "PriorityQueue", "Queue"]

_T = TypeVar("_T")
_SHUT_DOWN: type[Exception] = getattr(_standard, "QueueShutDown", treadle.ShutDown)


class Queue(Generic[_T]):
    """A first-in, first-out queue between tasks: ``asyncio.Queue``.

    A subclass keeps its items in ``_queue``, or as it likes, by ``_init``, ``_put`` and ``_get``,
    and may say how many there are and whether there is room, by ``qsize``, ``empty`` and ``full``:
    as in the standard library, but that they are called under a lock, and must not put, get or join
    (RuntimeError). That is slower than this class itself, which keeps its items natively.
    """

    __module__ = "treadle.asyncio"

    _native: treadle.Queue[_T]
    _waited: treadle.Queue[_T] | _ThroughNowait[_T]  # what put and get, which may wait, go by

    _queue: Any = Inside(
        "it keeps its items natively. Instances of a subclass have one, "
        "if it only says `class Queue(asyncio.Queue): pass`"
    )
    _getters: Any = Inside(KEPT_NATIVELY)
    _putters: Any = Inside(KEPT_NATIVELY)
    _finished: Any = Inside("it is kept natively; _unfinished_tasks says how many are left")

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

    __module__ = "treadle.asyncio"

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

    __module__ = "treadle.asyncio"

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

    def _parts(self) -> tuple[Queue[_T], _KeptByHooks[_T]]:
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
