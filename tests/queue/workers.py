"""Workers of every kind that a queue is used from, and what tests ask about queues."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import treadle
from tests.sync.threads import until

PROCESSES = ("fork", "spawn", "forkserver", "subprocess")
KINDS = ("thread", *PROCESSES)

_ROOT = Path(__file__).parents[2]
# A program that shares nothing with this one but what it reads.
_PROGRAM = """
import pickle, sys
sys.path.insert(0, ".")
function, arguments = pickle.load(sys.stdin.buffer)
function(*arguments)
"""


class Worker:
    """Runs ``function(*arguments)`` in a thread or a process.

    The function is imported by its name in processes of other programs: it lies in a module that is
    quickly imported.
    """

    def __init__(self, kind: str, function: Callable[..., object], *arguments: object) -> None:
        self.kind = kind
        self._error: BaseException | None = None
        if kind == "thread":
            self._thread = threading.Thread(
                target=self._run, args=(function, arguments), daemon=True
            )
            self._thread.start()
        elif kind == "subprocess":
            self._program = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, cwd=_ROOT
            )
            assert self._program.stdin is not None
            with self._program.stdin as stdin:
                pickle.dump((function, arguments), stdin)
        else:
            self._process = multiprocessing.get_context(kind).Process(  # type: ignore[attr-defined]
                target=function, args=arguments, daemon=True
            )
            self._process.start()

    @property
    def pid(self) -> int:
        if self.kind == "thread":
            return os.getpid()
        return self._program.pid if self.kind == "subprocess" else self._process.pid

    def join(self) -> None:
        """Wait until the function has returned, which it must do without an error."""
        if self.kind == "thread":
            self._thread.join()
            if self._error is not None:
                raise self._error
        else:
            assert self._wait() == 0, f"the {self.kind} worker failed; its traceback is on stderr"

    def kill(self) -> None:
        """Kill the process, and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        assert self._wait() == -signal.SIGKILL

    def dispose(self) -> None:
        """See that no process is left, however the test went."""
        if self.kind == "thread":
            return  # a daemon
        if self.kind == "subprocess":
            self._program.kill()
        else:
            self._process.kill()
        self._wait()

    def _wait(self) -> int | None:
        if self.kind == "subprocess":
            return self._program.wait()
        self._process.join()
        return self._process.exitcode

    def _run(self, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
        try:
            function(*arguments)
        except BaseException as error:
            self._error = error


Start = Callable[..., Worker]


def until_waiting(queue: treadle.Queue, count: int = 1) -> None:
    """Return when so many threads, of all processes, wait in calls of the queue."""
    until(lambda: queue.statistics().waiting >= count)


def books() -> tuple[int, int]:
    """The arena's blocks and the bytes in use, without what the dead have left."""
    gc.collect()
    treadle.sweep()
    figures = treadle.arena_statistics()
    return figures.blocks, figures.used


def raised_by(function: Callable[..., object], *arguments: Any) -> type[BaseException] | None:
    try:
        function(*arguments)
    except BaseException as error:
        return type(error)
    return None
