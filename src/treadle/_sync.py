"""Condition and Barrier, over the native waiters and rounds; and the sync objects' public names.

Prior art: ``threading.Condition`` and ``threading.Barrier``, whose interfaces and error messages
these keep. Departures: the waiters lie in shared memory, so that a dead one is known to be dead: it
is not counted by ``notify``, and it breaks a barrier for the others, who learn its name.
"""

from __future__ import annotations

import time
from threading import BrokenBarrierError

from treadle._core import (
    BarrierCore,
    BoundedSemaphore,
    ConditionCore,
    Event,
    Guarded,
    Latch,
    Lock,
    NameOfPart,
    RLock,
    RWLock,
    Semaphore,
    call_site,
    import_lazily,
)

TYPE_CHECKING = False  # type checkers know the name; importing typing takes longer than all of this
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any, NoReturn

    from treadle._records import BarrierStatistics, ConditionStatistics, Holder
    from treadle.aio import Barrier as AioBarrier
    from treadle.aio import Condition as AioCondition

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "Condition",
    "Event",
    "Latch",
    "Lock",
    "RLock",
    "RWLock",
    "Semaphore",
]


class Condition(Guarded):
    """A condition variable, for threads and processes.

    ``wait`` releases the lock, sleeps until notified, and takes the lock again. ``notify(n)`` wakes
    n waiters, the longest-waiting first; those who died are not counted. ``acquire``,
    ``release``, ``locked``, ``owner`` and ``recover`` are the lock's, and so is what ``with`` does.

    lock: the lock that guards what is waited for; by default an ``RLock`` of the same storage. A
    shared condition needs a shared ``Lock`` or ``RLock``; with ``shared=False`` any lock will do,
    other libraries' included: what has acquire() and release(). name, persist: as those of Lock;
    the default lock is found with the condition, another one needs a name of its own. label: what
    reports call it; by default the name, or the module and line that made it.

    >>> import treadle
    >>> condition = treadle.Condition()
    >>> with condition:
    ...     condition.wait_for(lambda: True)
    True
    """

    def __init__(
        self,
        lock: Any = None,
        *,
        shared: bool = True,
        name: str | None = None,
        persist: bool = False,
        label: str | bytes | None = None,
    ) -> None:
        if label is None:
            label = call_site() if name is None else name
        described = "Condition()"
        if lock is not None:
            _check_lock(lock, shared)
            of_lock = getattr(lock, "name", None)
            if name is not None and of_lock is None:
                raise ValueError(
                    f"a condition with a name needs a lock with a name, and {lock!r} has none: "
                    "who opens the condition elsewhere could not find it"
                )
            described = f"Condition(lock={of_lock!r})"
        core = ConditionCore(shared, label, name, persist, described)
        if lock is None:
            part = None if name is None else NameOfPart(name, "lock")
            lock = RLock(shared=shared, name=part, persist=persist, label=label)
        self._set_up(lock, core)

    def _set_up(self, lock: Any, core: ConditionCore) -> None:
        self._lock = lock
        self._core = core
        # As the standard library's: the lock's own methods, bound once, in front of the class's.
        for name in ("acquire", "release", "_release_save", "_acquire_restore"):
            if hasattr(lock, name):
                setattr(self, name, getattr(lock, name))

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Takes the lock, as its own ``acquire``; returns whether it was had.

        >>> import treadle
        >>> condition = treadle.Condition()
        >>> condition.acquire()
        True
        """
        had: bool = self._lock.acquire(blocking, timeout)
        return had

    def release(self) -> None:
        """Frees the lock, as its own ``release``.

        >>> import treadle
        >>> condition = treadle.Condition()
        >>> with condition:
        ...     condition.release()
        ...     print("free for others")
        ...     _ = condition.acquire()
        free for others
        """
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Releases the lock, waits for a notification, takes the lock again.

        Returns whether a notification came. timeout: in seconds, None waits for ever. Raises
        RuntimeError if the lock is not held, and OwnerDiedError if somebody died holding it
        meanwhile. The lock is held again in any case, as the end of a with block expects; after an
        OwnerDiedError, its release leaves it to be recovered.

        >>> import treadle
        >>> condition = treadle.Condition()
        >>> with condition:
        ...     condition.wait(timeout=0.01)
        False
        """
        if not self._is_owned():
            raise RuntimeError("cannot wait on un-acquired lock")
        return self._core.wait(self._lock, timeout)

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """Waits until the predicate is true; returns its last value.

        timeout: in seconds, for the whole of it; None waits for ever.

        >>> import treadle
        >>> condition = treadle.Condition()
        >>> with condition:
        ...     condition.wait_for(lambda: 0, timeout=0.01)
        0
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        result = predicate()
        while not result:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        """Wakes up to n live waiters. Raises RuntimeError if the lock is not held.

        >>> import treadle
        >>> condition = treadle.Condition()
        >>> with condition:
        ...     condition.notify()
        """
        if not self._is_owned():
            raise RuntimeError("cannot notify on un-acquired lock")
        self._core.notify(n)

    def notify_all(self) -> None:
        """Wakes all waiters. Raises RuntimeError if the lock is not held.

        >>> import treadle
        >>> condition = treadle.Condition()
        >>> with condition:
        ...     condition.notify_all()
        """
        self.notify(0x7FFFFFFF)

    def locked(self) -> bool:
        """Returns whether somebody holds the lock, at this instant.

        >>> import treadle
        >>> treadle.Condition().locked()
        False
        """
        held: bool = self._lock.locked()
        return held

    def recover(self, timeout: float = -1) -> AbstractContextManager[bool]:
        """Returns a context manager that takes the lock even if its owner died.

        >>> import treadle
        >>> with treadle.Condition().recover() as needed:
        ...     needed
        False
        """
        recovery: AbstractContextManager[bool] = self._lock.recover(timeout)
        return recovery

    @property
    def owner(self) -> Holder | None:
        """Who holds the lock: a ``Holder``, or None.

        >>> import treadle
        >>> treadle.Condition().owner
        """
        holder: Holder | None = self._lock.owner
        return holder

    @property
    def aio(self) -> AioCondition:
        """The same condition for tasks of event loops: a ``treadle.aio.Condition``.

        >>> import asyncio, treadle
        >>> condition = treadle.Condition()
        >>> async def main():
        ...     async with condition.aio:
        ...         return await condition.aio.wait_for(lambda: True)
        >>> asyncio.run(main())
        True
        """
        view: AioCondition = import_lazily("treadle.aio").Condition(self)
        return view

    @property
    def label(self) -> str:
        """What reports call it.

        >>> import treadle
        >>> treadle.Condition(label="not empty").label
        'not empty'
        """
        return self._core.label

    @property
    def shared(self) -> bool:
        """Whether the state lies in shared memory, for all processes.

        >>> import treadle
        >>> treadle.Condition(shared=False).shared
        False
        """
        return self._core.shared

    @property
    def name(self) -> str | None:
        """By what name other programs find it, or None.

        >>> import treadle
        >>> treadle.Condition(name="pages were added").name
        'pages were added'
        """
        return self._core.name

    def statistics(self) -> ConditionStatistics:
        """Returns a ``ConditionStatistics``; its ``lock`` is None if the lock is not treadle's.

        >>> import treadle
        >>> treadle.Condition().statistics().waiting
        0
        """
        of_lock = getattr(self._lock, "statistics", None)
        statistics: ConditionStatistics = import_lazily("treadle._records").ConditionStatistics(
            label=self.label,
            shared=self.shared,
            waiting=self._core.waiting,
            lock=None if of_lock is None else of_lock(),
        )
        return statistics

    def _is_owned(self) -> bool:
        is_owned = getattr(self._lock, "_is_owned", None)
        if is_owned is not None:
            return bool(is_owned())
        if self._lock.acquire(False):
            self._lock.release()
            return False
        return True

    def __repr__(self) -> str:
        return f"<treadle.Condition {self.label!r} of {self._lock!r}, {self._core.waiting} waiting>"

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.shared:  # said here, lest the lock, which the user may not know, says it
            raise TypeError("cannot pickle a private treadle.Condition; make it with shared=True")
        bound = ("_core", "acquire", "release", "_release_save", "_acquire_restore")
        state = {name: value for name, value in self.__dict__.items() if name not in bound}
        return _rebuild_condition, (type(self), self._lock, self._core), state or None


def _check_lock(lock: Any, shared: bool) -> None:
    if not (hasattr(lock, "acquire") and hasattr(lock, "release")):
        raise TypeError(
            f"a condition's lock must be a treadle.Lock or treadle.RLock, not {lock!r}; "
            "with shared=False, anything with acquire() and release() will do"
        )
    of_treadle = isinstance(getattr(lock, "shared", None), bool)
    if shared and not of_treadle:
        raise ValueError(
            f"a shared condition needs a shared lock of treadle's, and {lock!r} is another "
            "library's; give it a treadle.Lock or treadle.RLock, or make it with shared=False"
        )
    if shared and not lock.shared:
        raise ValueError(
            f"a shared condition needs a shared lock, and {lock.label!r} is private; "
            "make both with the same shared="
        )


def _rebuild_condition(of: type[Condition], lock: Any, core: ConditionCore) -> Condition:
    condition = of.__new__(of)
    condition._set_up(lock, core)
    return condition


class Barrier:
    """A barrier for a fixed number of threads and processes: all wait until all have come.

    parties: how many. action: called by the last to come, before the others go on; if it raises,
    the barrier breaks. timeout: the default of ``wait``, in seconds. name, persist: as those of
    Lock; action and timeout are each program's own. A party that dies while it waits breaks the
    barrier; the others' BrokenBarrierError names it.

    >>> import treadle
    >>> treadle.Barrier(1).wait()
    0
    """

    def __init__(
        self,
        parties: int,
        action: Callable[[], Any] | None = None,
        timeout: float | None = None,
        *,
        shared: bool = True,
        name: str | None = None,
        persist: bool = False,
        label: str | bytes | None = None,
    ) -> None:
        if parties < 1:
            raise ValueError("parties must be > 0")
        self._action = action
        self._timeout = timeout
        if label is None:
            label = call_site() if name is None else name
        self._core = BarrierCore(parties, shared, label, name, persist)

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the others; returns a number from 0 to parties - 1, another one for each.

        timeout: in seconds, by default the barrier's. Raises BrokenBarrierError if the barrier is
        or becomes broken: a timeout, abort(), reset(), a failed action, a party that died.

        >>> import treadle
        >>> treadle.Barrier(2).wait(timeout=0.01)
        Traceback (most recent call last):
        ...
        threading.BrokenBarrierError: barrier '...' is broken: not all parties came in time
        """
        place = self._core.wait(self._action, self._timeout if timeout is None else timeout)
        if place is None or place is False:
            self._fail(timed_out=place is False)
        return place

    def _fail(self, *, timed_out: bool = False) -> NoReturn:
        culprit = self._core.culprit()
        if culprit is not None:
            reason = f"{culprit} ended while it waited"
        elif timed_out:
            reason = "not all parties came in time"
        else:
            reason = "it was aborted or reset, a party gave up, or the action failed"
        raise BrokenBarrierError(f"barrier {self.label!r} is broken: {reason}")

    def reset(self) -> None:
        """Makes the barrier as new; who waits gets a BrokenBarrierError.

        >>> import treadle
        >>> barrier = treadle.Barrier(2)
        >>> barrier.abort()
        >>> barrier.reset()
        >>> barrier.broken
        False
        """
        self._core.reset()

    def abort(self) -> None:
        """Breaks the barrier: for who waits, and who comes, until ``reset()``.

        >>> import treadle
        >>> barrier = treadle.Barrier(2)
        >>> barrier.abort()
        >>> barrier.broken
        True
        """
        self._core.break_off()

    @property
    def parties(self) -> int:
        """How many parties make a round.

        >>> import treadle
        >>> treadle.Barrier(3).parties
        3
        """
        return self._core.parties

    @property
    def n_waiting(self) -> int:
        """How many are waiting, at this instant.

        >>> import treadle
        >>> treadle.Barrier(3).n_waiting
        0
        """
        return self._core.waiting

    @property
    def broken(self) -> bool:
        """Whether the barrier is broken.

        >>> import treadle
        >>> treadle.Barrier(3).broken
        False
        """
        return self._core.broken

    @property
    def aio(self) -> AioBarrier:
        """The same barrier for tasks of event loops: a ``treadle.aio.Barrier``.

        >>> import asyncio, treadle
        >>> asyncio.run(treadle.Barrier(1).aio.wait())
        0
        """
        view: AioBarrier = import_lazily("treadle.aio").Barrier(self)
        return view

    @property
    def label(self) -> str:
        """What reports call it.

        >>> import treadle
        >>> treadle.Barrier(3, label="round").label
        'round'
        """
        return self._core.label

    @property
    def shared(self) -> bool:
        """Whether the state lies in shared memory, for all processes.

        >>> import treadle
        >>> treadle.Barrier(2).shared
        True
        """
        return self._core.shared

    @property
    def name(self) -> str | None:
        """By what name other programs find it, or None.

        >>> import treadle
        >>> treadle.Barrier(2, name="start of the race").name
        'start of the race'
        """
        return self._core.name

    def statistics(self) -> BarrierStatistics:
        """Returns a ``BarrierStatistics``.

        >>> import treadle
        >>> treadle.Barrier(3).statistics().parties
        3
        """
        statistics: BarrierStatistics = import_lazily("treadle._records").BarrierStatistics(
            label=self.label,
            shared=self.shared,
            parties=self.parties,
            waiting=self.n_waiting,
            broken=self.broken,
        )
        return statistics

    def __repr__(self) -> str:
        state = "broken" if self.broken else f"waiters={self.n_waiting}/{self.parties}"
        storage = "shared" if self.shared else "private"
        return f"<treadle.Barrier at {id(self):#x} {self.label!r}, {storage}: {state}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_barrier, (type(self),), self.__dict__


def _rebuild_barrier(of: type[Barrier]) -> Barrier:
    return of.__new__(of)  # what it consists of comes with its state
