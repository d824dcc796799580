"""An engine and its crew, as pools and executors have them, and their end with the interpreter."""

from __future__ import annotations

import atexit
import itertools
import os
import weakref

from treadle._pool.engine import Engine
from treadle._pool.processes import ProcessCrew
from treadle._pool.threads import ThreadCrew
from treadle._pool.worker import Setup
from treadle._records import PoolStatistics

__all__ = ["Workers", "end_at_exit"]

_AT_EXIT = 2.0  # seconds that the interpreter's end waits for workers that are being killed
_numbers = itertools.count(1)


class Workers:
    """What ``Pool`` and ``Executor`` have in common: an engine and its crew."""

    def __init__(
        self,
        workers: int | None,
        kind: str,
        setup: Setup,
        start_method: str | None,
        *,
        pin: bool,
        base: str,
    ) -> None:
        self.count = _checked_count(workers, kind)
        setup = _completed(setup, kind, self.count, pin=pin, base=base)
        self.kind = kind
        self.engine = Engine(setup.label)
        self.crew: ProcessCrew | ThreadCrew
        if kind == "process":
            self.crew = ProcessCrew(self.engine, self.count, start_method, setup)
        elif start_method is not None:
            raise ValueError("threads have no start_method")
        else:
            self.crew = ThreadCrew(self.engine, self.count, setup)
        self.engine.crew = self.crew
        self.crew.start()

    def statistics(self) -> PoolStatistics:
        """A snapshot, possibly stale."""
        engine, at_work = self.engine, self.crew.at_work()
        return PoolStatistics(
            label=engine.label,
            kind=self.kind,
            workers=self.count,
            pids=tuple(self.crew.pids()),
            busy=sum(serial != 0 for serial in at_work),
            submitted=engine.submitted,
            finished=engine.finished,
            failed=engine.failed,
            retried=engine.retried,
            deaths=self.crew.deaths,
        )


def _checked_count(workers: int | None, kind: str) -> int:
    if kind not in ("process", "thread"):
        raise ValueError(f"kind must be 'process' or 'thread', not {kind!r}")
    if workers is None:
        return len(os.sched_getaffinity(0)) or 1
    if workers < 1:
        raise ValueError(f"Number of processes must be at least 1: workers={workers}")
    return workers


def _completed(setup: Setup, kind: str, workers: int, *, pin: bool, base: str) -> Setup:
    if setup.initializer is not None and not callable(setup.initializer):
        raise TypeError("initializer must be a callable")
    most = setup.max_tasks
    if most is not None and (not isinstance(most, int) or most < 1):
        raise ValueError(f"max_tasks_per_worker must be a whole number from 1 on, not {most!r}")
    if kind == "thread" and setup.memory_limit is not None:
        raise ValueError("threads share their memory: memory_limit is for kind='process'")
    if kind == "thread" and setup.blas_threads is not None:
        raise ValueError("threads share their libraries: blas_threads is for kind='process'")
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    blas = setup.blas_threads
    if blas is None and kind == "process":
        blas = max(1, len(cpus) // workers)
    return Setup(
        setup.label or f"{base}-{next(_numbers)}",
        setup.initializer,
        tuple(setup.initargs),
        setup.max_tasks,
        setup.memory_limit,
        blas or None,
        cpus if pin else (),
    )


def end_at_exit(engine: Engine, *, wait: bool = False) -> None:
    """End what is still running when the interpreter ends, before multiprocessing does it.

    wait: until all is done, in place of ending it.
    """
    there = weakref.ref(engine)
    pid = os.getpid()

    def end() -> None:
        engine = there()
        if engine is None or os.getpid() != pid or engine.over.is_set():
            return
        if wait:
            engine.close()
            engine.over.wait()
        else:
            engine.terminate()
            engine.over.wait(_AT_EXIT)

    atexit.register(end)
    weakref.finalize(engine, atexit.unregister, end).atexit = False
