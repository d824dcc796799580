"""Executor: a ``concurrent.futures.Executor`` whose running futures can be cancelled too."""

from __future__ import annotations

import concurrent.futures
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeVar

from treadle._pool.calls import CALL, STAR
from treadle._pool.chunks import Chunks
from treadle._pool.dropped import when_dropped
from treadle._pool.engine import Batch, Engine, Part, Policy
from treadle._pool.imap import ImapIterator, ImapJob
from treadle._pool.settings import checked_policy
from treadle._pool.worker import Setup
from treadle._pool.workers import Workers, end_at_exit
from treadle._records import PoolStatistics
from treadle._running.outcomes import Outcome

__all__ = ["Executor", "Future"]

T = TypeVar("T")


class Future(concurrent.futures.Future[T]):
    """A ``concurrent.futures.Future`` that can be cancelled while its call runs.

    A worker process that is stopped is replaced; in a worker thread CancelledError is raised where
    it next runs Python code.

    >>> import treadle
    >>> with treadle.Executor(1, kind="thread") as executor:
    ...     isinstance(executor.submit(int), treadle.Future)
    True
    """

    __module__ = "treadle"  # the name that reports show

    _engine: Engine
    _batch: Batch | None = None

    def cancel(self) -> bool:
        """Have the call not made, or stopped; False if it is over already.

        >>> import time, treadle
        >>> with treadle.Executor(1, start_method="fork") as executor:
        ...     executor.submit(time.sleep, 1000).cancel()
        True
        """
        if self.cancelled():
            return True
        if not super().cancel():
            return False
        with contextlib.suppress(concurrent.futures.InvalidStateError, RuntimeError):
            self.set_running_or_notify_cancel()  # whoever waits is told
        batch = self._batch
        if batch is not None and (not self._engine.cancel(batch) or batch.policy.retries):
            self._engine.cancel_job(batch.job)
        self._batch = None
        return True

    def running(self) -> bool:
        """Whether a worker is at it, at this instant.

        >>> import treadle
        >>> with treadle.Executor(1, kind="thread") as executor:
        ...     future = executor.submit(int)
        ...     future.result(), future.running()
        (0, False)
        """
        if self._batch is None or self.done():
            return False
        at_work = map(self._engine.batch_of, self._engine.crew.at_work())
        return any(each is not None and each.job is self._batch.job for each in at_work)


class _Call:
    """The job of a future."""

    __slots__ = ("function", "future")

    def __init__(self, function: Callable[..., Any], future: Future[Any]) -> None:
        self.function = function
        self.future = future

    def _deliver(self, parts: Sequence[Part]) -> None:
        _, (value,), _ = parts[0]
        try:
            self.future.set_result(value)
        except concurrent.futures.InvalidStateError:  # cancelled meanwhile
            pass
        self.future._batch = None  # which holds the function and its arguments

    def _draw_freely(self) -> None:
        pass

    def _fail(self, index: int, outcome: Outcome) -> None:
        error = outcome.error
        assert error is not None
        if error is self.future._engine.broken:
            error = _broken(error)
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self.future.set_exception(error)
        self.future._batch = None


def _broken(error: BaseException) -> concurrent.futures.BrokenExecutor:
    told = concurrent.futures.BrokenExecutor(f"the workers cannot start: {error!r}")
    told.__cause__ = error
    return told


