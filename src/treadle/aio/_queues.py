"""Queues and the ends of pipes for tasks."""

from __future__ import annotations

import functools
from collections.abc import Coroutine, Generator, Iterable
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from treadle._core import PENDING, Waiter
from treadle._errors import Empty, Full, ShutDown

if TYPE_CHECKING:
    from types import TracebackType

    from treadle import _core

_T = TypeVar("_T")


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
        if await queue._putting_one(item, timeout) is PENDING:
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

    def lease(self, timeout: float | None = None) -> Leasing[_T]:
        """As ``treadle.Queue.lease``: ``async with queue.aio.lease() as lease:``.

        Or ``with await queue.aio.lease() as lease:``, which is the same.
        """
        return Leasing(self._lease(timeout))

    async def _lease(self, timeout: float | None) -> _core.Lease[_T]:
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


class Leasing(Coroutine[Any, Any, "_core.Lease[_T]"]):
    """``queue.aio.lease()``: a coroutine that gives the lease, or what is entered for it.

    >>> import asyncio, treadle
    >>> queue = treadle.Queue()
    >>> queue.put("job")
    >>> async def main():
    ...     async with queue.aio.lease() as lease:
    ...         return lease.item
    >>> asyncio.run(main())
    'job'
    """

    __slots__ = ("_coroutine", "_lease")

    def __init__(self, coroutine: Coroutine[Any, Any, _core.Lease[_T]]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, _core.Lease[_T]]:
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    async def __aenter__(self) -> _core.Lease[_T]:
        self._lease = await self._coroutine
        return self._lease

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lease.__exit__(kind, error, trace)


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
