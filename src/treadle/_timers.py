"""Timer: a call after a while. All timers of a process share one scheduler thread and a small pool.

Prior art: ``threading.Timer``, whose interface this keeps, at the price of a thread for each one.

The scheduler thread alone touches the heap of deadlines. Who starts a timer leaves its entry in an
inbox, and rings only if that is due before the scheduler wakes by itself; so starting and
cancelling takes no lock, and is safe in signal handlers and finalizers, but for the first start of
a timer that is no daemon, and of any: it starts a thread, and waits until that runs. Before 3.13
that takes a lock of ``threading``'s which is not reentrant (``_shutdown_locks_lock``), so a handler
that has interrupted its thread right there, where it starts or joins another one, would wait for
ever. A program whose handlers start timers starts one before. A cancelled timer is dropped at once;
its entry, two numbers, stays until it comes up or the stale ones are the majority.

Who decides what becomes of a timer is settled by one ``list.append``: the first entry of its list
of claims stands. So ``cancel`` is exact, also against a callback that is just about to begin.

    new -> pending -> running -> ended          claims == [], [], [_FIRED, ...], [_FIRED, ...]
      \\-------\\----> cancelled                  claims == [_CANCELLED, ...]

Timers that are daemons have workers that are daemons, the others have others, since whatever a
function starts inherits that; and so have those of ``treadle.threading``, since any number of
them may run at once, as where each has a thread. The scheduler is a daemon; what
keeps the interpreter alive while other timers are pending is a thread of its own, which sleeps
until the main thread has ended.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from _thread import allocate_lock
from collections import deque
from heapq import heapify, heappop, heappush
from itertools import count

from treadle._core import import_lazily
from treadle._workers import IDLE_SECONDS, MOST_WORKERS, Workers

TYPE_CHECKING = False  # type checkers know the name; importing typing takes longer than all of this
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, NoReturn

    from treadle._records import TimerStatistics

__all__ = ["Timer"]

_FIRED, _CANCELLED = "fired", "cancelled"
_NEVER, _AWAKE = float("inf"), float("-inf")

_NO_BOUND = float("inf")
_SLACK = 4096  # stale entries that are not worth waking the scheduler for


class Timer:
    """A call of a function after a number of seconds, in another thread.

    As ``threading.Timer``, but it does not cost a thread. It is its process's own: a child of fork
    has none of its parent's timers.

    Functions run in up to 32 worker threads (and 32 for daemons), more of which are started while
    all are busy; a worker that had nothing to do for 10 s ends. Only when 32 functions run at once
    does the next one wait. An exception in one goes to ``threading.excepthook``.

    interval: in seconds. args, kwargs: what the function is called with. As a thread would, a timer
    keeps the interpreter from ending until its function has returned, unless it is a ``daemon``.

    >>> import treadle
    >>> timer = treadle.Timer(0.01, print, ["tick"])
    >>> timer.start()
    >>> timer.join()
    tick
    """

    _any_number_at_once = False

    def __init__(
        self,
        interval: float,
        function: Callable[..., object],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.interval = interval
        self.function = function
        self.args = args if args is not None else []
        self.kwargs = kwargs if kwargs is not None else {}
        self._serial = next(_serials)
        self._name: str | None = None
        self._daemon = threading.current_thread().daemon
        self._right_to_start = allocate_lock()
        self._claims: list[str] = []
        self._scheduler: Scheduler | None = None
        self._deadline = _NEVER
        self._ident: int | None = None
        self._native_id: int | None = None

    def start(self) -> None:
        """Begins to count the interval; after it, the function is called.

        Raises RuntimeError if it was started before, ValueError if the interval is not a number.

        >>> import treadle
        >>> timer = treadle.Timer(60, print)
        >>> timer.start()
        >>> timer.start()
        Traceback (most recent call last):
        ...
        RuntimeError: timers can only be started once
        >>> timer.cancel()
        True
        """
        scheduler = _scheduler
        deadline = scheduler.clock.now() + float(self.interval)
        if deadline != deadline:
            raise ValueError("a timer's interval must be a number, not nan")
        if not self._right_to_start.acquire(False):
            raise RuntimeError("timers can only be started once")
        self._deadline = deadline
        self._scheduler = scheduler
        if not self._claims:
            scheduler.add(self, deadline)

    def cancel(self) -> bool:
        """Returns True if the function will never be called, False if it was or is being called.

        It may be cancelled before it is started, and more than once.

        >>> import treadle
        >>> timer = treadle.Timer(60, print)
        >>> timer.start()
        >>> timer.cancel(), timer.fired
        (True, False)
        """
        claims = self._claims
        if not claims:
            claims.append(_CANCELLED)
        if claims[0] is _FIRED:
            return False
        if self._scheduler is not None:
            self._scheduler.drop(self)
        return True

    def join(self, timeout: float | None = None) -> None:
        """Waits until the function has returned, or the timer was cancelled.

        timeout: in seconds, None waits for ever; whether it ran out, ``is_alive`` tells. Raises
        RuntimeError if the timer was not started, or in its own function.

        >>> import treadle
        >>> timer = treadle.Timer(60, print)
        >>> timer.start()
        >>> timer.join(timeout=0.01)
        >>> timer.is_alive(), timer.cancel()
        (True, True)
        """
        if self._scheduler is None:
            raise RuntimeError("cannot join a timer before it is started")
        if self.is_alive():
            if self._ident == threading.get_ident():
                raise RuntimeError("cannot join a timer from its own function")
            self._scheduler.await_end(self, timeout)

    def run(self) -> None:
        """Calls the function: what happens when the time has come. A subclass may replace it.

        >>> import treadle
        >>> treadle.Timer(60, print, ["called"]).run()
        called
        """
        self.function(*self.args, **self.kwargs)

    def is_alive(self) -> bool:
        """Returns whether it was started and its function is still to be called or is running.

        >>> import treadle
        >>> treadle.Timer(60, print).is_alive()
        False
        """
        # A scheduler that a fork has left behind fires nothing any more.
        return self._scheduler is _scheduler and _scheduler.has(self._serial)

    @property
    def fired(self) -> bool:
        """Whether its function was called, or is being called now.

        >>> import treadle
        >>> timer = treadle.Timer(0, int)
        >>> timer.start(); timer.join()
        >>> timer.fired, timer.cancel()
        (True, False)
        """
        return self._claims[:1] == [_FIRED]

    @property
    def name(self) -> str:
        """What reports call it, and the thread that runs its function; it may be set.

        >>> import treadle
        >>> timer = treadle.Timer(60, print)
        >>> timer.name = "timeout of job 7"
        >>> timer
        <treadle.Timer 'timeout of job 7' new>
        """
        return f"Timer-{self._serial}" if self._name is None else self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = str(name)

    @property
    def daemon(self) -> bool:
        """Whether the interpreter may end while it is pending; by default as the making thread.

        It may be set before the timer is started; after that, setting it raises RuntimeError.

        >>> import treadle
        >>> timer = treadle.Timer(3600, print)
        >>> timer.daemon = True
        >>> timer.start()  # the end of this program does not wait for it
        """
        return self._daemon

    @daemon.setter
    def daemon(self, daemon: bool) -> None:
        if self._scheduler is not None:
            raise RuntimeError("cannot set daemon status of a timer that was started")
        self._daemon = bool(daemon)

    @property
    def ident(self) -> int | None:
        """The ``threading.get_ident()`` of the thread that runs, or ran, its function; else None.

        >>> import treadle
        >>> treadle.Timer(60, print).ident is None
        True
        """
        return self._ident

    @property
    def native_id(self) -> int | None:
        """The ``threading.get_native_id()`` of that thread.

        >>> import treadle
        >>> treadle.Timer(60, print).native_id is None
        True
        """
        return self._native_id

    def statistics(self) -> TimerStatistics:
        """Returns a ``TimerStatistics``.

        >>> import treadle
        >>> treadle.Timer(60, print).statistics().state
        'new'
        """
        scheduler = _scheduler
        left = max(self._deadline - scheduler.clock.now(), 0.0)
        state = self._state()
        record: TimerStatistics = import_lazily("treadle._records").TimerStatistics(
            name=self.name,
            state=state,
            interval=self.interval,
            remaining=left if state == "pending" else None,
            daemon=self._daemon,
            all_pending=len(scheduler.pending),
            all_running=len(scheduler.running),
            workers=sum(workers.count for workers in scheduler.workers.values()),
        )
        return record

    def _state(self) -> str:
        if self._claims:
            if self._claims[0] is _CANCELLED:
                return "cancelled"
            return "running" if self.is_alive() else "ended"
        if self._scheduler is None:
            return "new"
        return "pending" if self._scheduler is _scheduler else "ended"

    def __repr__(self) -> str:
        return f"<{_qualified_name(self)} {self.name!r} {self._state()}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Timer cannot be pickled: it belongs to its process; make one there")


def _qualified_name(timer: Timer) -> str:
    of = type(timer)
    return "treadle.Timer" if of is Timer else f"{of.__module__}.{of.__qualname__}"


class Clock:
    """The time, and what the scheduler sleeps on: tests have one of their own."""

    def __init__(self) -> None:
        self._bell = allocate_lock()  # released: somebody rang
        self._bell.acquire()

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Return after that long, or once somebody rings, or has rung since the last sleep."""
        self._bell.acquire(True, min(seconds, threading.TIMEOUT_MAX))

    def ring(self) -> None:
        if self._bell.locked():
            try:
                self._bell.release()
            except RuntimeError:  # another was faster
                pass


