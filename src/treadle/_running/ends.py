"""Who has ended: threads and processes that a thread waits for, and what it does then."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable, Iterator

from treadle._core import SimpleQueue
from treadle._errors import Empty
from treadle._running.processes import Process
from treadle._running.threads import Thread

__all__ = ["Ends", "Worker"]

Worker = Thread | Process


class Ends:
    """Calls ``ended(worker)``, in a thread of its own, for each one that it was told to watch.

    A process's descriptor wakes that thread by itself; a thread says itself that it has ended. What
    ``ended`` raises is reported as what a thread raises, and ends nothing.
    """

    def __init__(self, ended: Callable[[Worker], object], name: str) -> None:
        self._ended = ended
        self._epoll = select.epoll()
        self._bell = os.eventfd(0)
        self._epoll.register(self._bell, select.EPOLLIN)
        self._said: SimpleQueue[Thread | None] = SimpleQueue(shared=False)
        self._processes: dict[int, Process] = {}  # by the descriptor that tells of their end
        self._thread = threading.Thread(target=self._wait, name=name, daemon=True)
        self._thread.start()

    def watch(self, process: Process) -> None:
        """The process has been started."""
        descriptor = process._opened_end()
        self._processes[descriptor] = process
        try:
            self._epoll.register(descriptor, select.EPOLLIN)
        except BaseException:
            del self._processes[descriptor]
            os.close(descriptor)
            raise

    def say(self, thread: Thread) -> None:
        """That thread is about to end: the last thing that it does."""
        self._said.put(thread)
        if not self._epoll.closed:  # else that number may be anybody's
            os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        """Nothing more will be watched, and nothing that was is left."""
        if self._epoll.closed:  # an interrupted call of this has gone far enough
            return
        self._said.put(None)
        os.eventfd_write(self._bell, 1)
        self._thread.join()
        self._epoll.close()
        os.close(self._bell)

    def _wait(self) -> None:
        while True:
            for descriptor, _ in self._epoll.poll():
                if descriptor != self._bell:
                    self._process_ended(descriptor)
                    continue
                os.eventfd_read(self._bell)
                for thread in self._heard():
                    if thread is None:
                        return
                    thread.join()
                    self._tell(thread)

    def _heard(self) -> Iterator[Thread | None]:
        while True:
            try:
                yield self._said.get_nowait()
            except Empty:
                return

    def _process_ended(self, descriptor: int) -> None:
        """That number is another's from now on: the batch of events has no second one for it."""
        process = self._processes.pop(descriptor)
        self._epoll.unregister(descriptor)
        os.close(descriptor)
        with contextlib.suppress(ValueError):  # closed by who has joined it
            process.join()
        self._tell(process)

    def _tell(self, worker: Worker) -> None:
        try:
            self._ended(worker)
        except BaseException as error:  # the others' ends are to be told as well
            threading.excepthook(
                threading.ExceptHookArgs((type(error), error, error.__traceback__, self._thread))
            )
