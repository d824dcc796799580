"""A thread of a campaign: one life, in which it does whatever treadle offers, and notes each step.

The work is chosen by a random generator that is seeded with the campaign's seed and the life's
number; when it is killed is up to the clock.
"""

import treadle
from tests.crash.ground import CONDITION, LOCK, RLOCK, RWLOCK, TAKEN_OVER, WORK, contents
from tests.crash.journal import Act, Cell
from tests.crash.party import BATCH, ROOM, Party


class Worker(Party):
    """Does pieces of work, each of which leaves the objects as a correct program would."""

    def live(self, stop: Cell, steps: int, work: str) -> None:
        """Works until told to stop, for at most `steps` pieces of work of the kind `work`."""
        pieces = [getattr(self, name) for name in WORK[work]]
        while steps > 0 and not stop.value and self.journal.room() > ROOM:
            self.dice.choice(pieces)()
            steps -= 1

    # ---- The queue, by get

    def put_item(self) -> None:
        item = self.new_item()
        number = item[0]
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
            self.received(number, data)
        self.journal.note(Act.GET_OVER)

    def put_items(self) -> None:
        """A batch that runs into its timeout does not say how far it came: that stays open."""
        items = [self.new_item() for _ in range(self.dice.randint(1, BATCH))]
        for place, (number, _) in enumerate(items):
            self.journal.note(Act.PUTTING, number, place)
        try:
            self.ground.items.put_many(items, timeout=0.01)
        except treadle.Full:
            return
        for number, _ in items:
            self.journal.note(Act.PUT, number)

    def get_items(self) -> None:
        most = self.dice.randint(1, BATCH)
        self.journal.note(Act.GETTING, most)
        try:
            items = self.ground.items.get_many(most, timeout=0.005)
        except treadle.Empty:
            items = []
        for number, data in items:
            self.received(number, data)
        self.journal.note(Act.GET_OVER)

    # ---- The queue, by lease

    def put_job(self) -> None:
        if not self.jobs_wanted():
            return
        job = self.new_item()
        self.journal.note(Act.PUTTING_JOB, job[0])
        self.ground.jobs.put(job)
        self.journal.note(Act.PUT_JOB, job[0])

    def do_job(self) -> None:
        self.journal.note(Act.LEASING)
        try:
            lease = self.ground.jobs.lease(timeout=0.005)
        except treadle.Empty:
            self.journal.note(Act.NONE_LEASED)
            return
        number, data = lease.item
        self.journal.note(Act.LEASED, number, lease.deliveries)
        self.check_bytes(number, data)
        self.journal.note(Act.ACTED_ON, number)
        self.settle(lease, done=self.dice.random() < 0.8)

    def take_job(self) -> None:
        """A job got instead of leased: it goes with its taker."""
        self.journal.note(Act.TAKING)
        try:
            number, data = self.ground.jobs.get(timeout=0.005)
        except treadle.Empty:
            self.journal.note(Act.NONE_TAKEN)
            return
        self.journal.note(Act.TAKEN, number)
        self.check_bytes(number, data)
        self.ground.jobs.task_done()
        self.journal.note(Act.TASK_DONE, number)

    # ---- Locks

    def use_lock(self) -> None:
        self.journal.note(Act.CHANGING, LOCK)
        try:
            with self.ground.lock:
                self.change(LOCK)
        except treadle.OwnerDiedError:
            self.recover(self.ground.lock, LOCK)
        self.journal.note(Act.CHANGED, LOCK)

    def use_rlock(self) -> None:
        self.journal.note(Act.CHANGING, RLOCK)
        try:
            with self.ground.rlock, self.ground.rlock:
                self.change(RLOCK)
        except treadle.OwnerDiedError:
            self.recover(self.ground.rlock, RLOCK)
        self.journal.note(Act.CHANGED, RLOCK)

    def use_taken_over(self) -> None:
        self.journal.note(Act.CHANGING, TAKEN_OVER)
        with self.ground.taken_over:
            self.repair_if_told(TAKEN_OVER, "taken over")
            self.change(TAKEN_OVER)
        self.journal.note(Act.CHANGED, TAKEN_OVER)

    def use_to_write(self) -> None:
        self.journal.note(Act.CHANGING, RWLOCK)
        rwlock = self.ground.rwlock
        try:
            if self.dice.random() < 0.5:
                with rwlock.write():
                    self.change(RWLOCK)
            elif rwlock.acquire_write(timeout=0.005):
                try:
                    self.change(RWLOCK)
                finally:
                    rwlock.release_write()
            else:
                self.journal.note(Act.UNCHANGED, RWLOCK)
                return
        except treadle.OwnerDiedError:
            self.recover(rwlock, RWLOCK)
        self.journal.note(Act.CHANGED, RWLOCK)

    def use_to_read(self) -> None:
        self.journal.note(Act.READING)
        rwlock = self.ground.rwlock
        try:
            if self.dice.random() < 0.5:
                with rwlock.read():
                    self.look(RWLOCK)
                    self.spin()
                    with rwlock.read():
                        self.look(RWLOCK)
            elif rwlock.acquire_read(timeout=0.005):
                try:
                    self.look(RWLOCK)
                    self.spin()
                    self.look(RWLOCK)
                finally:
                    rwlock.release_read()
        except treadle.OwnerDiedError:
            self.journal.note(Act.CHANGING, RWLOCK)
            self.recover(rwlock, RWLOCK)
            self.journal.note(Act.CHANGED, RWLOCK)
        self.journal.note(Act.READ_OVER)

    def use_condition(self) -> None:
        condition = self.ground.condition
        self.journal.note(Act.CHANGING, CONDITION)
        with condition:
            self.repair_if_told(CONDITION, "condition lock")
            self.look(CONDITION)
            if self.dice.random() < 0.5:
                condition.wait(timeout=0.003)
                self.repair_if_told(CONDITION, "condition lock")
            else:
                condition.notify(self.dice.choice((1, 2, 100)))
            self.change(CONDITION)
        self.journal.note(Act.CHANGED, CONDITION)

    # ---- Permits

    def use_permit(self) -> None:
        self.journal.note(Act.ASKING_PERMIT)
        if not self.ground.permits.acquire(timeout=0.01):
            self.journal.note(Act.NO_PERMIT)
            return
        self.show_permit()
        self.return_permit()

    def signal(self) -> None:
        self.give_signals()

    def hear_signal(self) -> None:
        self.journal.note(Act.LISTENING)
        heard = self.ground.signals.acquire(timeout=0.005)
        self.journal.note(Act.HEARD if heard else Act.NOT_HEARD)

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

    def join_jobs(self) -> None:
        self.journal.note(Act.BUSY)
        self.ground.jobs.join(timeout=0.003)
        self.journal.note(Act.IDLE)
