"""Pool: calls made by workers, processes or threads, and their results."""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from treadle._pool.calls import CALL, MAP, STAR
from treadle._pool.chunks import Chunks
from treadle._pool.dropped import when_dropped
from treadle._pool.engine import Engine, Policy
from treadle._pool.imap import ImapIterator, ImapJob
from treadle._pool.processes import ProcessCrew
from treadle._pool.results import AsyncResult, MapResult
from treadle._pool.settings import checked_policy
from treadle._pool.worker import Setup
from treadle._pool.workers import Workers, end_at_exit
from treadle._records import PoolStatistics

if TYPE_CHECKING:
    from treadle._pool.progress import Bars
    from treadle._pool.views import PoolView

__all__ = ["Pool"]

T = TypeVar("T")

_LEAST_AHEAD = 64  # items that an imap draws ahead, unless it is told how many
_AHEAD = 16  # and for each worker


class Pool:
    """Workers that make calls: processes, or threads (``kind="thread"``).

    What one of them meets with costs its own task alone: a worker that is killed is replaced, and
    the call that it was making raises ``WorkerDiedError``, or is made again (``retries``).

    workers: how many; by default as many as this process may use CPUs. initializer, initargs: what
    each worker calls first; where that fails three times in a row the pool is *broken*, and every
    call raises its error. max_tasks_per_worker: after so many tasks (chunks of them, in ``map``) a
    worker is replaced. timeout, retries, backoff, priority: of each call, unless it says otherwise;
    see ``apply``. memory_limit: bytes of data that a worker may have; a call that wants more raises
    ``WorkerMemoryError``. start_method: "fork", "spawn" or "forkserver"; by default what is set by
    ``multiprocessing.set_start_method``, and else forkserver. pin: whether each worker stays on one
    CPU. blas_threads: how many threads libraries of linear algebra start in a worker; by default
    the CPUs divided by the workers, 0 leaves it to them. label: what reports call the pool.
    progress: whether each map, starmap and imap shows a bar on stderr while it lasts (items done,
    the rate, the time left, failures, busy workers), or what to call these bars; needs rich
    (``treadle[ui]``). Where stderr is no terminal there is none, unless rich is told that it is
    one (by ``TTY_COMPATIBLE=1`` in the environment).

    The function may be a lambda or a closure; a worker rebuilds it once for calls that follow each
    other, so what it keeps in itself lasts as long. Used in a ``with``, the pool is terminated at
    the end of the block.

    >>> import treadle
    >>> with treadle.Pool(2, start_method="fork") as pool:
    ...     pool.map(lambda x: x * x, [1, 2, 3])
    [1, 4, 9]
    """

    __module__ = "treadle"  # the name that reports show

    def __init__(
        self,
        workers: int | None = None,
        *,
        kind: Literal["process", "thread"] = "process",
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        max_tasks_per_worker: int | None = None,
        timeout: float | None = None,
        retries: int = 0,
        backoff: float = 0.0,
        priority: int = 0,
        memory_limit: int | None = None,
        start_method: str | None = None,
        pin: bool = False,
        blas_threads: int | None = None,
        label: str | None = None,
        progress: bool | str = False,
    ) -> None:
        self._bars = _bars(progress) if progress else None
        self._policy = checked_policy(Policy(timeout, retries, backoff, priority))
        setup = Setup(
            label or "",
            initializer,
            tuple(initargs),
            max_tasks_per_worker,
            memory_limit,
            blas_threads,
        )
        self._workers = Workers(workers, kind, setup, start_method, pin=pin, base="Pool")
        self._engine = engine = self._workers.engine
        weakref.finalize(self, _warn, engine, os.getpid()).atexit = False
        when_dropped(self, _forgotten, engine)
        end_at_exit(engine)

    def apply(
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
        """``func(*args, **kwds)``, made by a worker; waits for what it returns, or raises.

        timeout: seconds that the call may take once it has begun; then its worker is stopped and
        replaced, and ``TaskTimeoutError`` is raised (in a thread, TaskTimeoutError is raised in the
        call as well, where it next runs Python code). retries: how often the call is made again
        after an error, a timeout, or the death of its worker; backoff: seconds before the first of
        these, doubled with each. priority: those with a higher one are taken first.

        >>> import treadle
        >>> with treadle.Pool(2, kind="thread") as pool:
        ...     pool.apply(divmod, (7, 2))
        (3, 1)
        """
        self._engine.check_open()
        policy = self._policy_with(timeout, retries, backoff, priority)
        result: AsyncResult[T] = AsyncResult(self._engine, func)
        how, item = (CALL, (tuple(args), dict(kwds))) if kwds else (STAR, tuple(args))
        crew = self._workers.crew
        if isinstance(crew, ProcessCrew):
            return result._made(how, item, policy, crew.lanes, crew.handle)
        result._start(how, item, policy)
        return result.get()

    def apply_async(
        self,
        func: Callable[..., T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
        callback: Callable[[T], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        backoff: float | None = None,
        priority: int | None = None,
    ) -> AsyncResult[T]:
        """As ``apply``, but returns at once, an ``AsyncResult``.

        callback, error_callback: called with the value or the exception, in a thread of the pool's;
        they should not take long, since other results wait for them.

        >>> import treadle
        >>> with treadle.Pool(2, kind="thread") as pool:
        ...     result = pool.apply_async(divmod, (7, 2))
        ...     result.get(timeout=60)
        (3, 1)
        """
        self._engine.check_open()
        policy = self._policy_with(timeout, retries, backoff, priority)
        result: AsyncResult[T] = AsyncResult(self._engine, func, callback, error_callback, self)
        if kwds:
            result._start(CALL, (tuple(args), dict(kwds)), policy)
        else:
            result._start(STAR, tuple(args), policy)
        return result

    def map(
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
        """``list(map(func, iterable))``, in parallel.

        chunksize: how many items a worker takes at once; by default as many as are about a
        millisecond of work, which is measured. Where a worker dies amid a chunk, the item that it
        was at fails; those whose results it had not sent yet (they are from the last millisecond)
        are done again. timeout, retries, backoff, priority: of each item, as of ``apply``.

        When all items are done, the first error is raised, if there was one.

        >>> import treadle
        >>> with treadle.Pool(2, kind="thread") as pool:
        ...     pool.map(abs, range(-3, 0))
        [3, 2, 1]
        """
        policy = self._policy_with(timeout, retries, backoff, priority)
        return self._map(MAP, func, iterable, chunksize, policy).get()

    def map_async(
        self,
        func: Callable[[Any], T],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[list[T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        backoff: float | None = None,
        priority: int | None = None,
    ) -> MapResult[T]:
        """As ``map``, but returns at once, a ``MapResult``; callbacks as of ``apply_async``.

        >>> import treadle
        >>> with treadle.Pool(2, kind="thread") as pool:
        ...     pool.map_async(abs, range(-3, 0)).get(timeout=60)
        [3, 2, 1]
        """
        policy = self._policy_with(timeout, retries, backoff, priority)
        callbacks = callback, error_callback
        return self._map(MAP, func, iterable, chunksize, policy, *callbacks)

    def starmap(
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
        """As ``map``, for items that are the arguments of a call each.

        >>> import treadle
        >>> with treadle.Pool(2, kind="thread") as pool:
        ...     pool.starmap(pow, [(2, 3), (3, 2)])
        [8, 9]
        """
        policy = self._policy_with(timeout, retries, backoff, priority)
        return self._map(STAR, func, iterable, chunksize, policy).get()

    def starmap_async(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        backoff: float | None = None,
        priority: int | None = None,
    ) -> MapResult[T]:
        """As ``starmap``, but returns at once, a ``MapResult``; callbacks as of ``apply_async``.

        >>> import treadle
        >>> with treadle.Pool(2, kind="thread") as pool:
        ...     pool.starmap_async(pow, [(2, 3), (3, 2)]).get(timeout=60)
        [8, 9]
        """
        policy = self._policy_with(timeout, retries, backoff, priority)
        callbacks = callback, error_callback
        return self._map(STAR, func, iterable, chunksize, policy, *callbacks)

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
    ) -> ImapIterator[T]:
        """As ``map``, but an iterator over the results, which draws its input as they are taken.

        buffersize: how many items at most are drawn and their results not taken yet; by default 16
        for each worker, and 64 at least. So the input may be infinite. chunksize: 1 by default,
        since an input may wait for results; None measures the items, as in ``map``. A thread of its
        own draws the input; what that raises is raised in its place among the results.

        >>> import itertools, treadle
        >>> with treadle.Pool(2, kind="thread") as pool:
        ...     results = pool.imap(abs, itertools.count(-3))
        ...     [next(results) for _ in range(4)]
        [3, 2, 1, 0]
        """
        policy = self._policy_with(timeout, retries, backoff, priority)
        return self._imap(func, iterable, chunksize, buffersize, policy, ordered=True)

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
    ) -> ImapIterator[T]:
        """As ``imap``, with the results in the order in which they come.

        >>> import treadle
        >>> with treadle.Pool(2, kind="thread") as pool:
        ...     sorted(pool.imap_unordered(abs, range(-3, 0)))
        [1, 2, 3]
        """
        policy = self._policy_with(timeout, retries, backoff, priority)
        return self._imap(func, iterable, chunksize, buffersize, policy, ordered=False)

    def _map(
        self,
        how: int,
        func: Callable[..., T],
        iterable: Iterable[Any],
        chunksize: int | None,
        policy: Policy,
        callback: Callable[[list[T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult[T]:
        self._engine.check_open()
        items: Sequence[Any]
        if how == STAR:
            items = [tuple(each) for each in iterable]
        else:  # a range makes its items as they are sent
            items = iterable if type(iterable) is range else list(iterable)
        count = self._workers.count
        chunks = Chunks(count, chunksize)
        job = self._engine, func, how, items, chunks, count, policy, callback, error_callback, self
        bar = self._bars and items and self._bars.bar(func, len(items), self._workers)
        result: MapResult[T] = bar.map_result(*job) if bar else MapResult(*job)
        result._start_all()
        return result

    def _imap(
        self,
        func: Callable[..., T],
        iterable: Iterable[Any],
        chunksize: int | None,
        buffersize: int | None,
        policy: Policy,
        *,
        ordered: bool,
    ) -> ImapIterator[T]:
        self._engine.check_open()
        chunks = Chunks(self._workers.count, chunksize)
        if buffersize is None:
            buffersize = max(_LEAST_AHEAD, _AHEAD * self._workers.count) * (chunksize or 1)
        elif buffersize < 1:
            raise ValueError(f"buffersize must be 1 or more, not {buffersize}")
        given = self._engine, func, MAP, iterable, chunks, buffersize, policy
        total = len(iterable) if isinstance(iterable, Sized) else None
        bar = self._bars and self._bars.bar(func, total, self._workers)
        job = (bar.imap_job if bar else ImapJob)(*given, ordered=ordered)
        return ImapIterator(job, self)

    def _policy_with(
        self,
        timeout: float | None,
        retries: int | None,
        backoff: float | None,
        priority: int | None,
    ) -> Policy:
        base = self._policy
        if timeout is None and retries is None and backoff is None and priority is None:
            return base
        return checked_policy(
            Policy(
                base.timeout if timeout is None else timeout,
                base.retries if retries is None else retries,
                base.backoff if backoff is None else backoff,
                base.priority if priority is None else priority,
            )
        )

    @property
    def aio(self) -> PoolView:
        """The same pool for tasks of event loops.

        >>> import asyncio, treadle
        >>> async def main():
        ...     with treadle.Pool(1, kind="thread") as pool:
        ...         return await pool.aio.apply(divmod, (7, 2))
        >>> asyncio.run(main())
        (3, 1)
        """
        from treadle._pool.views import PoolView  # asyncio takes a while to import

        return PoolView(self)

    def statistics(self) -> PoolStatistics:
        """What the pool is at: a frozen snapshot, a ``PoolStatistics``.

        >>> import treadle
        >>> with treadle.Pool(2, kind="thread") as pool:
        ...     pool.map(abs, [-1, -2])
        ...     pool.statistics().finished
        [1, 2]
        2
        """
        return self._workers.statistics()

    # ---- The end

    def close(self) -> None:
        """Take no more calls; the workers end when all is done.

        >>> import treadle
        >>> pool = treadle.Pool(1, kind="thread")
        >>> pool.close()
        >>> pool.join()
        """
        self._engine.check_here()
        self._engine.close()

    def terminate(self) -> None:
        """End the workers at once; calls that are not done raise CancelledError.

        Processes get SIGTERM, and half a second later SIGKILL. In threads CancelledError is raised
        where they next run Python code.

        >>> import treadle
        >>> pool = treadle.Pool(1, kind="thread")
        >>> pool.terminate()
        """
        self._engine.check_here()
        self._engine.terminate()

    def join(self) -> None:
        """Wait until the workers have ended, after ``close`` or ``terminate``.

        From then on ``imap`` draws its input whether or not its results are taken.

        Raises ValueError if the pool is still running.

        >>> import treadle
        >>> pool = treadle.Pool(1, kind="thread")
        >>> pool.join()
        Traceback (most recent call last):
        ...
        ValueError: Pool is still running
        >>> pool.terminate()
        >>> pool.join()
        """
        self._engine.check_here()
        if not self._engine.closed:
            raise ValueError("Pool is still running")
        self._engine.expect_the_end()
        self._engine.over.wait()

    def __enter__(self) -> Pool:
        self._engine.check_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.terminate()

    def __reduce__(self) -> Any:
        raise NotImplementedError(
            "pool objects cannot be passed between processes or pickled: make a pool there"
        )

    def __repr__(self) -> str:
        engine = self._engine
        if engine.broken is not None:
            state = "broken"
        elif engine.terminated:
            state = "terminated"
        else:
            state = "closed" if engine.closed else "running"
        workers = self._workers
        return f"<treadle.Pool {engine.label!r}: {workers.count} {workers.kind} workers, {state}>"


def _bars(progress: bool | str) -> Bars:
    from treadle._pool.progress import Bars  # for those alone who want them

    return Bars(None if progress is True else str(progress))


def _warn(engine: Engine, pid: int) -> None:
    """The pool was collected."""
    if os.getpid() == pid and not engine.closed:
        told = f"{engine.label} was never closed: use 'with', or close() and join()"
        warnings.warn(told, ResourceWarning, stacklevel=2)


def _forgotten(engine: Engine) -> None:
    """The pool was collected a moment ago."""
    if not engine.closed:
        engine.terminate()
