"""Worker threads: batches by reference, results told by the thread that has them.

A thread cannot be killed: a task is stopped by an exception that is raised in it where it next runs
Python code, so its worker is given up and replaced at once, and ends when that task has.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import Any

from treadle._core import Lock, PriorityQueue, Stoppable
from treadle._errors import ShutDown, TaskError, TaskTimeoutError
from treadle._pool import current
from treadle._pool.calls import arguments, task_name
from treadle._pool.engine import Batch, Engine
from treadle._pool.worker import Setup
from treadle._running.outcomes import Outcome
from treadle._timers import Timer

__all__ = ["ThreadCrew"]

_FALSE_STARTS = 3  # workers in a row whose initializer failed: then the pool is given up
_AGAIN = 0.1  # seconds until a task that has not heeded the end of its pool is told again
_REPORTING = 0.001  # seconds after which values are told though the batch goes on


class _Worker:
    """One thread, and what it is at."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.batch: Batch | None = None
        self.step = 0
        self.call: Stoppable | None = None
        self.given_up = False
        self.thread: threading.Thread | None = None


class ThreadCrew:
    """As engine.Crew says."""

    def __init__(self, engine: Engine, workers: int, setup: Setup) -> None:
        self._engine = engine
        self._setup = setup
        self._tasks: PriorityQueue[Any] = PriorityQueue(shared=False)
        self._changing = Lock(shared=False)
        self._count = workers
        self._workers: set[_Worker] = set()
        self._leaving = False
        self._false_starts = 0
        self.deaths = 0

    def start(self) -> None:
        """Start the workers."""
        for index in range(self._count):
            self._start(index)

    # ---- For the engine

    def prepared(self, function: Callable[..., Any]) -> Any:
        return function

    def prepared_items(self, how: int, items: Sequence[Any], *, apart: bool = False) -> Any:
        return items

    def send(self, batches: Sequence[Batch]) -> int:
        try:
            for batch in batches:
                self._tasks.put((-batch.policy.priority, batch.serial, batch))
        except ShutDown:  # the pool has ended meanwhile, and told so
            pass
        return len(batches)

    def stop(self, batch: Batch, why: Outcome) -> bool:
        self.stop_running(batch, why)
        return True

    def stop_running(self, batch: Batch, why: Outcome) -> None:
        with self._changing:
            for worker in self._workers:
                if worker.batch is batch:
                    self._give_up(worker, CancelledError)
                    break  # the set has changed

    def forget(self, batch: Batch) -> None:
        pass

    def leave(self) -> None:
        self._leaving = True
        self._tasks.shutdown()
        self._check_over()

    def kill(self) -> None:
        self._leaving = True
        self._tasks.shutdown(immediate=True)
        with self._changing:
            for worker in self._workers:
                worker.given_up = True  # what follows in its batch is not begun
            calls = [worker.call for worker in self._workers if worker.call is not None]
        for call in calls:
            _stop_for_good(call)
        self._check_over()

    def pids(self) -> list[int]:
        """Of the workers that there are: all this process."""
        with self._changing:
            return [os.getpid()] * len(self._workers)

    def at_work(self) -> list[int]:
        """The serial numbers of the batches that are run now, 0 for an idle worker."""
        with self._changing:
            batches = [worker.batch for worker in self._workers]
        return [0 if batch is None else batch.serial for batch in batches]

    # ---- Threads

    def _start(self, index: int) -> None:
        worker = _Worker(index)
        with self._changing:
            self._workers.add(worker)
        worker.thread = threading.Thread(
            target=self._work,
            args=(worker,),
            name=f"{self._engine.label}-{index}",
            daemon=True,
        )
        try:
            worker.thread.start()
        except BaseException:
            with self._changing:
                self._workers.discard(worker)
            raise

    def _give_up(self, worker: _Worker, error: type[BaseException]) -> None:
        """Under the lock: raise that in its task, and have another thread in its place."""
        worker.given_up = True
        self._workers.discard(worker)
        if worker.call is not None:
            worker.call.stop(error)
        replacing = Timer(0, self._start, (worker.index,))
        replacing.daemon = True
        replacing.start()

    def _work(self, worker: _Worker) -> None:
        try:
            if self._begin(worker):
                self._serve(worker)
        finally:
            with self._changing:
                self._workers.discard(worker)
            if not worker.given_up and not self._leaving:
                self._start(worker.index)
            self._check_over()

    def _begin(self, worker: _Worker) -> bool:
        current.become(worker.index, self._setup.label)
        try:
            cpus = self._setup.cpus
            if cpus:
                os.sched_setaffinity(0, {cpus[worker.index % len(cpus)]})
            if self._setup.initializer is not None:
                self._setup.initializer(*self._setup.initargs)
        except BaseException as error:
            with self._changing:
                self._false_starts += 1
                enough = self._false_starts >= _FALSE_STARTS
            if enough:
                self._engine.give_up(error)
            return False
        self._false_starts = 0
        return True

    def _serve(self, worker: _Worker) -> None:
        left = self._setup.max_tasks
        while left != 0 and not worker.given_up:
            try:
                batch = self._tasks.get()[2]
            except ShutDown:
                return
            worker.batch = batch
            if self._engine.batch_of(batch.serial) is not None and not batch.cancelled:
                self._run(worker, batch)
            worker.batch = batch = None
            if left is not None:
                left -= 1

    def _check_over(self) -> None:
        with self._changing:
            over = self._leaving and not self._workers
        if over:
            self._engine.over.set()

    # ---- A batch

    def _run(self, worker: _Worker, batch: Batch) -> None:
        how, function, timeout = batch.how, batch.function, batch.policy.timeout
        first, values, since = 0, [], time.monotonic()
        for step, item in enumerate(batch.items):
            worker.step, worker.call = step, Stoppable()
            if worker.given_up:  # before there was a call to stop
                return
            timer = None if timeout is None else self._timer(worker, batch, step, timeout)
            try:
                values.append(worker.call.call(function, *arguments(how, item)))
            except BaseException as error:
                error = _judged(error, batch)
                if values:
                    self._deliver(worker, batch, first, values, since)
                    values, since = [], time.monotonic()
                first = step + 1
                if not worker.given_up:
                    outcome = Outcome(error=error)
                    self._engine.erred(batch, step, outcome, batch.items[step : step + 1])
                del error  # no cycle with its traceback
            finally:
                worker.call = None
                if timer is not None:
                    timer.cancel()
            if worker.given_up:
                return
            if values and batch.count > 1 and time.monotonic() - since > _REPORTING:
                self._deliver(worker, batch, first, values, since)
                first, values, since = step + 1, [], time.monotonic()
        if values:
            self._deliver(worker, batch, first, values, since)

    def _deliver(
        self, worker: _Worker, batch: Batch, first: int, values: list[Any], since: float
    ) -> None:
        if not worker.given_up:
            self._engine.delivered(((batch, first, values, time.monotonic() - since),))

    def _timer(self, worker: _Worker, batch: Batch, step: int, timeout: float) -> Timer:
        timer = Timer(timeout, self._expired, (worker, batch, step, timeout))
        timer.daemon = True
        timer.start()
        return timer

    def _expired(self, worker: _Worker, batch: Batch, step: int, timeout: float) -> None:
        with self._changing:
            if worker.batch is not batch or worker.step != step or worker.call is None:
                return
            self._give_up(worker, TaskTimeoutError)
        told = f"{task_name(batch.job.function)} ran for longer than its timeout of {timeout} s"
        error = TaskTimeoutError(f"{told}; it is stopped where it next runs Python code")
        batch.given_back = batch.function, batch.items
        self._engine.died(batch, step, Outcome(error=error))


def _stop_for_good(call: Stoppable) -> None:
    """Again and again: an exception that is raised amid a finalizer, which any allocation may run,
    is reported there and goes no further.
    """
    if call.stop(CancelledError):
        again = Timer(_AGAIN, _stop_for_good, (call,))
        again.daemon = True
        again.start()


def _judged(error: BaseException, batch: Batch) -> BaseException:
    """What the error of a task is told as."""
    if isinstance(error, SystemExit):  # no error to be raised where the result is asked for
        name = task_name(batch.job.function)
        told = TaskError(f"{name} ended itself by {error!r}: it has no result")
        return told.with_traceback(error.__traceback__)
    return error
