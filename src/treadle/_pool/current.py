"""Which worker of a pool runs the calling code, and what it keeps from task to task."""

from __future__ import annotations

import threading
from types import SimpleNamespace

__all__ = ["Worker", "become", "current_worker"]


class Worker:
    """A worker of a pool, as the tasks that it runs see it.

    index: its number, from 0 on; a worker that is replaced hands its number on. label: of its pool.
    state: for the initializer and the tasks to keep in it what they like.

    >>> import treadle
    >>> def load():
    ...     treadle.current_worker().state.model = str.upper
    >>> def use(text):
    ...     return treadle.current_worker().state.model(text)
    >>> with treadle.Pool(2, kind="thread", initializer=load) as pool:
    ...     pool.map(use, ["a", "b"])
    ['A', 'B']
    """

    __module__ = "treadle"  # the name that reports show

    __slots__ = ("index", "label", "state")

    def __init__(self, index: int, label: str) -> None:
        self.index = index
        self.label = label
        self.state = SimpleNamespace()

    def __repr__(self) -> str:
        return f"<treadle.Worker {self.index} of {self.label!r}>"


class _Current(threading.local):
    worker: Worker | None = None


_of_this_thread = _Current()


def become(index: int, label: str) -> None:
    """The calling thread is that worker from now on."""
    _of_this_thread.worker = Worker(index, label)


def current_worker() -> Worker | None:
    """The worker that runs the calling code; None outside of a pool's tasks.

    >>> import treadle
    >>> treadle.current_worker() is None
    True
    """
    return _of_this_thread.worker
