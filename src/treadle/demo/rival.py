"""The same job on plain multiprocessing, as one writes it: two ``Queue``s and ``Process``es.

It gets the same workers' work, the same supervisor and the same kill. What it has not is a lease:
an item that a killed worker had taken is gone, so that a parent which waits for a result of every
file waits for ever; and a worker killed while it held the pipe's lock blocks all the others. Hence
the watchdog. What is read from the pipe is read by a daemon thread, so that even a parent's ``get``
that hangs in the middle of a message does not hang the demo.
"""

from __future__ import annotations

import multiprocessing
import queue
import threading
from multiprocessing.queues import Queue
from typing import Any

from treadle.demo.collector import Collector, Patience, Stalled
from treadle.demo.display import Display
from treadle.demo.feeder import Feeder
from treadle.demo.interrupt import undisturbed
from treadle.demo.messages import Message, Task
from treadle.demo.run import DemoError, Job, Run
from treadle.demo.supervisor import Supervisor
from treadle.demo.worker import do_task, leave_with_parent

WATCHDOG = 5.0
"""Seconds of silence after which the run on multiprocessing is taken to hang.

A worker on a large file is heard from every 8 MiB; a silence is not the silence of work.
"""

SECONDS_TO_END = 2.0

_kept: list[Queue[Any]] = []
"""The queues of all runs, until the interpreter ends.

The thread that writes for a queue cannot be joined: after a kill it may be blocked for good. If it
were the last to hold the queue's semaphores, it would unlink them, and the interpreter, which does
not wait for it, could end in the middle of that: multiprocessing's resource tracker then complains
of a leak. What is kept is unlinked by multiprocessing's own exit handler, in the main thread.
"""


def work(tasks: Queue[Task | None], results: Queue[Message | None]) -> None:
    """Do tasks until the None that ends them."""
    leave_with_parent()
    for task in iter(tasks.get, None):
        results.put(do_task(task, 1, results.put))


def run_on_multiprocessing(job: Job, display: Display, watchdog: float = WATCHDOG) -> Run:
    """Do ``job`` with multiprocessing's queues; ``watchdog`` is the silence, in s, that ends it."""
    context = multiprocessing.get_context("spawn")
    with undisturbed():  # a semaphore that is half made leaks
        tasks: Queue[Task | None] = context.Queue()
        results: Queue[Message | None] = context.Queue()
        _kept.extend((tasks, results))
    inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()

    over = threading.Event()

    def put_many(batch: list[Task]) -> None:
        if over.is_set():
            raise EOFError("the run is over")
        for task in batch:
            tasks.put(task)

    def end_of_tasks() -> None:
        if not over.is_set():
            for _ in range(job.workers):
                tasks.put(None)

    def forward() -> None:
        while (message := results.get()) is not None:
            inbox.put(message)

    feeder = Feeder(job, put_many, end_of_tasks)
    supervisor = Supervisor(work, (tasks, results), job.workers, post=inbox.put)
    forwarder = threading.Thread(target=forward, name="demo-forward", daemon=True)
    collector = Collector(job.root, display, write=lambda result: None, kill=supervisor.kill)
    failure: str | None = None
    try:
        supervisor.start()
        feeder.start()
        forwarder.start()
        _collect(inbox, collector, feeder, Patience(job.patience), Patience(watchdog))
        failure = supervisor.failure or feeder.failure
    except Stalled as stall:
        failure = supervisor.failure or str(stall)
    finally:
        with undisturbed():
            over.set()
            survivors = supervisor.close()
            results.put(None)  # ends the forwarder, unless a dead worker holds the pipe's lock
            for channel, user in ((tasks, feeder), (results, forwarder)):
                if user.ident is not None:
                    user.join(SECONDS_TO_END)
                channel.cancel_join_thread()
                if not user.is_alive():
                    channel.close()
            if survivors:
                raise DemoError(f"workers that do not die by SIGKILL: {survivors}; see `ps -l`")
    return collector.account("multiprocessing", feeder.paths, feeder.unlisted, failure)


def _collect(
    inbox: queue.SimpleQueue[Message],
    collector: Collector,
    feeder: Feeder,
    patience: Patience,
    watchdog: Patience,
) -> None:
    while feeder.walking or collector.results < len(feeder.paths):
        try:
            message = inbox.get(timeout=patience.WAIT)
        except queue.Empty:
            patience.silence()
        else:
            patience = watchdog  # the first news may take as long as processes take to start
            patience.news()
            collector.take(message)
        collector.show(len(feeder.paths), feeder.walking)
