"""A backend for joblib, so that ``joblib.Parallel`` and scikit-learn's ``n_jobs`` run on a Pool.

Needs joblib 1.4 or later: ``pip install 'treadle[joblib]'``.

>>> import joblib, treadle.joblib
>>> treadle.joblib.register()
>>> with joblib.parallel_config(backend="treadle", n_jobs=2, kind="thread"):
...     joblib.Parallel()(joblib.delayed(abs)(x) for x in [-1, -2, -3])
[1, 2, 3]

Prior art: joblib's ``LokyBackend``, which keeps one set of workers for the whole program and, when
a task fails, kills them all. Here a pool lives as long as its backend (a ``parallel_config`` block,
or a ``Parallel`` that was given the backend by name), and a failure cancels the calls of that
backend alone: workers that are amid one of them are replaced, the others stay.
"""

from __future__ import annotations

import os
import weakref
from abc import ABCMeta
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import treadle

try:
    from joblib import cpu_count, register_parallel_backend
    from joblib.parallel import (
        AutoBatchingMixin,
        FallbackToBackend,
        ParallelBackendBase,
        SequentialBackend,
    )
except ImportError as _error:
    raise ImportError(
        "treadle.joblib needs joblib 1.4 or later: pip install 'treadle[joblib]'"
    ) from _error

__all__ = ["TreadleBackend", "register"]

_OF_JOBLIB = {"context", "max_nbytes", "mmap_mode", "temp_folder", "verbose"}
"""What joblib tells every backend: for its own pools, which put large arrays into files."""


def register(*, make_default: bool = False) -> None:
    """Give joblib the backend "treadle".

    make_default: whether ``Parallel`` uses it where no backend is named.

    >>> import joblib, treadle.joblib
    >>> treadle.joblib.register()
    >>> joblib.Parallel(2, backend="treadle", kind="thread")(joblib.delayed(len)(x) for x in "abc")
    [1, 1, 1]
    """
    register_parallel_backend("treadle", TreadleBackend, make_default=make_default)


@dataclass(frozen=True, slots=True)
class _Told:
    """What became of a batch, as a callback of joblib's takes it."""

    value: Any = None
    error: BaseException | None = None


class TreadleBackend(
    AutoBatchingMixin,  # type: ignore[misc]  # joblib has no types
    ParallelBackendBase,  # type: ignore[misc]
    metaclass=ABCMeta,
):
    """What runs joblib's batches on a ``treadle.Pool``; made by joblib, by the name "treadle".

    What ``parallel_config`` or ``Parallel`` is given beside joblib's own parameters goes to the
    pool: kind, start_method, retries, memory_limit, and so on. n_jobs: the pool's workers, by
    default as many as there are CPUs. inner_max_num_threads: the pool's blas_threads. timeout is
    joblib's, for which each result is waited at most.

    A call nested in a worker's runs on threads, and one nested in that sequentially, as with
    joblib's own backends.

    >>> import joblib, treadle.joblib
    >>> treadle.joblib.register()
    >>> with joblib.parallel_config(backend="treadle", start_method="fork", retries=2):
    ...     joblib.Parallel(n_jobs=2)(joblib.delayed(pow)(x, 2) for x in range(4))
    [0, 1, 4, 9]
    """

    default_n_jobs = -1
    supports_inner_max_num_threads = True
    supports_retrieve_callback = True

    # A pool's task costs less than the tasks that joblib's values are for.
    MIN_IDEAL_BATCH_DURATION = 0.02
    MAX_IDEAL_BATCH_DURATION = 0.5

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads, **options
        )
        self._options = options
        self._pool: treadle.Pool | None = None
        self._made_for: tuple[int, dict[str, Any]] | None = None
        self._pid = 0
        self._out: dict[object, treadle.AsyncResult[Any] | None] = {}
        self.parallel: Any = None

    @property
    def uses_threads(self) -> bool:
        """Whether the workers are threads."""
        return self._options.get("kind") == "thread"

    supports_sharedmem = uses_threads

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many workers there are for that n_jobs: -1 is for all CPUs, -2 for all but one."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 has no meaning: 1 runs the calls here, -1 on all CPUs")
        if n_jobs is None:
            return 1
        return n_jobs if n_jobs > 0 else max(int(cpu_count()) + 1 + n_jobs, 1)

    def configure(
        self,
        n_jobs: int | None = 1,
        parallel: Any = None,
        prefer: str | None = None,
        require: str | None = None,
        **options: Any,
    ) -> int:
        """Be ready for the calls of a ``Parallel``; returns the number of workers."""
        workers = self.effective_n_jobs(n_jobs)
        if workers == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        of_pool = {name: each for name, each in options.items() if name not in _OF_JOBLIB}
        wanted = workers, self._options | of_pool
        if self._pid != os.getpid():  # the pool is another process's
            self._pool, self._out = None, {}
        if self._pool is None or self._made_for != wanted or not self._is_running(self._pool):
            before, self._pool = self._pool, self._make_pool(*wanted)
            self._made_for, self._pid = wanted, os.getpid()
            if before is not None:
                before.close()  # a generator may be waiting for its results
        self.parallel = parallel
        return workers

    def submit(
        self, func: Callable[[], Any], callback: Callable[[_Told], object] | None = None
    ) -> treadle.AsyncResult[Any]:
        """Have a batch run; callback: told what became of it."""
        token = object()

        def tell(told: _Told) -> None:
            self._out.pop(token, None)
            if callback is not None:
                callback(told)

        self._out[token] = None
        try:
            result = self._apply(func, tell)
        except BaseException:
            self._out.pop(token, None)
            raise
        self._out[token] = result
        if result.ready():  # it may have been told before it was noted
            self._out.pop(token, None)
        return result

    apply_async = submit  # its name before joblib 1.5

    def retrieve_result_callback(self, out: _Told) -> Any:
        """The results of a batch, from what the callback was told; or raises."""
        if out.error is not None:
            raise out.error
        return out.value

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel what has been submitted: nobody wants it any more. The pool stays."""
        for result in list(self._out.values()):
            if result is not None:
                result.cancel()

    def terminate(self) -> None:
        """A ``Parallel`` is done. The pool stays for the next one."""
        self.parallel = None  # which refers to this
        self.reset_batch_stats()

    def compute_batch_size(self) -> int:
        """How many calls go into the next batch."""
        if self.parallel is None:  # a late callback
            return 1
        return int(super().compute_batch_size())

    def _apply(
        self, func: Callable[[], Any], tell: Callable[[_Told], None]
    ) -> treadle.AsyncResult[Any]:
        while True:
            pool = self._pool
            assert pool is not None
            try:
                return pool.apply_async(
                    func,
                    callback=lambda value: tell(_Told(value)),
                    error_callback=lambda error: tell(_Told(error=error)),
                )
            except ValueError:  # closed
                if pool is self._pool:
                    raise

    def _make_pool(self, workers: int, options: dict[str, Any]) -> treadle.Pool:
        defaults = {"blas_threads": self.inner_max_num_threads, "label": "joblib"}
        pool = treadle.Pool(workers, **(defaults | options))
        weakref.finalize(self, _end, pool, os.getpid()).atexit = False
        return pool

    @staticmethod
    def _is_running(pool: treadle.Pool) -> bool:
        try:
            pool.__enter__()
        except Exception:  # broken, say
            return False
        return True


def _end(pool: treadle.Pool, pid: int) -> None:
    if os.getpid() == pid:
        pool.terminate()