class Scheduler:
    """The timers of a process: which are pending and running, and in which order they are due."""

    def __init__(
        self,
        clock: Clock | None = None,
        most_workers: int = MOST_WORKERS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self.clock = Clock() if clock is None else clock
        self.pending: dict[int, Timer] = {}
        self.running: dict[int, Timer] = {}
        self.workers = {
            (daemon, any_number): Workers(
                self._fire, daemon, _NO_BOUND if any_number else most_workers, idle_seconds
            )
            for daemon in (False, True)
            for any_number in (False, True)
        }
        self._pid = os.getpid()
        self._inbox: deque[tuple[float, int]] = deque()
        self._heap: list[tuple[float, int]] = []
        self._wakes_at = _AWAKE  # when it looks at the inbox by itself
        self._ends: dict[int, threading.Event] = {}
        self._right_to_schedule = allocate_lock()
        self._right_to_keep = allocate_lock()

    # ---- For any thread, and for signal handlers and finalizers but as is said above

    def add(self, timer: Timer, deadline: float) -> None:
        inbox, serial = self._inbox, timer._serial
        self.pending[serial] = timer
        try:
            if not self._right_to_schedule.locked():
                _start_once(self._right_to_schedule, self._schedule, "treadle-timers", True)
            if not timer._daemon and not self._right_to_keep.locked():
                _start_once(self._right_to_keep, self._keep, "treadle-timers-exit", False)
            inbox.append((deadline, serial))
            # The scheduler says when it wakes, then looks at the inbox once more; so one of us two
            # sees the other. A long inbox is mostly timers that were cancelled since.
            if deadline < self._wakes_at or len(inbox) > _SLACK:
                self.clock.ring()
        except BaseException:  # no more threads to be had, or an interrupt
            timer.cancel()
            raise
        if timer._claims:  # perhaps cancelled before it was among the pending ones
            timer.cancel()

    def drop(self, timer: Timer) -> None:
        """A timer was cancelled."""
        self.pending.pop(timer._serial, None)
        self._ended(timer._serial)
        if len(self._heap) > 2 * len(self.pending) + _SLACK:
            self.clock.ring()

    def has(self, serial: int) -> bool:
        return serial in self.pending or serial in self.running  # in this order: it moves so

    def await_end(self, timer: Timer, timeout: float | None) -> None:
        serial = timer._serial
        end = self._ends.setdefault(serial, threading.Event())
        if not self.has(serial):
            self._ended(serial)
        end.wait(timeout)

    def _ended(self, serial: int) -> None:
        if self._ends:
            end = self._ends.pop(serial, None)
            if end is not None:
                end.set()

    # ---- The scheduler's thread

    def _schedule(self) -> None:
        heap, inbox, pending = self._heap, self._inbox, self.pending
        while True:
            self._wakes_at = _AWAKE
            while inbox:
                if inbox[0][1] in pending:
                    heappush(heap, inbox[0])
                inbox.popleft()
            now = self.clock.now()
            while heap and (heap[0][0] <= now or heap[0][1] not in pending):
                timer = pending.get(heappop(heap)[1])
                if timer is not None:
                    workers = self.workers[timer._daemon, timer._any_number_at_once]
                    workers.take(timer._serial)
            if len(heap) > 2 * len(pending) + _SLACK:
                heap[:] = [entry for entry in heap if entry[1] in pending]
                heapify(heap)
            self._wakes_at = heap[0][0] if heap else _NEVER
            if not inbox:
                self.clock.sleep(max(self._wakes_at - self.clock.now(), 0.0))

    # ---- The workers' threads

    def _fire(self, serial: int) -> bool:
        """Call the timer's function, unless it was cancelled; false in a child that it forked."""
        timer = self.pending.get(serial)
        if timer is not None:
            timer._claims.append(_FIRED)
            if timer._claims[0] is _FIRED:
                timer._ident = threading.get_ident()
                timer._native_id = threading.get_native_id()
                self.running[serial] = timer
                self.pending.pop(serial, None)
                _call(timer)
                if self._pid != os.getpid():
                    return False
                self.running.pop(serial, None)
                self._ended(serial)
        return True

    # ---- The thread that keeps the interpreter alive

    def _keep(self) -> None:
        threading.main_thread().join()
        while True:
            while keeping := self._keeping():
                for timer in keeping:
                    self.await_end(timer, None)
            for any_number in (False, True):
                self.workers[False, any_number].end_when_idle()
            self._right_to_keep.release()
            # Who started one just before that relied on this thread.
            if not self._keeping() or not self._right_to_keep.acquire(False):
                return

    def _keeping(self) -> list[Timer]:
        timers = [*list(self.pending.values()), *list(self.running.values())]
        return [timer for timer in timers if not timer._daemon]


def _start_once(right: Any, target: Callable[[], None], name: str, daemon: bool) -> None:
    if right.acquire(False):
        try:
            threading.Thread(target=target, name=name, daemon=daemon).start()
        except BaseException:
            right.release()
            raise


def _call(timer: Timer) -> None:
    thread = threading.current_thread()
    own_name, thread.name = thread.name, timer.name
    try:
        timer.run()
    except BaseException:
        try:
            threading.excepthook(threading.ExceptHookArgs([*sys.exc_info(), thread]))
        except BaseException:  # as threading does where a hook fails
            sys.excepthook(*sys.exc_info())
    finally:
        thread.name = own_name


_serials = count(1)
_scheduler = Scheduler()


def _begin_anew() -> None:
    global _scheduler
    _scheduler = Scheduler()


os.register_at_fork(after_in_child=_begin_anew)