class Executor(concurrent.futures.Executor):
    """A ``concurrent.futures.Executor`` of worker processes, or threads (``kind="thread"``).

    As the standard library's, but: a worker that dies costs its own call alone (WorkerDiedError, or
    a retry), running calls can be cancelled, functions may be lambdas and closures. max_workers and
    all the rest: as those of ``Pool``.

    >>> import treadle
    >>> with treadle.Executor(2, start_method="fork") as executor:
    ...     future = executor.submit(pow, 2, 10)
    ...     list(executor.map(abs, [-1, -2])), future.result()
    ([1, 2], 1024)
    """

    __module__ = "treadle"  # the name that reports show

    def __init__(
        self,
        max_workers: int | None = None,
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
    ) -> None:
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        self._policy = checked_policy(Policy(timeout, retries, backoff, priority))
        setup = Setup(
            label or "",
            initializer,
            tuple(initargs),
            max_tasks_per_worker,
            memory_limit,
            blas_threads,
        )
        self._workers = Workers(max_workers, kind, setup, start_method, pin=pin, base="Executor")
        self._engine = engine = self._workers.engine
        when_dropped(self, engine.close)  # its calls are made, as the standard library's
        end_at_exit(engine, wait=True)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have ``fn(*args, **kwargs)`` called by a worker; returns a Future.

        Raises RuntimeError after ``shutdown``, BrokenExecutor when no worker can start.

        >>> import treadle
        >>> with treadle.Executor(1, kind="thread") as executor:
        ...     executor.submit(pow, 2, 3).result()
        8
        """
        engine = self._engine
        self._check_open()
        future: Future[T] = Future()
        future._engine = engine
        job = _Call(fn, future)
        try:
            sent = engine.crew.prepared(fn)
        except Exception as error:
            future.set_exception(error)
            return future
        if kwargs:
            batch = engine.submit(job, CALL, ((args, kwargs),), 0, self._policy, sent)
        else:
            batch = engine.submit(job, STAR, (args,), 0, self._policy, sent)
        future._batch = batch
        if batch is None or batch.told == batch.count or batch.cancelled:  # while it was sent
            future._batch = None
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """An iterator over ``map(fn, *iterables)``, whose calls are made by workers.

        timeout: seconds from now on, after which the iterator raises TimeoutError. chunksize: how
        many items a worker takes at once; None measures them. buffersize: how many items are drawn
        before their results are taken; by default all are drawn at once.

        >>> import treadle
        >>> with treadle.Executor(2, kind="thread") as executor:
        ...     list(executor.map(pow, [2, 3], [3, 2]))
        [8, 9]
        """
        self._check_open()
        deadline = None if timeout is None else time.monotonic() + timeout
        chunks = Chunks(self._workers.count, chunksize)
        drawn: Iterable[Any] = zip(*iterables, strict=False)
        if buffersize is None:
            drawn = list(drawn)
            buffersize = len(drawn) + 1  # the end is seen before any result is taken
        elif buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        job = ImapJob(self._engine, fn, STAR, drawn, chunks, buffersize, self._policy, ordered=True)
        return _results(ImapIterator(job, None, cancel_when_dropped=False), deadline)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; the workers end when all is done.

        wait: until they have. cancel_futures: cancel what no worker has begun.

        >>> import treadle
        >>> executor = treadle.Executor(1, kind="thread")
        >>> executor.shutdown()
        """
        self._engine.check_here()
        self._engine.close()
        if cancel_futures:
            self._cancel_waiting()
        if wait:
            self._engine.expect_the_end()
            self._engine.over.wait()

    def statistics(self) -> PoolStatistics:
        """What the executor is at: a frozen snapshot, a ``PoolStatistics``.

        >>> import treadle
        >>> with treadle.Executor(2, kind="thread") as executor:
        ...     executor.submit(abs, -1).result()
        ...     executor.statistics().workers
        1
        2
        """
        return self._workers.statistics()

    def _cancel_waiting(self) -> None:
        at_work = set(self._engine.crew.at_work())
        for batch in self._engine.outstanding():
            job = batch.job
            if batch.serial not in at_work:
                if isinstance(job, _Call):
                    job.future._batch = batch  # submit() may be about to say so
                    job.future.cancel()
                elif self._engine.cancel(batch):
                    cancelled = Outcome(error=concurrent.futures.CancelledError())
                    for index in range(batch.told, batch.count):
                        job._fail(batch.first + index, cancelled)

    def _check_open(self) -> None:
        engine = self._engine
        engine.check_here()
        if engine.broken is not None:
            raise _broken(engine.broken)
        if engine.closed:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def __repr__(self) -> str:
        workers = self._workers
        return f"<treadle.Executor {self._engine.label!r}: {workers.count} {workers.kind} workers>"


def _results(results: ImapIterator[T], deadline: float | None) -> Iterator[T]:
    try:
        while True:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            try:
                yield results.next(left)
            except StopIteration:
                return
    finally:
        if not results._over:
            results._job.close_soon()  # a collection may have ended this generator
