"""Process: as ``multiprocessing.Process``, with a result, and an end when its parent ends.

Prior art: ``multiprocessing.Process`` tells an exit code, and the traceback on stderr; what a call
returned is its caller's affair, by a queue whose feeder thread makes joining before getting a hang.
Here the result lies in the arena before the process ends, so the order does not matter.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.context
import os
import pickle
import select
import signal
import sys
import time
from _thread import get_ident as _thread_id
from collections.abc import Callable, Iterable, Iterator, Mapping
from multiprocessing.connection import wait
from multiprocessing.popen_fork import Popen
from types import FrameType
from typing import TYPE_CHECKING, Any

from treadle._core import Queue, import_lazily
from treadle._errors import Empty, TaskError, WorkerDiedError
from treadle._running.oom import oom_kills
from treadle._running.outcomes import Outcome, is_success, portable
from treadle._running.parents import Parent, end_with, this_process
from treadle._running.portable import portable_pickle
from treadle._sync import Lock

if TYPE_CHECKING:
    from treadle.aio import Process as AioProcess

__all__ = ["Process", "ending", "process_class"]

# Reaping a child and fetching its result is for one thread at a time. A fork's child finds it free.
_settling = Lock(shared=False)
_NOTING = 1.0  # seconds that who has taken an exit code gets to note it


class _Call:
    """A function and its arguments, picklable even where pickle cannot name the function."""

    def __init__(
        self,
        function: Callable[..., object] | None,
        args: Iterable[Any],
        kwargs: Mapping[str, Any],
    ) -> None:
        self._parts = function, tuple(args), dict(kwargs)

    def __call__(self) -> object:
        function, args, kwargs = self._parts
        return None if function is None else function(*args, **kwargs)

    def __reduce__(self) -> Any:
        return _rebuild_call, (portable_pickle(self._parts),)


def _rebuild_call(pickled: bytes) -> _Call:
    return _Call(*pickle.loads(pickled))


class Process(multiprocessing.Process):
    """``multiprocessing.Process`` with a result.

    It starts as is set there (``multiprocessing.set_start_method``). The target may be a lambda or
    a closure under every start method.

    ``result()`` tells what the target returned. A process whose parent ends, even by SIGKILL, ends
    as well: by SIGTERM at once, and if it handles that, by SIGKILL half a second later.

    >>> import treadle
    >>> process = treadle.Process(target=lambda: sum(range(10)))
    >>> process.start()
    >>> process.result()
    45
    """

    _popen: Any  # multiprocessing's

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        super().__init__(group, None, name, daemon=daemon)
        self._call = _Call(target, args, kwargs or {})
        self._results: Queue[Any] = Queue(1, label=f"result of {self.name}"[:40])
        self._outcome: Outcome | None = None
        self._made_by: Parent | None = None
        self._oom_kills = 0
        self._lost = False  # it has ended, and nobody can ever note its exit code
        self._quiet = False  # whoever collects the result reports its error

    def start(self) -> None:
        """As ``multiprocessing.Process.start``.

        >>> import treadle
        >>> process = treadle.Process()
        >>> process.start()
        >>> process.join()
        """
        self._made_by = this_process()
        self._oom_kills = oom_kills()
        super().start()
        del self._call  # as the standard library: what it refers to may go

    def run(self) -> None:
        """What the process does: it calls the target.

        May be overridden, as in the standard library; then ``result()`` is None.

        >>> import treadle
        >>> treadle.Process(target=print, args=("here",)).run()  # in this process
        here
        """
        if self._made_by is None:
            self._call()
            return
        end_with(self._made_by)
        who = _named(self.name, os.getpid())
        try:
            value = self._call()
        except SystemExit as end:
            if is_success(end):
                self._results.put(Outcome())
            raise
        except BaseException as error:
            if not isinstance(error, KeyboardInterrupt):  # which whoever made this has had as well
                self._results.put(portable(error, who))
            if self._quiet:
                raise SystemExit(1) from None
            raise
        try:
            self._results.put(Outcome(value))
        except Exception as problem:
            if not isinstance(problem, MemoryError):  # as ArenaFullError is
                problem = TaskError(f"the result of {who} cannot be pickled: {problem}")
            self._results.put(portable(problem, who))

    def join(self, timeout: float | None = None) -> None:
        """As ``multiprocessing.Process.join``; several threads may call it at once.

        >>> import treadle
        >>> process = treadle.Process()
        >>> process.start()
        >>> process.join(timeout=60)
        >>> process.exitcode
        0
        """
        self._ends_within(timeout)

    def is_alive(self) -> bool:
        """As ``multiprocessing.Process.is_alive``; False also where the exit code was lost.

        >>> import treadle
        >>> process = treadle.Process()
        >>> process.is_alive()
        False
        """
        if not super().is_alive() or self._lost:
            return False
        if self._is_nobodys():
            self._lose_unless_noted()
            return False
        return True

    def _ends_within(self, timeout: float | None) -> bool:
        """Waits for the end; False: it still runs. Otherwise its exit code is noted, or lost."""
        with _settling:
            super().join(0)
            if self._lost or self.exitcode is not None:
                return True
        ends = self._opened_ends()
        try:
            ended = wait(ends, timeout)
        finally:
            for end in ends[1:]:
                os.close(end)
        if not ended:
            return False
        with _settling:
            super().join()
        self._lose_unless_noted()
        return True

    def _lose_unless_noted(self) -> None:
        """It has ended, and its exit code is to be had, noted by another thread, or lost.

        Who else has asked for it, as every start of a process does, may be about to note it. If
        nobody is, a stranger has taken it (``os.wait()``), or the system: SIGCHLD is ignored.
        """
        noted = time.monotonic() + _NOTING
        while self.exitcode is None and self._is_asked_for() and time.monotonic() < noted:
            time.sleep(0.001)
        self._lost = self.exitcode is None

    def _is_asked_for(self) -> bool:
        """Whether another thread is about to note the exit code."""
        mine = _thread_id()
        for thread, frame in sys._current_frames().items():
            at: FrameType | None = frame
            while thread != mine and at is not None:
                if at.f_code is Popen.poll.__code__ and at.f_locals["self"] is self._popen:
                    return True
                at = at.f_back
        return False

    def _is_nobodys(self) -> bool:
        """Whether its exit code can be had no more: this process's child it is not any longer."""
        if not self._is_child():
            return False
        try:
            os.waitid(os.P_PID, self.pid or 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        return False

    def _is_child(self) -> bool:
        """Whether this process itself has made it: the fork server waits for its own children."""
        return type(self._popen).poll is Popen.poll

    def _opened_ends(self) -> list[int]:
        """What becomes readable when the process has ended: its sentinel, and what is to be closed.

        A grandchild may keep the sentinel, a pipe that it has inherited, from telling.
        """
        if self._is_nobodys():
            return [self.sentinel, os.eventfd(1)]
        try:
            return [self.sentinel, os.pidfd_open(self.pid or 0)]
        except ProcessLookupError:  # reaped this very moment, or by the fork server, which tells
            return [self.sentinel, os.eventfd(1)] if self._is_child() else [self.sentinel]

    @contextlib.contextmanager
    def _end_as_one(self) -> Iterator[int]:
        """A descriptor that becomes readable when the process has ended."""
        ends = self._opened_ends()
        try:
            with select.epoll() as either:
                for end in ends:
                    either.register(end, select.EPOLLIN)
                yield either.fileno()
        finally:
            for end in ends[1:]:
                os.close(end)

    def result(self, timeout: float | None = None) -> Any:
        """What the target returned; waits for the end of the process.

        timeout: in seconds. Raises what the target raised, with its traceback there as the cause
        (a RemoteTraceback); WorkerDiedError if the process ended before that, by a signal or by
        ``sys.exit``, but None after ``sys.exit()`` and ``sys.exit(0)``, which tell success;
        TaskError or ItemError if what came of it cannot be pickled, or rebuilt here;
        TimeoutError if the process still runs.

        >>> import treadle
        >>> process = treadle.Process(target=divmod, args=(7, 2))
        >>> process.start()
        >>> process.result(timeout=60)
        (3, 1)
        """
        return self._outcome_in(timeout).unwrap()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What ``result()`` would raise, or None; TimeoutError is raised.

        >>> import treadle
        >>> process = treadle.Process(target=divmod, args=(7, 0))
        >>> process.start()
        >>> process.exception()
        ZeroDivisionError(...)
        """
        return self._outcome_in(timeout).error

    @property
    def aio(self) -> AioProcess:
        """The same process for tasks of event loops: a ``treadle.aio.Process``.

        >>> import asyncio, treadle
        >>> process = treadle.Process(target=sum, args=([1, 2, 3],))
        >>> process.start()
        >>> async def main():
        ...     await process.aio.join()
        ...     return await process.aio.result(timeout=60)
        >>> asyncio.run(main())
        6
        """
        view: AioProcess = import_lazily("treadle.aio").Process(self)
        return view

    def _check_asked(self) -> None:
        if self._outcome is None and self._made_by is None:
            raise RuntimeError(f"process {self.name!r} has no result yet: call start() first")

    def _still_runs(self, timeout: float | None) -> TimeoutError:
        return TimeoutError(
            f"{_named(self.name, self.pid)} still runs after {timeout} s; ask again,"
            " or terminate() it"
        )

    def _outcome_in(self, timeout: float | None) -> Outcome:
        self._check_asked()
        if self._outcome is not None:
            return self._outcome
        if not self._ends_within(timeout):
            raise self._still_runs(timeout)
        with _settling:
            if self._outcome is None:
                self._outcome = self._fetched(self.exitcode)
        return self._outcome

    def _fetched(self, exitcode: int | None) -> Outcome:
        try:
            outcome: Outcome = self._results.get_nowait()
            return outcome
        except Empty:
            if exitcode == 0 and type(self).run is not Process.run:
                return Outcome()
            return Outcome(error=self._death(exitcode))
        except Exception as error:
            return Outcome(error=error)

    def _death(self, exitcode: int | None) -> WorkerDiedError:
        pid = self.pid or 0
        how = ending(exitcode, self._oom_kills)
        return WorkerDiedError(
            f"{_named(self.name, pid)} {how} before it had a result",
            pid,
            255 if exitcode is None else exitcode,
        )


def ending(exitcode: int | None, oom_kills_before: int) -> str:
    """How a process ended, in words; with a hint, if the out-of-memory killer was at work since."""
    if exitcode is None:
        return "ended, and somebody else has taken its exit code,"
    if exitcode >= 0:
        return f"ended with exit code {exitcode}"
    try:
        how = f"was killed by {signal.Signals(-exitcode).name}"
    except ValueError:
        how = f"was killed by signal {-exitcode}"
    if exitcode == -signal.SIGKILL and oom_kills() > oom_kills_before:
        how += (
            " (the kernel's out-of-memory killer has been at work meanwhile: give it more memory,"
            " or less to do at a time)"
        )
    return how


class ForkProcess(multiprocessing.context.ForkProcess, Process):  # type: ignore[misc]  # starts as the former
    """A Process that is forked."""


class SpawnProcess(multiprocessing.context.SpawnProcess, Process):  # type: ignore[misc]  # starts as the former
    """A Process that is spawned."""


class ForkServerProcess(multiprocessing.context.ForkServerProcess, Process):  # type: ignore[misc]  # starts as the former
    """A Process that the fork server makes."""


def process_class(method: str) -> type[Process]:
    """``Process``, started by this method. Raises ValueError for one that is unknown."""
    classes: dict[str, type[Process]] = {
        "fork": ForkProcess,
        "spawn": SpawnProcess,
        "forkserver": ForkServerProcess,
    }
    try:
        return classes[method]
    except KeyError:
        told = f"start_method must be one of {', '.join(classes)}, not {method!r}"
        raise ValueError(told) from None


def _named(name: str, pid: int | None) -> str:
    return f"process {name!r} (pid {pid})"
