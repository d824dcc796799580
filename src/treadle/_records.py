"""What ``owner`` and ``statistics()`` return: frozen snapshots, possibly stale when you read them.

Imported by the first of them that is asked for: dataclasses are slow to import and to make.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ArenaStatistics",
    "BarrierStatistics",
    "ConditionStatistics",
    "ConnectionStatistics",
    "DictStatistics",
    "EventStatistics",
    "Holder",
    "LatchStatistics",
    "ListStatistics",
    "LockStatistics",
    "PoolStatistics",
    "QueueStatistics",
    "RWLockStatistics",
    "SemaphoreStatistics",
    "TimerStatistics",
]


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock.

    ``since`` is on the clock of ``time.monotonic()``, a few milliseconds coarse. ``thread_id`` is
    the system's (``threading.get_native_id()``). ``thread_name`` is empty when it is not known.

    >>> import os, treadle
    >>> lock = treadle.Lock()
    >>> with lock:
    ...     lock.owner.pid == os.getpid(), lock.owner.thread_name
    (True, 'MainThread')
    """

    pid: int
    thread_id: int
    thread_name: str
    since: float


@dataclass(frozen=True, slots=True)
class LockStatistics:
    """A ``Lock`` or ``RLock``. ``waiting`` counts the parked threads (shared locks only).

    >>> import treadle
    >>> lock = treadle.RLock(label="books")
    >>> with lock:
    ...     lock.statistics()
    LockStatistics(label='books', shared=True, locked=True, inconsistent=False, owner=Holder(...
    """

    label: str
    shared: bool
    locked: bool
    inconsistent: bool
    owner: Holder | None
    recursion: int
    waiting: int


@dataclass(frozen=True, slots=True)
class RWLockStatistics:
    """An ``RWLock``. ``owner`` is the writer; ``readers`` counts the reads that are held.

    ``waiting`` counts the parked threads, of both kinds (shared locks only).

    >>> import treadle
    >>> lock = treadle.RWLock(label="index")
    >>> with lock.read():
    ...     lock.statistics()
    RWLockStatistics(label='index', shared=True, locked=True, inconsistent=False, owner=None, ...
    """

    label: str
    shared: bool
    locked: bool
    inconsistent: bool
    owner: Holder | None
    readers: int
    waiting: int


@dataclass(frozen=True, slots=True)
class SemaphoreStatistics:
    """A ``Semaphore`` or ``BoundedSemaphore``. ``bound`` is None for an unbounded one.

    >>> import treadle
    >>> treadle.Semaphore(2).statistics()
    SemaphoreStatistics(label=..., value=2, initial=2, bound=None, reclaim=False, waiting=0)
    """

    label: str
    shared: bool
    value: int
    initial: int
    bound: int | None
    reclaim: bool
    waiting: int


@dataclass(frozen=True, slots=True)
class EventStatistics:
    """An ``Event``.

    >>> import treadle
    >>> treadle.Event(label="ready").statistics()
    EventStatistics(label='ready', shared=True, is_set=False, waiting=0)
    """

    label: str
    shared: bool
    is_set: bool
    waiting: int


@dataclass(frozen=True, slots=True)
class LatchStatistics:
    """A ``Latch``. ``count`` is what is left of ``initial``.

    >>> import treadle
    >>> treadle.Latch(3, label="ready").statistics()
    LatchStatistics(label='ready', shared=True, count=3, initial=3, waiting=0)
    """

    label: str
    shared: bool
    count: int
    initial: int
    waiting: int


@dataclass(frozen=True, slots=True)
class ConditionStatistics:
    """A ``Condition``. ``waiting`` counts who has not been notified yet, the dead included.

    >>> import treadle
    >>> treadle.Condition(label="not empty").statistics()
    ConditionStatistics(label='not empty', shared=True, waiting=0, lock=LockStatistics(...
    """

    label: str
    shared: bool
    waiting: int
    lock: LockStatistics | None


@dataclass(frozen=True, slots=True)
class BarrierStatistics:
    """A ``Barrier``.

    >>> import treadle
    >>> treadle.Barrier(2, label="round").statistics()
    BarrierStatistics(label='round', shared=True, parties=2, waiting=0, broken=False)
    """

    label: str
    shared: bool
    parties: int
    waiting: int
    broken: bool


