"""Exceptions and warnings.

A message says what, who, and what to do next.
"""

from __future__ import annotations

import queue

TYPE_CHECKING = False  # type checkers know the name; importing typing takes longer than all of this

__all__ = [
    "ArenaFullError",
    "Empty",
    "Full",
    "HandleError",
    "ItemError",
    "OwnerDiedError",
    "OwnerDiedWarning",
    "RemoteTraceback",
    "ShutDown",
    "TaskError",
    "TaskTimeoutError",
    "TreadleError",
    "WorkerDiedError",
    "WorkerMemoryError",
]


class TreadleError(Exception):
    """The base of treadle's own errors.

    >>> import treadle
    >>> issubclass(treadle.HandleError, treadle.TreadleError)
    True
    """


class OwnerDiedError(TreadleError):
    """A lock's owner ended while it held the lock; what the lock guards may be half changed.

    The lock is *inconsistent*: nobody can acquire it until somebody calls ``recover()``.

    >>> import multiprocessing, treadle
    >>> lock = treadle.Lock(label="jobs")
    >>> process = multiprocessing.get_context("fork").Process(target=lock.acquire)
    >>> process.start()  # it takes the lock and ends
    >>> process.join()
    >>> lock.acquire()
    Traceback (most recent call last):
    ...
    treadle.OwnerDiedError: lock 'jobs' was held by pid ...; call recover() before use
    >>> with lock.recover() as needed:
    ...     needed
    True
    """


class HandleError(TreadleError):
    """A handle reaches nothing: its object is gone, it is damaged, or it is of a foreign arena.

    >>> import treadle
    >>> rebuild, (event, ticket) = treadle.Event().__reduce__()
    >>> rebuild(event, ticket[:-1])
    Traceback (most recent call last):
    ...
    treadle.HandleError: this event's handle is damaged: ...
    """


class ItemError(TreadleError):
    """An item of a queue could not be rebuilt; its cause says why.

    The item is gone, the queue goes on.

    >>> import treadle
    >>> class Fragile:
    ...     def __reduce__(self):
    ...         return int, ("not a number",)
    >>> queue = treadle.Queue(label="jobs")
    >>> queue.put(Fragile())
    >>> queue.get()
    Traceback (most recent call last):
    ...
    treadle.ItemError: an item that pid ... put into queue 'jobs' cannot be rebuilt here (...
    """


class WorkerDiedError(TreadleError):
    """A process ended before it had given a result.

    pid: of the process. exitcode: what it ended with; negative, the signal that killed it.
    signal: that signal (a ``signal.Signals``, or the bare number of an unknown one), or None.

    >>> import os, treadle
    >>> process = treadle.Process(target=os._exit, args=(3,), name="quitter")
    >>> process.start()
    >>> process.result()
    Traceback (most recent call last):
    ...
    treadle.WorkerDiedError: process 'quitter' (pid ...) ended with exit code 3 before ...
    """

    def __init__(self, message: str, pid: int = 0, exitcode: int = 0) -> None:
        super().__init__(message, pid, exitcode)
        self.pid = pid
        self.exitcode = exitcode

    @property
    def signal(self) -> int | None:
        """What killed the process, or None.

        >>> import treadle
        >>> treadle.WorkerDiedError("it was killed", pid=812, exitcode=-9).signal
        <Signals.SIGKILL: 9>
        """
        if self.exitcode >= 0:
            return None
        import signal

        try:
            return signal.Signals(-self.exitcode)
        except ValueError:
            return -self.exitcode

    def __str__(self) -> str:
        return str(self.args[0])


class TaskError(TreadleError):
    """A call has no result to give: what it came to cannot be pickled, or it ended its thread.

    >>> import threading, treadle
    >>> process = treadle.Process(target=threading.Lock, name="maker")
    >>> process.start()
    >>> process.result()
    Traceback (most recent call last):
    ...
    treadle.TaskError: the result of process 'maker' (pid ...) cannot be pickled: ...
    """


class TaskTimeoutError(TreadleError, TimeoutError):
    """A task of a pool ran for longer than it may; it was stopped.

    >>> import time, treadle
    >>> with treadle.Pool(1, kind="thread") as pool:
    ...     pool.apply(time.sleep, (0.05,), timeout=0.01)
    Traceback (most recent call last):
    ...
    treadle.TaskTimeoutError: time.sleep() ran for longer than its timeout of 0.01 s...
    """


class WorkerMemoryError(TreadleError, MemoryError):
    """A task of a pool wanted more memory than its worker may have (``memory_limit``).

    limit: in bytes. peak: the most that the worker had in use, in bytes.

    >>> import treadle
    >>> raise treadle.WorkerMemoryError("no more", limit=1 << 20, peak=1 << 19)
    Traceback (most recent call last):
    ...
    treadle.WorkerMemoryError: no more
    """

    def __init__(self, message: str, limit: int = 0, peak: int = 0) -> None:
        super().__init__(message, limit, peak)
        self.limit = limit
        self.peak = peak

    def __str__(self) -> str:
        return str(self.args[0])


class RemoteTraceback(Exception):
    """The cause of an exception that came from another process: its text is the traceback there.

    >>> import treadle
    >>> process = treadle.Process(target=int, args=("x",))
    >>> process.start()
    >>> try:
    ...     process.result()
    ... except ValueError as error:
    ...     "Traceback" in str(error.__cause__)
    True
    """

    @property
    def tb(self) -> str:
        """The text, by the name that the standard library's have it.

        >>> import treadle
        >>> treadle.RemoteTraceback("Traceback ...").tb
        'Traceback ...'
        """
        return str(self)


class ArenaFullError(TreadleError, MemoryError):
    """The arena's memory limit is reached; nothing was changed.

    >>> import treadle
    >>> queue = treadle.Queue()
    >>> try:
    ...     queue.put(bytes(1_000_000))
    ... except treadle.ArenaFullError:
    ...     ...  # free something, or raise the limit with treadle.set_arena_limit()
    """


class OwnerDiedWarning(RuntimeWarning):
    """What a dead process held was taken over, or given back, without anybody repairing it.

    >>> import multiprocessing, treadle
    >>> lock = treadle.Lock(on_owner_death="recover")
    >>> process = multiprocessing.get_context("fork").Process(target=lock.acquire)
    >>> process.start()  # it takes the lock and ends
    >>> process.join()
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     lock.acquire()
    True
    >>> caught[0].category.__name__
    'OwnerDiedWarning'
    """


Empty = queue.Empty
Full = queue.Full

if TYPE_CHECKING:

    class ShutDown(Exception):
        """The queue was shut down: nothing more can be put, or nothing more will come."""

elif hasattr(queue, "ShutDown"):  # Python 3.13
    ShutDown = queue.ShutDown
else:

    class ShutDown(Exception):
        """The queue was shut down: nothing more can be put, or nothing more will come.

        >>> import treadle
        >>> queue = treadle.Queue()
        >>> queue.shutdown()
        >>> try:
        ...     queue.get()
        ... except treadle.ShutDown:
        ...     "nothing more"
        'nothing more'
        """

        __module__ = "treadle"


for _error in (
    TreadleError,
    OwnerDiedError,
    HandleError,
    ItemError,
    ArenaFullError,
    OwnerDiedWarning,
    RemoteTraceback,
    TaskError,
    TaskTimeoutError,
    WorkerDiedError,
    WorkerMemoryError,
):
    _error.__module__ = "treadle"  # the name that tracebacks show and pickles keep
