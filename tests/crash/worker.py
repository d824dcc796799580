"""A worker of a campaign: one life, in which it does whatever treadle offers, and notes each step.

The work is chosen by a random generator that is seeded with the campaign's seed and the life's
number; when it is killed is up to the clock.
"""

import os
import random
import sys
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

import treadle
from tests.crash.journal import Act, Cell, Journals, Violation, Writer

PERMITS = 3
SLOTS = 32  # workers at a time, at most
LOCKS = 3  # Lock, RLock, and a Lock that is taken over

# Where things lie among the common words.
STOP = 0
_GUARDED = 8  # 4 words a lock: who is inside, and two that must be equal outside
_FLAGS = 64  # a word a slot: the permit that it holds now

_SIZES = (
    0,
    10,
    1000,
    9000,
    70_000,
    300_000,
)  # 9000: too large for the ring; 70,000: than one of its chunks
_ROOM = 64  # notes that one piece of work makes at most
_BATCH = 8
SEQUENCES = 1 << 16  # item numbers of a life

# What a campaign's workers do, each piece as likely as the next.
WORK = {
    "items": ("put_item", "get_item", "put_items", "get_items"),
    "jobs": ("put_job", "put_job", "do_job", "do_job", "take_job"),
    "locks": ("use_lock", "use_rlock", "use_taken_over"),
    "permits": ("use_permit",),
    "objects": ("make_and_drop", "use_condition", "use_event", "use_barrier"),
}
WORK["all"] = tuple(name for names in WORK.values() for name in names)


@dataclass
class Ground:
    """What the workers share."""

    items: treadle.Queue
    jobs: treadle.Queue
    lock: treadle.Lock
    rlock: treadle.RLock
    taken_over: treadle.Lock
    permits: treadle.BoundedSemaphore
    condition: treadle.Condition
    event: treadle.Event
    barrier: treadle.Barrier

    @staticmethod
    def make(queues: type[treadle.Queue] = treadle.Queue) -> "Ground":
        return Ground(
            items=queues(96, label="items"),
            jobs=queues(label="jobs"),
            lock=treadle.Lock(label="lock"),
            rlock=treadle.RLock(label="rlock"),
            taken_over=treadle.Lock(on_owner_death="recover", label="taken over"),
            permits=treadle.BoundedSemaphore(PERMITS, label="permits"),
            condition=treadle.Condition(treadle.RLock(on_owner_death="recover"), label="condition"),
            event=treadle.Event(label="event"),
            barrier=treadle.Barrier(2, label="barrier"),
        )


def live(
    ground: Ground, journals: Journals, life: int, slot: int, seed: int, steps: int, work: str
) -> None:
    """One life: works until told to stop, for at most `steps` pieces of work of the kind `work`."""
    worker = Worker(ground, journals, life, slot, random.Random(f"{seed}:{life}"), work)
    stop = journals.common(STOP)
    try:
        while steps > 0 and not stop.value and worker.journal.room() > _ROOM:
            worker.work()
            steps -= 1
        worker.journal.note(Act.FAREWELL)
    except BaseException:
        worker.journal.note(Act.VIOLATION, Violation.EXCEPTION)
        print(f"life {life}, pid {os.getpid()}:", file=sys.stderr)
        traceback.print_exc()
        sys.stderr.flush()


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