@dataclass(frozen=True, slots=True)
class DictStatistics:
    """A ``Dict``.

    ``buckets``: of its hash table. ``bytes``: what the keys and values take; ``memory``: all that
    the dict takes. ``recoveries``: how often a process died in a change. ``locked``: whether its
    lock is held. ``waiting`` counts the parked threads.

    >>> import treadle
    >>> treadle.Dict(a=1, label="letters").statistics()
    DictStatistics(label='letters', length=1, buckets=16, bytes=...
    """

    label: str
    length: int
    buckets: int
    bytes: int
    memory: int
    recoveries: int
    locked: bool
    waiting: int


@dataclass(frozen=True, slots=True)
class ListStatistics:
    """A ``List``.

    ``capacity``: how many items it has cells for. ``bytes``: what the items take that do not fit in
    their cells; ``memory``: all that the list takes. ``recoveries``: how often a process died in a
    change. ``locked``: whether its lock is held. ``waiting`` counts the parked threads.

    >>> import treadle
    >>> treadle.List("abc", label="letters").statistics()
    ListStatistics(label='letters', length=3, capacity=9, bytes=0, memory=...
    """

    label: str
    length: int
    capacity: int
    bytes: int
    memory: int
    recoveries: int
    locked: bool
    waiting: int


@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """A ``Queue``.

    ``puts`` and ``gets`` count items since the queue was made; ``bytes`` is what the waiting items
    occupy. ``leased`` items are out; ``redelivered`` counts the deliveries beyond the first.

    >>> import treadle
    >>> queue = treadle.Queue()
    >>> queue.put_many("abc")
    >>> statistics = queue.statistics()
    >>> statistics.qsize, statistics.unfinished, statistics.gets
    (3, 3, 0)
    """

    label: str
    shared: bool
    qsize: int
    maxsize: int
    bytes: int
    maxbytes: int
    puts: int
    gets: int
    unfinished: int
    leased: int
    redelivered: int
    waiting: int
    is_shutdown: bool


@dataclass(frozen=True, slots=True)
class ArenaStatistics:
    """The shared memory that this process makes its objects in. Sizes are in bytes.

    ``backed`` is what the system has given, ``used`` the part of it in use; ``rebuilds`` counts how
    often the arena's books were mended after a process was killed while it changed them.

    >>> import treadle
    >>> lock = treadle.Lock()
    >>> statistics = treadle.arena_statistics()
    >>> 0 < statistics.used <= statistics.backed <= statistics.limit
    True
    """

    limit: int
    backed: int
    used: int
    blocks: int
    rebuilds: int


@dataclass(frozen=True, slots=True)
class TimerStatistics:
    """A ``Timer``, and what shares its process's scheduler.

    ``state`` is "new", "pending", "running", "ended" or "cancelled". ``remaining``: seconds until
    it is due, of a pending one. ``all_pending``, ``all_running`` and ``workers`` count what its
    process has: timers, and threads that run their functions.

    >>> import treadle
    >>> treadle.Timer(60, print).statistics()
    TimerStatistics(name='Timer-...', state='new', interval=60, remaining=None, daemon=False, ...
    """

    name: str
    state: str
    interval: float
    remaining: float | None
    daemon: bool
    all_pending: int
    all_running: int
    workers: int


@dataclass(frozen=True, slots=True)
class ConnectionStatistics:
    """An end of a ``Pipe``. Incoming and outgoing: on their way, as messages and as bytes.

    ``waiting`` counts the parked threads, of both ends.

    >>> import treadle
    >>> treadle.Pipe()[0].statistics()
    ConnectionStatistics(label=..., received=0, incoming=0, incoming_bytes=0, sent=0, outgoing=...
    """

    label: str
    received: int
    incoming: int
    incoming_bytes: int
    sent: int
    outgoing: int
    outgoing_bytes: int
    waiting: int


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """A ``Pool`` or an ``Executor``.

    busy: workers that are at a task. submitted, finished, failed, retried: calls, an item of a
    ``map`` being one each. deaths: workers that ended unasked. pids: of the workers, where these
    are processes.

    >>> import treadle
    >>> with treadle.Pool(2, kind="thread", label="readers") as pool:
    ...     pool.statistics()
    PoolStatistics(label='readers', kind='thread', workers=2, ...
    """

    label: str
    kind: str
    workers: int
    pids: tuple[int, ...]
    busy: int
    submitted: int
    finished: int
    failed: int
    retried: int
    deaths: int
