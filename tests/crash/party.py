"""A party of a campaign: a thread or a task, which has a journal, and does one thing at a time."""

import os
import random
import threading
import warnings
from collections import defaultdict
from pathlib import Path

import treadle
from tests.crash.ground import FLAGS, LOCKS, PERMITS, SEQUENCES, SLOTS, Ground, Guarded, contents
from tests.crash.journal import Act, Journals, Violation, Writer

ROOM = 64  # notes that one piece of work makes at most
BATCH = 8
_MOST_JOBS = 300  # so that the end can be told in one journal

_heard = defaultdict[int, list[str]](list)  # warnings, by the thread in which they were given


def listen_for_deaths() -> None:
    """Warnings of owners' deaths are kept for those who ask, in this process."""
    warnings.simplefilter("always", treadle.OwnerDiedWarning)
    warnings.showwarning = lambda message, *_: _heard[threading.get_ident()].append(str(message))


class Party:
    """What threads and tasks have in common: none of this waits."""

    def __init__(
        self,
        ground: Ground,
        journals: Journals,
        life: int,
        slot: int,
        dice: random.Random,
    ) -> None:
        self.ground = ground
        self.journal: Writer = journals.writer(life)
        self.life = life
        self.dice = dice
        self._next = 0
        self._guarded = [Guarded.by(lock, journals) for lock in range(LOCKS)]
        self._flags = [journals.common(FLAGS + i) for i in range(SLOTS)]
        self._slot = slot
        self._permits_had = 0

    def violation(self, violation: Violation) -> None:
        self.journal.note(Act.VIOLATION, violation)

    # ---- Items

    def new_number(self) -> int:
        self._next += 1
        return self.life * SEQUENCES + self._next

    def new_item(self) -> tuple[int, bytes]:
        number = self.new_number()
        return number, contents(number)

    def check_bytes(self, number: int, data: bytes) -> None:
        if data != contents(number):
            self.violation(Violation.WRONG_BYTES)

    def received(self, number: int, data: bytes) -> None:
        self.journal.note(Act.GOT, number)
        self.check_bytes(number, data)

    def jobs_wanted(self) -> bool:
        return self.ground.jobs.qsize() < _MOST_JOBS

    def settle(self, lease: treadle.Lease[tuple[int, bytes]], done: bool) -> None:
        number = lease.item[0]
        self.journal.note(Act.ACKING if done else Act.NACKING, number)
        try:
            lease.ack() if done else lease.nack()
        except RuntimeError:
            self.violation(Violation.LEASE_LOST)
        self.journal.note(Act.ACKED if done else Act.NACKED, number)

    # ---- What locks guard

    def enter(self, which: int) -> int:
        """Begins a change of what the lock guards; until `leave`, it is torn."""
        guarded = self._guarded[which]
        if guarded.inside.value != 0:
            self.violation(Violation.LOCK_SHARED)
        guarded.inside.value = self.life + 1
        if guarded.first.value != guarded.second.value:
            self.violation(Violation.DEATH_UNTOLD)
        value = guarded.first.value
        guarded.first.value = value + 1
        return value + 1

    def leave(self, which: int, value: int) -> None:
        guarded = self._guarded[which]
        guarded.second.value = value
        if guarded.inside.value != self.life + 1:
            self.violation(Violation.LOCK_SHARED)
        guarded.inside.value = 0

    def look(self, which: int) -> None:
        """Looks at what the lock guards, which is held so that nobody changes it."""
        guarded = self._guarded[which]
        if guarded.inside.value != 0 or guarded.first.value != guarded.second.value:
            self.violation(Violation.TORN)

    def spin(self) -> None:
        for _ in range(int(10 ** self.dice.uniform(0, 4.3))):
            pass

    def change(self, which: int) -> None:
        value = self.enter(which)
        self.spin()
        self.leave(which, value)

    def recover(
        self,
        lock: treadle.Lock | treadle.RLock | treadle.RWLock,
        which: int,
    ) -> None:
        """Changes what the lock guards, of whose owner's death we were told."""
        with lock.recover() as needed:
            if needed:  # else somebody else was faster
                self.repair(which)
            self.change(which)

    def repair_if_told(self, which: int, label: str) -> None:
        """Repairs what a lock guards that was taken over from a dead owner, in this very step."""
        warned = _heard[threading.get_ident()]
        if any(repr(label) in message for message in warned):
            self.repair(which)
        warned.clear()

    def repair(self, which: int) -> None:
        self._guarded[which].repair()
        self.journal.note(Act.REPAIRED, which)

    # ---- Permits

    def show_permit(self) -> None:
        """Says that it holds a permit, and looks at who else does."""
        self._permits_had += 1
        self._flags[self._slot].value = os.getpid() << 32 | self._permits_had
        if self._holders_proven() > PERMITS:
            self.violation(Violation.TOO_MANY_PERMITS)

    def return_permit(self) -> None:
        self._flags[self._slot].value = 0
        try:
            self.ground.permits.release()
        except ValueError:
            self.violation(Violation.PERMIT_REFUSED)
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

    def give_signals(self) -> None:
        count = self.dice.randint(1, 3)
        self.journal.note(Act.SIGNALLING, count)
        self.ground.signals.release(count)
        self.journal.note(Act.SIGNALLED, count)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False
