"""What the workers of a campaign share, and what they do with it."""

from dataclasses import dataclass

import treadle
from tests.crash.journal import Cell, Journals

PERMITS = 3
SLOTS = 256  # parties at a time, at most: threads and tasks

# What guards two words each. The second Lock and the Condition's lock are taken over from the dead.
LOCK, RLOCK, TAKEN_OVER, RWLOCK, CONDITION = range(LOCKS := 5)

# Where things lie among the common words.
STOP = 0
_GUARDED = 8  # 4 words a lock: who is inside, and two that must be equal outside
FLAGS = 64  # a word a slot: the permit that it holds now

_SIZES = (
    0,
    10,
    1000,
    9000,
    70_000,
    300_000,
)  # 9000: too large for the ring; 70,000: than one of its chunks
SEQUENCES = 1 << 16  # item numbers of a life

# What the workers of a campaign do, each piece as likely as the next.
WORK = {
    "items": ("put_item", "get_item", "put_items", "get_items"),
    "jobs": ("put_job", "put_job", "do_job", "do_job", "take_job"),
    "locks": ("use_lock", "use_rlock", "use_taken_over"),
    "rwlock": ("use_to_read", "use_to_read", "use_to_read", "use_to_write"),
    "permits": ("use_permit", "signal", "hear_signal"),
    "objects": ("make_and_drop", "use_condition", "use_event", "use_barrier", "join_jobs"),
}
WORK["all"] = tuple(name for names in WORK.values() for name in names)
WORK["pipes"] = ()  # in pairs, over a pipe of their own: see pipe_ends.py


@dataclass
class Ground:
    """What the workers share."""

    items: treadle.Queue
    jobs: treadle.Queue
    lock: treadle.Lock
    rlock: treadle.RLock
    taken_over: treadle.Lock
    rwlock: treadle.RWLock
    permits: treadle.BoundedSemaphore
    signals: treadle.Semaphore
    condition: treadle.Condition
    event: treadle.Event
    barrier: treadle.Barrier

    @staticmethod
    def make(queues: type[treadle.Queue], maxsize: int) -> "Ground":
        condition_lock = treadle.RLock(on_owner_death="recover", label="condition lock")
        return Ground(
            items=queues(maxsize, label="items"),
            jobs=queues(label="jobs"),
            lock=treadle.Lock(label="lock"),
            rlock=treadle.RLock(label="rlock"),
            taken_over=treadle.Lock(on_owner_death="recover", label="taken over"),
            rwlock=treadle.RWLock(label="rwlock"),
            permits=treadle.BoundedSemaphore(PERMITS, label="permits"),
            signals=treadle.Semaphore(0, label="signals"),
            condition=treadle.Condition(condition_lock, label="condition"),
            event=treadle.Event(label="event"),
            barrier=treadle.Barrier(2, label="barrier"),
        )


def contents(number: int) -> bytes:
    """The bytes that go with an item."""
    return bytes([number % 251]) * _SIZES[number % len(_SIZES)]


@dataclass
class Guarded:
    """What a lock guards: two words that are equal whenever nobody is inside."""

    inside: Cell
    first: Cell
    second: Cell

    @staticmethod
    def by(lock: int, journals: Journals) -> "Guarded":
        return Guarded(*(journals.common(_GUARDED + 4 * lock + i) for i in range(3)))

    def repair(self) -> None:
        self.inside.value = 0
        self.second.value = self.first.value