class Worker:
    """Does pieces of work, each of which leaves the objects as a correct program would."""

    def __init__(
        self,
        ground: Ground,
        journals: Journals,
        life: int,
        slot: int,
        dice: random.Random,
        work: str,
    ) -> None:
        self.ground = ground
        self.journal: Writer = journals.writer(life)
        self.life = life
        self.dice = dice
        self._next = 0
        self._guarded = [Guarded.by(lock, journals) for lock in range(LOCKS)]
        self._flags = [journals.common(_FLAGS + i) for i in range(SLOTS)]
        self._slot = slot
        self._permits_had = 0
        self._warned: list[str] = []
        warnings.simplefilter("always", treadle.OwnerDiedWarning)
        warnings.showwarning = lambda message, *_: self._warned.append(str(message))
        self._work = [getattr(self, name) for name in WORK[work]]

    def work(self) -> None:
        self.dice.choice(self._work)()

    # ---- The queue, by get

    def put_item(self) -> None:
        number = self._new_number()
        item = (number, contents(number))
        self.journal.note(Act.PUTTING, number)
        try:
            self.ground.items.put(item, timeout=0.005)
        except treadle.Full:
            self.journal.note(Act.REFUSED, number)
        else:
            self.journal.note(Act.PUT, number)

    def get_item(self) -> None:
        self.journal.note(Act.GETTING, 1)
        try:
            number, data = self.ground.items.get(timeout=0.005)
        except treadle.Empty:
            pass
        else:
            self._received(number, data)
        self.journal.note(Act.GET_OVER)

    def put_items(self) -> None:
        numbers = [self._new_number() for _ in range(self.dice.randint(1, _BATCH))]
        items = [(number, contents(number)) for number in numbers]
        # Bounded by the queue's room, not by time: a batch that runs into its timeout does not say
        # how far it came.
        for number in numbers:
            self.journal.note(Act.PUTTING, number)
        if self.ground.items.qsize() < 48:
            self.ground.items.put_many(items)
            for number in numbers:
                self.journal.note(Act.PUT, number)
        else:
            for number in numbers:
                self.journal.note(Act.REFUSED, number)

    def get_items(self) -> None:
        most = self.dice.randint(1, _BATCH)
        self.journal.note(Act.GETTING, most)
        try:
            items = self.ground.items.get_many(most, timeout=0.005)
        except treadle.Empty:
            items = []
        for number, data in items:
            self._received(number, data)
        self.journal.note(Act.GET_OVER)

    def _received(self, number: int, data: bytes) -> None:
        self.journal.note(Act.GOT, number)
        if data != contents(number):
            self._violation(Violation.WRONG_BYTES)

    # ---- The queue, by lease

    def put_job(self) -> None:
        number = self._new_number()
        job = (number, contents(number))
        self.journal.note(Act.PUTTING_JOB, number)
        self.ground.jobs.put(job)
        self.journal.note(Act.PUT_JOB, number)

    def do_job(self) -> None:
        self.journal.note(Act.LEASING)
        try:
            lease = self.ground.jobs.lease(timeout=0.005)
        except treadle.Empty:
            self.journal.note(Act.NONE_LEASED)
            return
        number, data = lease.item
        self.journal.note(Act.LEASED, number, lease.deliveries)
        if data != contents(number):
            self._violation(Violation.WRONG_BYTES)
        self.journal.note(Act.ACTED_ON, number)
        done = self.dice.random() < 0.8
        self.journal.note(Act.ACKING if done else Act.NACKING, number)
        try:
            lease.ack() if done else lease.nack()
        except RuntimeError:
            self._violation(Violation.LEASE_LOST)
        self.journal.note(Act.ACKED if done else Act.NACKED, number)

    def take_job(self) -> None:
        """A job got instead of leased: it goes with its taker."""
        self.journal.note(Act.TAKING)
        try:
            number, data = self.ground.jobs.get(timeout=0.005)
        except treadle.Empty:
            self.journal.note(Act.NONE_TAKEN)
            return
        self.journal.note(Act.TAKEN, number)
        if data != contents(number):
            self._violation(Violation.WRONG_BYTES)
        self.ground.jobs.task_done()
        self.journal.note(Act.TASK_DONE, number)

    # ---- Locks

    def use_lock(self) -> None:
        self.journal.note(Act.LOCKING, 0)
        try:
            with self.ground.lock:
                self._change(0)
        except treadle.OwnerDiedError:
            self._recover(self.ground.lock, 0)
        self.journal.note(Act.UNLOCKED, 0)

    def use_rlock(self) -> None:
        self.journal.note(Act.LOCKING, 1)
        try:
            with self.ground.rlock, self.ground.rlock:
                self._change(1)
        except treadle.OwnerDiedError:
            self._recover(self.ground.rlock, 1)
        self.journal.note(Act.UNLOCKED, 1)

    def use_taken_over(self) -> None:
        self._warned.clear()
        self.journal.note(Act.LOCKING, 2)
        with self.ground.taken_over:
            if self._warned:
                self._guarded[2].repair()
                self.journal.note(Act.REPAIRED, 2)
            self._change(2)
        self.journal.note(Act.UNLOCKED, 2)

    def _recover(self, lock: treadle.Lock | treadle.RLock, which: int) -> None:
        with lock.recover() as needed:
            if needed:  # else somebody else was faster
                self._guarded[which].repair()
                self.journal.note(Act.REPAIRED, which)
            self._change(which)

    def _change(self, which: int) -> None:
        """Changes what the lock guards, in two steps, between which it is torn."""
        guarded = self._guarded[which]
        if guarded.inside.value != 0:
            self._violation(Violation.LOCK_SHARED)
        guarded.inside.value = self.life + 1
        if guarded.first.value != guarded.second.value:
            self._violation(Violation.DEATH_UNTOLD)
        value = guarded.first.value
        guarded.first.value = value + 1
        for _ in range(int(10 ** self.dice.uniform(0, 4.3))):
            pass
        guarded.second.value = value + 1
        if guarded.inside.value != self.life + 1:
            self._violation(Violation.LOCK_SHARED)
        guarded.inside.value = 0

    # ---- Permits

    def use_permit(self) -> None:
        self.journal.note(Act.ASKING_PERMIT)
        if not self.ground.permits.acquire(timeout=0.01):
            self.journal.note(Act.NO_PERMIT)
            return
        self._permits_had += 1
        self._flags[self._slot].value = os.getpid() << 32 | self._permits_had
        if self._holders_proven() > PERMITS:
            self._violation(Violation.TOO_MANY_PERMITS)
        self._flags[self._slot].value = 0
        try:
            self.ground.permits.release()
        except ValueError:
            self._violation(Violation.PERMIT_REFUSED)
        self.journal.note(Act.PERMIT_BACK)

    def _holders_proven(self) -> int:
        """How many held a permit at one instant, for sure.

        A flag stands only while its permit is held, or after its holder was killed. Flags that are
        the same before and after all their processes were seen alive were all valid in between.
        """
        before = [flag.value for flag in self._flags]
        if sum(flag != 0 for flag in before) <= PERMITS:
            return 0
        alive = [flag != 0 and _runs(flag >> 32) for flag in before]
        after = [flag.value for flag in self._flags]
        return sum(a and b == c for a, b, c in zip(alive, before, after, strict=True))

    # ---- What has no account, but must neither hang nor leak

    def make_and_drop(self) -> None:
        self.journal.note(Act.BUSY)
        kind = self.dice.randrange(5)
        if kind == 0:
            queue = treadle.Queue()
            queue.put_many(contents(number) for number in range(self.dice.randint(2, 6)))
            queue.get()
            queue.lease()
        elif kind == 1:
            locks = [treadle.Lock() for _ in range(20)]
            with locks[7]:
                del locks[3:9]
        elif kind == 2:
            with treadle.BoundedSemaphore(2), treadle.Condition() as _:
                treadle.Event().set()
        elif kind == 3:
            treadle.Barrier(40)
        else:
            self.ground.event.statistics(), self.ground.lock.owner, treadle.sweep()
        self.journal.note(Act.IDLE)

    def use_condition(self) -> None:
        self.journal.note(Act.BUSY)
        with self.ground.condition:
            if self.dice.random() < 0.5:
                self.ground.condition.wait(timeout=0.003)
            else:
                self.ground.condition.notify(self.dice.choice((1, 2, 100)))
        self.journal.note(Act.IDLE)

    def use_event(self) -> None:
        self.journal.note(Act.BUSY)
        choice = self.dice.randrange(3)
        if choice == 0:
            self.ground.event.set()
        elif choice == 1:
            self.ground.event.clear()
        else:
            self.ground.event.wait(timeout=0.003)
        self.journal.note(Act.IDLE)

    def use_barrier(self) -> None:
        self.journal.note(Act.BUSY)
        try:
            self.ground.barrier.wait(timeout=0.005)
        except treadle.BrokenBarrierError:
            self.ground.barrier.reset()
        self.journal.note(Act.IDLE)

    def _violation(self, violation: Violation) -> None:
        self.journal.note(Act.VIOLATION, violation)

    def _new_number(self) -> int:
        self._next += 1
        return self.life * SEQUENCES + self._next


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False
