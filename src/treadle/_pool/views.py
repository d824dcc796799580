"""A pool for the tasks of event loops: no thread waits for a task, and a cancelled one cancels."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from treadle._pool.imap import ImapIterator
from treadle._pool.results import AsyncResult

if TYPE_CHECKING:
    from treadle._pool.pool import Pool

__all__ = ["PoolView"]

T = TypeVar("T")


class PoolView:
    """``Pool.aio``: what the pool does, awaited. Parameters and errors are those of ``Pool``.

    A task that is cancelled while it waits cancels its call.

    >>> import asyncio, treadle
    >>> async def main():
    ...     with treadle.Pool(2, kind="thread") as pool:
    ...         return [each async for each in pool.aio.imap(abs, [-1, -2])]
    >>> asyncio.run(main())
    [1, 2]
    """

    __module__ = "treadle"  # the name that reports show

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def apply(
        self,
        func: Callable[..., T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        backoff: float | None = None,
        priority: int | None = None,
    ) -> T:
        """As ``Pool.apply``.

        >>> import asyncio, treadle
        >>> async def main():
        ...     with treadle.Pool(1, kind="thread") as pool:
        ...         return await pool.aio.apply(pow, (2, 3))
        >>> asyncio.run(main())
        8
        """
        return await _result(
            self._pool.apply_async(
                func,
                args,
                kwds,
                timeout=timeout,
                retries=retries,
                backoff=backoff,
                priority=priority,
            )
        )

    async def map(
        self,
        func: Callable[[Any], T],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        backoff: float | None = None,
        priority: int | None = None,
    ) -> list[T]:
        """As ``Pool.map``.

        >>> import asyncio, treadle
        >>> async def main():
        ...     with treadle.Pool(1, kind="thread") as pool:
        ...         return await pool.aio.map(abs, [-1, -2])
        >>> asyncio.run(main())
        [1, 2]
        """
        return await _result(
            self._pool.map_async(
                func,
                iterable,
                chunksize,
                timeout=timeout,
                retries=retries,
                backoff=backoff,
                priority=priority,
            )
        )

    async def starmap(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        backoff: float | None = None,
        priority: int | None = None,
    ) -> list[T]:
        """As ``Pool.starmap``.

        >>> import asyncio, treadle
        >>> async def main():
        ...     with treadle.Pool(1, kind="thread") as pool:
        ...         return await pool.aio.starmap(pow, [(2, 3), (3, 2)])
        >>> asyncio.run(main())
        [8, 9]
        """
        return await _result(
            self._pool.starmap_async(
                func,
                iterable,
                chunksize,
                timeout=timeout,
                retries=retries,
                backoff=backoff,
                priority=priority,
            )
        )

    def imap(
        self,
        func: Callable[[Any], T],
        iterable: Iterable[Any],
        chunksize: int | None = 1,
        *,
        buffersize: int | None = None,
        timeout: float | None = None,
        retries: int | None = None,
        backoff: float | None = None,
        priority: int | None = None,
    ) -> AsyncIterator[T]:
        """As ``Pool.imap``, for ``async for``; a thread draws the input.

        >>> import asyncio, treadle
        >>> async def main():
        ...     with treadle.Pool(1, kind="thread") as pool:
        ...         return [each async for each in pool.aio.imap(abs, [-1, -2])]
        >>> asyncio.run(main())
        [1, 2]
        """
        return _Results(
            self._pool.imap(
                func,
                iterable,
                chunksize,
                buffersize=buffersize,
                timeout=timeout,
                retries=retries,
                backoff=backoff,
                priority=priority,
            )
        )

    def imap_unordered(
        self,
        func: Callable[[Any], T],
        iterable: Iterable[Any],
        chunksize: int | None = 1,
        *,
        buffersize: int | None = None,
        timeout: float | None = None,
        retries: int | None = None,
        backoff: float | None = None,
        priority: int | None = None,
    ) -> AsyncIterator[T]:
        """As ``Pool.imap_unordered``, for ``async for``.

        >>> import asyncio, treadle
        >>> async def main():
        ...     with treadle.Pool(1, kind="thread") as pool:
        ...         return {each async for each in pool.aio.imap_unordered(abs, [-1, -2])}
        >>> asyncio.run(main())
        {1, 2}
        """
        return _Results(
            self._pool.imap_unordered(
                func,
                iterable,
                chunksize,
                buffersize=buffersize,
                timeout=timeout,
                retries=retries,
                backoff=backoff,
                priority=priority,
            )
        )

    async def join(self) -> None:
        """As ``Pool.join``.

        >>> import asyncio, treadle
        >>> async def main():
        ...     pool = treadle.Pool(1, kind="thread")
        ...     pool.close()
        ...     await pool.aio.join()
        >>> asyncio.run(main())
        """
        pool = self._pool
        if not pool._engine.closed:
            raise ValueError("Pool is still running")
        pool._engine.expect_the_end()
        await pool._engine.over.aio.wait()


async def _result(result: AsyncResult[T]) -> T:
    try:
        await result._done.aio.wait()
    except BaseException:  # cancelled, in the way of whichever library's loop
        result.cancel()
        raise
    return result.get()


class _Results(AsyncIterator[T]):
    def __init__(self, results: ImapIterator[T]) -> None:
        self._results = results

    def __aiter__(self) -> _Results[T]:
        return self

    async def __anext__(self) -> T:
        results = self._results
        if results._over:
            raise StopAsyncIteration
        result = await results._job.results.aio.get()
        try:
            return results._settled(result)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        self._results.close()
