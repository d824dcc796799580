"""Who is to be killed, and how it is made sure that they are killed in the middle of their work.

The order to die travels with the file, not with a worker: a `Task` says on how many of its
deliveries its worker is to die. So every kill comes, even over a single file, and whichever worker
happens to be the fastest. The victim says that it has begun, and then really works (reads, hashes,
compresses the same file, again and again) until the SIGKILL comes: it is hit at an arbitrary
instruction, and it is certain that it has not finished.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator

from treadle.demo.content import Unreadable, read_content
from treadle.demo.messages import Begun, Message, Task
from treadle.demo.walk import Found

SECONDS_TO_LIVE = 20.0
"""A victim that nobody kills does its file after all; the final check then misses a kill.

In seconds of its own CPU time, so that a demo stopped by Ctrl-Z loses no victim.
"""
WORTH_KILLING_FOR = 64 << 10
SPACING = 16


def tasks_for(files: Iterable[Found], kills: int) -> Iterator[Task]:
    """Yield a `Task` for each file; their ``kills`` add up to ``kills`` if there is a file at all.

    The marks go to large files, some way apart; the last file takes those that are left.
    """
    held_back: Found | None = None
    since_last = SPACING // 2
    for found in files:
        if held_back is not None:
            marked = kills > 0 and since_last >= SPACING and held_back.size >= WORTH_KILLING_FOR
            yield Task(held_back.path, int(marked))
            kills -= marked
            since_last = 0 if marked else since_last + 1
        held_back = found
    if held_back is not None:
        yield Task(held_back.path, kills)


def work_until_killed(task: Task, send: Callable[[Message], object]) -> None:
    """Tell the parent that the file has been begun, and work on it until the SIGKILL comes."""
    send(Begun(task.path, os.getpid()))
    end = time.process_time() + SECONDS_TO_LIVE
    while time.process_time() < end:
        try:
            read_content(task.path)
        except Unreadable:
            continue  # the file's problem is told by the worker that survives it
