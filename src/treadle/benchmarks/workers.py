"""Processes and threads that start their jobs at the same moment and tell when each ended.

The clock is the monotonic one, which all processes of a machine share.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from treadle.benchmarks import watchdog

Job = Callable[[], Any]


class WorkerFailed(Exception):
    """A worker process ended without a result."""


@dataclass(frozen=True)
class Run:
    """One job's run: when it began and ended (by `time.perf_counter`), and what it returned."""

    began: float
    ended: float
    result: Any


def in_processes(*jobs: Job) -> list[Run]:
    """Run each job in a forked process of its own, all released at once; one run per job."""
    fork = multiprocessing.get_context("fork")
    ready_read, ready_write = os.pipe()
    go_read, go_write = os.pipe()
    workers, answers = [], []
    for job in jobs:
        receiver, sender = fork.Pipe(duplex=False)
        worker = fork.Process(
            target=_in_process, args=(job, ready_write, go_read, go_write, sender)
        )
        worker.start()
        sender.close()
        workers.append(worker)
        answers.append(receiver)
    os.close(ready_write)
    for _ in jobs:
        os.read(ready_read, 1)
    os.close(go_write)  # every reader sees the end of the pipe: all are released by one system call
    runs = _collect(
        answers
    )  # if this raises, the others may never end: they are left to the watchdog
    for worker in workers:
        worker.join()
    os.close(go_read)
    os.close(ready_read)
    return runs


def in_threads(*jobs: Job) -> list[Run]:
    """Run each job in a thread of its own, all released at once; one run per job."""
    barrier = threading.Barrier(len(jobs))
    runs: dict[int, Run] = {}

    def work(index: int, job: Job) -> None:
        barrier.wait()
        runs[index] = _run(job)

    threads = [threading.Thread(target=work, args=(index, job)) for index, job in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [runs[index] for index in range(len(jobs))]


def elapsed(runs: Sequence[Run]) -> float:
    """Seconds from the first worker's beginning to the last one's end."""
    return max(run.ended for run in runs) - min(run.began for run in runs)


def _in_process(
    job: Job, ready_write: int, go_read: int, go_write: int, sender: Connection
) -> None:
    watchdog.arm()
    os.close(go_write)
    os.write(ready_write, b"r")
    os.read(go_read, 1)
    sender.send(_run(job))


def _run(job: Job) -> Run:
    began = time.perf_counter()
    result = job()
    return Run(began, time.perf_counter(), result)


def _collect(answers: list[Connection]) -> list[Run]:
    """The runs; raises as soon as a worker ends without one, while others may wait for it."""
    runs: dict[Connection, Run] = {}
    while missing := [answer for answer in answers if answer not in runs]:
        for answer in wait(missing):
            assert isinstance(answer, Connection)
            try:
                runs[answer] = answer.recv()
            except EOFError:
                raise WorkerFailed("a worker process ended without a result; see the log") from None
    return [runs[answer] for answer in answers]
