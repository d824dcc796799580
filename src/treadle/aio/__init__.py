"""The awaitable views of all objects: what ``.aio`` gives.

A view is the same object with coroutine methods. A task that waits owns no thread and never blocks
its loop: it is parked in the process's lot, and whoever changes the object, a thread or a task of
whatever process, has it told. Cancelling it loses nothing: an item or a permit is taken by the
task itself, in the step in which it returns, so only a wake-up can be in flight, and that is passed
on to the next.

Prior art: ``asyncio``'s own primitives, whose semantics these keep (first come, first served among
the tasks of one process), and trio's ``ParkingLot``. Departure: what is waited for is shared with
threads and other processes, which may be faster.

Works under asyncio, with any loop of its interface (uvloop), and under trio; so under anyio, too.
"""

from treadle.aio._events import Event, Latch
from treadle.aio._locks import Lock, RLock, RWLock, Semaphore
from treadle.aio._meetings import Barrier, Condition
from treadle.aio._queues import Connection, Leasing, Queue
from treadle.aio._running import Process, Thread

__all__ = [
    "Barrier",
    "Condition",
    "Connection",
    "Event",
    "Latch",
    "Leasing",
    "Lock",
    "Process",
    "Queue",
    "RLock",
    "RWLock",
    "Semaphore",
    "Thread",
]

# What they are known by.
for _name in __all__:
    globals()[_name].__module__ = __name__
