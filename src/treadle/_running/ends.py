"""Who has ended: threads and processes that a thread waits for, and what it does then."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator

from treadle._core import Lock, SimpleQueue
from treadle._errors import Empty
from treadle._running.processes import Process
from treadle._running.threads import Thread

__all__ = ["Ends", "Worker"]

Worker = Thread | Process


class Ends:
    """Calls ``ended(worker)``, in a thread of its own, for each one that it was told to watch.

    A process's descriptors wake that thread by themselves; a thread says itself that it has ended.
    """

    def __init__(self, ended: Callable[[Worker], object], name: str) -> None:
        self._ended = ended
        self._epoll = select.epoll()
        self._bell = os.eventfd(0)
        self._epoll.register(self._bell, select.EPOLLIN)
        self._said: SimpleQueue[Thread | None] = SimpleQueue(shared=False)
        self._changing = Lock(shared=False)
        self._processes: dict[int, tuple[Process, list[int]]] = {}  # by each of its descriptors
        self._thread = threading.Thread(target=self._wait, name=name, daemon=True)
        self._thread.start()

    def watch(self, process: Process) -> None:
        """The process has been started."""
        descriptors = process._opened_ends()
        with self._changing:
            for descriptor in descriptors:
                self._processes[descriptor] = process, descriptors
                self._epoll.register(descriptor, select.EPOLLIN)

    def say(self, thread: Thread) -> None:
        """That thread is about to end: the last thing that it does."""
        self._said.put(thread)
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
            ready = [descriptor for descriptor, _ in self._epoll.poll()]
            # All at once, before any is closed: its number may be another process's in a moment.
            for process, descriptors in self._taken_out(ready).items():
                for each in descriptors[1:]:
                    os.close(each)
                process.join()
                self._ended(process)
            if self._bell not in ready:
                continue
            os.eventfd_read(self._bell)
            for thread in self._heard():
                if thread is None:
                    return
                thread.join()
                self._ended(thread)

    def _heard(self) -> Iterator[Thread | None]:
        while True:
            try:
                yield self._said.get_nowait()
            except Empty:
                return

    def _taken_out(self, ready: list[int]) -> dict[Process, list[int]]:
        with self._changing:
            ended = dict(self._processes[each] for each in ready if each != self._bell)
            for descriptors in ended.values():
                for each in descriptors:
                    del self._processes[each]
                    self._epoll.unregister(each)
        return ended
