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
import signal
import sys
import time
from _thread import get_ident as _thread_id
from collections.abc import Callable, Iterable, Mapping
from multiprocessing.connection import wait
from multiprocessing.popen_fork import Popen
from types import FrameType
from typing import TYPE_CHECKING, Any

from treadle._core import Queue, import_lazily
from treadle._errors import Empty, ItemError, TaskError, WorkerDiedError
from treadle._running.oom import oom_kills
from treadle._running.outcomes import Outcome, Report, is_success, portable
from treadle._running.parents import Parent, end_with, this_process
from treadle._running.portable import portable_pickle
from treadle._sync import RLock

if TYPE_CHECKING:
    from treadle.aio import Process as AioProcess

__all__ = ["Process", "ending", "process_class"]

# Reaping children is for one thread at a time, whose signal handlers may reap as well. Nothing is
# waited for meanwhile. A fork's child finds it free.
_reaping = RLock(shared=False)
_NOTING = 1.0  # seconds that who has taken an exit code gets to note it


class _Fetching(RLock):
    """Held by who rebuilds a process's result; no part of what is sent to the process."""

    def __reduce__(self) -> Any:
        return _new_fetching, ()


def _new_fetching() -> _Fetching:
    return _Fetching(shared=False)


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

    _popen: Any  # multiprocessing's, as is the next
    _closed: bool

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
        self._fetching = _new_fetching()
        self._is_fetching = False
        self._noted: tuple[int | None, int | None] = None, None  # exit code and pid, when closed
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
        try:
            super().start()
        finally:
            if self._popen is None:
                self._made_by = None
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
        pid = os.getpid()
        who = _named(self.name, pid)
        try:
            value = self._call()
        except SystemExit as end:
            if is_success(end):
                self._tell(pid, Outcome())
            raise
        except BaseException as error:
            if not isinstance(error, KeyboardInterrupt):  # which whoever made this has had as well
                self._tell(pid, portable(error, who))
            if self._quiet:
                raise SystemExit(1) from None
            raise
        try:
            self._tell(pid, Outcome(value))
        except Exception as problem:
            if not isinstance(problem, MemoryError):  # as ArenaFullError is
                problem = TaskError(f"the result of {who} cannot be pickled: {problem}")
            self._tell(pid, portable(problem, who))

    def _tell(self, pid: int, outcome: Outcome | Report) -> None:
        """Only the process itself does: of what its target forks, the copies may return as well."""
        if os.getpid() == pid:
            self._results.put(outcome)

    def join(self, timeout: float | None = None) -> None:
        """As ``multiprocessing.Process.join``; several threads may call it at once.

        >>> import treadle
        >>> process = treadle.Process()
        >>> process.start()
        >>> process.join(timeout=60)
        >>> process.exitcode
        0
        """
        self._check_closed()  # type: ignore[attr-defined]
        self._ends_within(timeout)

    def close(self) -> None:
        """As ``multiprocessing.Process.close``; the result may be asked for all the same.

        >>> import treadle
        >>> process = treadle.Process(target=sum, args=([1, 2, 3],))
        >>> process.start()
        >>> process.join()
        >>> process.close()
        >>> process.result()
        6
        """
        with _reaping:
            if not self._closed and self._popen is not None:
                self._noted = self.exitcode, self.pid
            super().close()

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
        if self._is_settled():
            return True
        try:
            end = self._opened_end()
        except OSError:  # there are no more descriptors
            ended = self._ends_without_a_descriptor(timeout)
        else:
            try:
                ended = bool(wait([end], timeout))
            finally:
                os.close(end)
        if not ended:
            return False
        with _reaping:
            if not self._closed:
                super().join()
        self._lose_unless_noted()
        return True

    def _is_settled(self) -> bool:
        with _reaping:
            if not self._closed:
                super().join(0)
            return self._lost or self._has_code()

    def _has_code(self) -> bool:
        with _reaping:
            return self._closed or self.exitcode is not None

    def _ends_without_a_descriptor(self, timeout: float | None) -> bool:
        if self._is_nobodys():
            return True
        if not wait([self.sentinel], timeout):
            return False
        if self._is_child():  # one that has closed its end of the sentinel may still run
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid or 0, os.WEXITED | os.WNOWAIT)
        return True

    def _lose_unless_noted(self) -> None:
        """It has ended, and its exit code is to be had, noted by another thread, or lost.

        Who else has asked for it, as every start of a process does, may be about to note it. If
        nobody is, a stranger has taken it (``os.wait()``), or the system: SIGCHLD is ignored.
        """
        noted = time.monotonic() + _NOTING
        while not self._has_code() and self._is_asked_for() and time.monotonic() < noted:
            time.sleep(0.001)
        self._lost = not self._has_code()

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

    def _opened_end(self) -> int:
        """A descriptor, to be closed, that becomes readable when the process has ended.

        A pidfd, since a grandchild may keep the sentinel, a pipe that it has inherited, from
        telling. Of the fork server's children only the sentinel tells the exit code.
        """
        with _reaping:  # nobody closes it meanwhile
            if self._closed or self._is_nobodys():
                return os.eventfd(1)
            if not self._is_child():
                return os.dup(self.sentinel)
            try:
                return os.pidfd_open(self.pid or 0)
            except ProcessLookupError:  # it has been reaped this very moment
                return os.eventfd(1)

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
        if self._outcome is None:
            deadline = None if timeout is None else time.monotonic() + timeout
            if not self._ends_within(timeout):
                raise self._still_runs(timeout)
            self._fetch(-1 if deadline is None else max(0.0, deadline - time.monotonic()))
        assert self._outcome is not None
        return self._outcome

    def _fetch(self, timeout: float) -> None:
        """See that there is an outcome. To rebuild one may call anything, and take its time.

        Who is interrupted in that may ask again: the queue keeps what it has not given.
        """
        exitcode, pid = self._noted if self._closed else (self.exitcode, self.pid)
        who = _named(self.name, pid)
        if not self._fetching.acquire(timeout=timeout):
            raise TimeoutError(f"another thread still rebuilds the result of {who}; ask again")
        try:
            if self._is_fetching:
                raise RuntimeError(
                    f"the result of {who} is asked for while this very thread rebuilds it"
                )
            self._is_fetching = True
            try:
                if self._outcome is None:
                    self._outcome = self._fetched(who, exitcode, pid or 0)
            finally:
                self._is_fetching = False
        finally:
            self._fetching.release()

    def _fetched(self, who: str, exitcode: int | None, pid: int) -> Outcome:
        try:
            outcome: Outcome = self._results.get_nowait()
            return outcome
        except Empty:
            if exitcode == 0 and type(self).run is not Process.run:
                return Outcome()
            how = f"{who} {ending(exitcode, self._oom_kills)} before it had a result"
            code = 255 if exitcode is None else exitcode
            return Outcome(error=WorkerDiedError(how, pid, code))
        except SystemExit as end:  # the program is not to end because somebody asks
            return Outcome(error=ItemError(f"the result of {who} cannot be rebuilt here: {end!r}"))
        except Exception as error:
            return Outcome(error=error)


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
