"""A worker process: takes files, does them, and sends what came of them.

`do_task` is the work, the same on treadle and on its rival; `work` is the loop on treadle's queues.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import parent_process

import treadle
from treadle.demo.content import Unreadable, read_content
from treadle.demo.messages import Beat, Done, Message, Refused, Task
from treadle.demo.victims import work_until_killed

ATTEMPTS = 3
"""A file that has cost so many workers their life, unasked, is given up."""


def work(tasks: treadle.Queue[Task], results: treadle.Queue[Message]) -> None:
    """Do tasks under lease until the queue is shut down and nothing is left to deliver."""
    leave_with_parent()
    try:
        while True:
            with tasks.lease() as lease:
                # Before the ack: a worker that dies between the two makes a result that comes
                # twice, which the collector drops; the other order would lose it.
                results.put(do_task(lease.item, lease.deliveries, results.put))
    except treadle.ShutDown:
        return
    except treadle.TreadleError as error:  # the parent counts its death; why, it says itself
        sys.exit(f"treadle demo: worker {os.getpid()}: {error}")


def do_task(task: Task, deliveries: int, send: Callable[[Message], object]) -> Done | Refused:
    """Do one file and return what came of it; news from the middle of the work go to ``send``."""
    pid = os.getpid()
    if deliveries <= task.kills:
        work_until_killed(task, send)
    if deliveries - task.kills > ATTEMPTS:
        problem = f"it is given up: {ATTEMPTS} workers died while they worked on it"
        return Refused(task.path, problem, pid, deliveries)
    begun = time.perf_counter()
    try:
        content = read_content(task.path, lambda read: send(Beat(task.path, pid, read)))
    except Unreadable as error:
        return Refused(task.path, str(error), pid, deliveries)
    return Done(
        path=task.path,
        size=content.size,
        sha256=content.sha256,
        compressed=content.compressed,
        inode=content.inode,
        mtime_ns=content.mtime_ns,
        ctime_ns=content.ctime_ns,
        pid=pid,
        deliveries=deliveries,
        seconds=round(time.perf_counter() - begun, 6),
    )


def leave_with_parent() -> None:
    """Make this process end when its parent does, even if the parent is killed."""
    parent = parent_process()
    if parent is None:
        return

    def wait_and_leave() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_and_leave, name="leave-with-parent", daemon=True).start()
