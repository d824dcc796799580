"""Starts the worker processes, replaces those that die, and leaves none behind.

Workers are *spawned*: the parent runs threads (walker, supervisor, display), and a fork would copy
the locks those threads happen to hold. A spawned worker is also a child of this very process, so
that its exit status is its own and its pid cannot be given to another before it has been read.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable
from multiprocessing import connection, resource_tracker
from multiprocessing.context import SpawnProcess
from typing import Any

from treadle.demo.messages import Died

UNASKED_DEATHS = 8
"""So many workers may die without having been killed on purpose; then the run is given up."""
SECONDS_TO_DIE = 10.0


class Supervisor:
    """Keeps ``workers`` processes running ``target(*args)`` until each has returned.

    A worker that ends otherwise is replaced, and told about by ``post(Died(...))``. When the last
    one is gone, ``finished()`` is called. Both are called from the supervisor's own thread.
    """

    def __init__(
        self,
        target: Callable[..., object],
        args: tuple[Any, ...],
        workers: int,
        *,
        post: Callable[[Died], object],
        finished: Callable[[], object] = lambda: None,
    ) -> None:
        self.failure: str | None = None
        self._target = target
        self._args = args
        self._workers = workers
        self._post = post
        self._finished = finished
        self._context = multiprocessing.get_context("spawn")
        self._lock = threading.Lock()  # over the four below
        self._running: dict[int, SpawnProcess] = {}  # by sentinel
        self._killed: set[int] = set()
        self._unasked = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._supervise, name="demo-supervisor", daemon=True)

    def start(self) -> None:
        """Begin to start the workers; returns at once."""
        self._thread.start()

    def kill(self, pid: int) -> bool:
        """Send SIGKILL to the worker ``pid``; False when there is no such worker."""
        with self._lock:
            for process in self._running.values():
                if process.pid == pid and process.exitcode is None:
                    self._killed.add(pid)
                    process.kill()
                    return True
        return False

    def close(self) -> list[int]:
        """Kill whoever is left and wait for them; return the pids that did not go within 10 s."""
        with self._lock:
            self._stop()
        if self._thread.ident is None:
            return []
        self._thread.join(SECONDS_TO_DIE)
        with self._lock:
            return [process.pid or 0 for process in self._running.values()]

    def _supervise(self) -> None:
        try:
            # Ctrl-C is the parent's affair. A worker inherits the mask of the thread that starts
            # it, so that it is deaf to Ctrl-C from its first instruction. The start of
            # multiprocessing's resource tracker unmasks the signal again; hence before.
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            for _ in range(self._workers):
                with self._lock:
                    self._start_one()
            while sentinels := list(self._running):
                for sentinel in connection.wait(sentinels):
                    assert isinstance(sentinel, int)
                    self._see_off(sentinel)
        except Exception as error:  # a thread has nobody above it: the main thread tells it
            with self._lock:
                self._give_up(f"no worker could be started: {type(error).__name__}: {error}")
        finally:
            self._finished()

    def _start_one(self) -> int | None:
        if self._stopping:
            return None
        process = self._context.Process(target=self._target, args=self._args, daemon=True)
        process.start()
        self._running[process.sentinel] = process
        return process.pid

    def _see_off(self, sentinel: int) -> None:
        replacement: int | None = None
        with self._lock:
            process = self._running.pop(sentinel)
            process.join()  # it has ended: its sentinel says so
            pid, exitcode = process.pid or 0, process.exitcode or 0
            process.close()
            if exitcode == 0 or self._stopping:
                return
            if pid not in self._killed:
                self._unasked += 1
                if self._unasked > UNASKED_DEATHS:
                    self._give_up(
                        f"{self._unasked} workers died without having been killed on purpose, the"
                        f" last one (pid {pid}) {how_it_ended(exitcode)}"
                    )
            replacement = self._start_one()
        self._post(Died(pid, exitcode, replacement))

    def _give_up(self, failure: str) -> None:
        self.failure = failure
        self._stop()

    def _stop(self) -> None:
        self._stopping = True
        for process in self._running.values():
            process.kill()


def how_it_ended(exitcode: int) -> str:
    """Say an exit code of multiprocessing in words: "by SIGKILL", "with exit code 1"."""
    if exitcode >= 0:
        return f"with exit code {exitcode}"
    try:
        return f"by {signal.Signals(-exitcode).name}"
    except ValueError:
        return f"by signal {-exitcode}"
