"""One set of concurrency primitives for threads and processes.

Locks, semaphores, events, latches, conditions, barriers and queues, whose handles can be sent to
any process of the same user, and which stay usable when a process that uses them is killed.

>>> import multiprocessing, treadle
>>> queue = treadle.Queue()
>>> process = multiprocessing.Process(target=queue.put, args=(("hello", 42),))
>>> process.start()
>>> queue.get()
('hello', 42)
>>> process.join()
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  pip refuses it too, a copied folder does not
    raise ImportError(f"treadle needs Python 3.11 or later; this is {sys.version.split()[0]}")
if sys.platform != "linux":
    raise ImportError(f"treadle runs on Linux only; this is {sys.platform}")

from treadle._core import (
    Connection,
    Dict,
    Lease,
    LifoQueue,
    List,
    Pipe,
    PriorityQueue,
    Queue,
    SimpleQueue,
    Synchronized,
    SynchronizedArray,
    SynchronizedString,
    arena_statistics,
    import_lazily,
    set_arena_limit,
    sweep,
    unlink,
)
from treadle._errors import (
    ArenaFullError,
    Empty,
    Full,
    HandleError,
    ItemError,
    OwnerDiedError,
    OwnerDiedWarning,
    RemoteTraceback,
    ShutDown,
    TaskError,
    TaskTimeoutError,
    TreadleError,
    WorkerDiedError,
    WorkerMemoryError,
)
from treadle._sync import (
    Barrier,
    BoundedSemaphore,
    BrokenBarrierError,
    Condition,
    Event,
    Latch,
    Lock,
    RLock,
    RWLock,
    Semaphore,
)
from treadle._timers import Timer

TYPE_CHECKING = False  # type checkers know the name
if TYPE_CHECKING:
    from treadle._fifo import Fifo
    from treadle._namespace import Namespace
    from treadle._ndarray import ndarray
    from treadle._pool.current import Worker, current_worker
    from treadle._pool.executor import Executor, Future
    from treadle._pool.imap import ImapIterator
    from treadle._pool.pool import Pool
    from treadle._pool.results import AsyncResult, MapResult
    from treadle._pool.views import PoolView
    from treadle._records import (
        ArenaStatistics,
        BarrierStatistics,
        ConditionStatistics,
        ConnectionStatistics,
        DictStatistics,
        EventStatistics,
        Holder,
        LatchStatistics,
        ListStatistics,
        LockStatistics,
        PoolStatistics,
        QueueStatistics,
        RWLockStatistics,
        SemaphoreStatistics,
        TimerStatistics,
    )
    from treadle._running.groups import Group
    from treadle._running.processes import Process
    from treadle._running.threads import Thread
    from treadle._shareable_list import ShareableList
    from treadle._shared_memory import SharedMemory
    from treadle._values import Array, RawArray, RawValue, Value

__all__ = [
    "ArenaFullError",
    "ArenaStatistics",
    "Array",
    "AsyncResult",
    "Barrier",
    "BarrierStatistics",
    "BoundedSemaphore",
    "BrokenBarrierError",
    "Condition",
    "ConditionStatistics",
    "Connection",
    "ConnectionStatistics",
    "Dict",
    "DictStatistics",
    "Empty",
    "Event",
    "EventStatistics",
    "Executor",
    "Fifo",
    "Full",
    "Future",
    "Group",
    "HandleError",
    "Holder",
    "ImapIterator",
    "ItemError",
    "Latch",
    "LatchStatistics",
    "Lease",
    "LifoQueue",
    "List",
    "ListStatistics",
    "Lock",
    "LockStatistics",
    "MapResult",
    "Namespace",
    "OwnerDiedError",
    "OwnerDiedWarning",
    "Pipe",
    "Pool",
    "PoolStatistics",
    "PoolView",
    "PriorityQueue",
    "Process",
    "Queue",
    "QueueStatistics",
    "RLock",
    "RWLock",
    "RWLockStatistics",
    "RawArray",
    "RawValue",
    "RemoteTraceback",
    "Semaphore",
    "SemaphoreStatistics",
    "ShareableList",
    "SharedMemory",
    "ShutDown",
    "SimpleQueue",
    "Synchronized",
    "SynchronizedArray",
    "SynchronizedString",
    "TaskError",
    "TaskTimeoutError",
    "Thread",
    "Timer",
    "TimerStatistics",
    "TreadleError",
    "Value",
    "Worker",
    "WorkerDiedError",
    "WorkerMemoryError",
    "arena_statistics",
    "current_worker",
    "ndarray",
    "set_arena_limit",
    "sweep",
    "unlink",
]

__version__: str

# What would more than double the time of the import is imported when it is asked for.
_LATER = {
    "Array": "treadle._values",
    "AsyncResult": "treadle._pool.results",
    "Executor": "treadle._pool.executor",
    "Fifo": "treadle._fifo",
    "Future": "treadle._pool.executor",
    "Group": "treadle._running.groups",
    "Holder": "treadle._records",
    "ImapIterator": "treadle._pool.imap",
    "MapResult": "treadle._pool.results",
    "Namespace": "treadle._namespace",
    "Pool": "treadle._pool.pool",
    "PoolView": "treadle._pool.views",
    "Process": "treadle._running.processes",
    "RawArray": "treadle._values",
    "RawValue": "treadle._values",
    "ShareableList": "treadle._shareable_list",
    "SharedMemory": "treadle._shared_memory",
    "Thread": "treadle._running.threads",
    "Value": "treadle._values",
    "Worker": "treadle._pool.current",
    "current_worker": "treadle._pool.current",
    "ndarray": "treadle._ndarray",
    **{_name: "treadle._records" for _name in __all__ if _name.endswith("Statistics")},
}

if not TYPE_CHECKING:  # which would take any name for a public one

    def __getattr__(name):
        if name == "__version__":
            from importlib.metadata import version

            found = version("treadle")
        elif name in _LATER:
            found = getattr(import_lazily(_LATER[name]), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found
        return found

    def __dir__():
        return sorted({*globals(), *__all__})
