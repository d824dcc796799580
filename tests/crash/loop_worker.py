"""A task of a campaign: what a Worker does, by ``.aio``, and cancelled at any moment.

After a cancellation the journal says what the books must then show: what was to be put is not in
the queue, nothing was taken, no lock was had; or, if the cancellation came later, that all of it
was done.
"""

import asyncio

import treadle
from tests.crash import cancelling
from tests.crash.ground import CONDITION, LOCK, RLOCK, RWLOCK, TAKEN_OVER, WORK, contents
from tests.crash.journal import Act, Cell
from tests.crash.party import BATCH, ROOM, Party


class TaskWorker(Party):
    """Does pieces of work, each of which leaves the objects as a correct program would."""

    async def live(self, stop: Cell, steps: int, work: str, cancel: float) -> None:
        """As ``Worker.live``; `cancel`: the share of pieces that something may cut short."""
        pieces = [getattr(self, name) for name in WORK[work]]
        while steps > 0 and not stop.value and self.journal.room() > ROOM:
            if await cancelling.run(self.dice.choice(pieces), self.dice, cancel):
                self.journal.note(Act.CANCELLED)
            await asyncio.sleep(0)  # others' turn, where a piece has not waited
            steps -= 1

    async def _linger(self) -> None:
        """Stays where it is, while others come; may be cancelled here."""
        kind = self.dice.randrange(4)
        if kind == 0:
            self.spin()
        elif kind == 1:
            await asyncio.sleep(10 ** self.dice.uniform(-5, -2.7))
        elif kind == 2:
            for _ in range(self.dice.randint(1, 4)):
                await asyncio.sleep(0)

    # ---- The queue, by get

    async def put_item(self) -> None:
        item = self.new_item()
        self.journal.note(Act.PUTTING, item[0])
        try:
            if self.dice.random() < 0.8:
                await self.ground.items.aio.put(item, timeout=0.01)
            else:
                await self.ground.items.aio.put(item, block=False)
        except (treadle.Full, asyncio.CancelledError) as error:
            self.journal.note(Act.REFUSED, item[0])
            if not isinstance(error, treadle.Full):
                raise
        else:
            self.journal.note(Act.PUT, item[0])

    async def get_item(self) -> None:
        self.journal.note(Act.GETTING, 1)
        try:
            number, data = await self.ground.items.aio.get(timeout=0.01)
            self.received(number, data)
        except treadle.Empty:
            pass
        finally:
            self.journal.note(Act.GET_OVER)

    async def put_items(self) -> None:
        """A batch that is cancelled does not say how far it came either."""
        items = [self.new_item() for _ in range(self.dice.randint(1, BATCH))]
        for place, (number, _) in enumerate(items):
            self.journal.note(Act.PUTTING, number, place)
        try:
            await self.ground.items.aio.put_many(items, timeout=0.01)
        except treadle.Full:
            return
        for number, _ in items:
            self.journal.note(Act.PUT, number)

    async def get_items(self) -> None:
        most = self.dice.randint(1, BATCH)
        self.journal.note(Act.GETTING, most)
        try:
            for number, data in await self.ground.items.aio.get_many(most, timeout=0.01):
                self.received(number, data)
        except treadle.Empty:
            pass
        finally:
            self.journal.note(Act.GET_OVER)

    # ---- The queue, by lease

    async def put_job(self) -> None:
        if not self.jobs_wanted():
            return
        job = self.new_item()
        self.journal.note(Act.PUTTING_JOB, job[0])
        try:
            await self.ground.jobs.aio.put(job)
        except asyncio.CancelledError:
            self.journal.note(Act.JOB_REFUSED, job[0])
            raise
        self.journal.note(Act.PUT_JOB, job[0])

    async def do_job(self) -> None:
        self.journal.note(Act.LEASING)
        try:
            lease = await self.ground.jobs.aio.lease(timeout=0.01)
        except treadle.Empty:
            self.journal.note(Act.NONE_LEASED)
            return
        except asyncio.CancelledError:
            self.journal.note(Act.NONE_LEASED)
            raise
        number, data = lease.item
        self.journal.note(Act.LEASED, number, lease.deliveries)
        self.check_bytes(number, data)
        self.journal.note(Act.ACTED_ON, number)
        try:
            await self._linger()
        except asyncio.CancelledError:
            if self.dice.random() < 0.5:
                self.settle(lease, done=False)
            else:
                self.journal.note(Act.NACKING, number)
                del lease  # given back by that
                self.journal.note(Act.NACKED, number)
            raise
        self.settle(lease, done=self.dice.random() < 0.8)

    async def take_job(self) -> None:
        self.journal.note(Act.TAKING)
        try:
            number, data = await self.ground.jobs.aio.get(timeout=0.01)
        except treadle.Empty:
            self.journal.note(Act.NONE_TAKEN)
            return
        except asyncio.CancelledError:
            self.journal.note(Act.NONE_TAKEN)
            raise
        self.journal.note(Act.TAKEN, number)
        self.check_bytes(number, data)
        self.ground.jobs.task_done()
        self.journal.note(Act.TASK_DONE, number)

    # ---- Locks

    async def _change_slowly(self, which: int) -> None:
        value = self.enter(which)
        try:
            await self._linger()
        finally:
            self.leave(which, value)

    async def _recover(
        self, lock: treadle.Lock | treadle.RLock | treadle.RWLock, which: int
    ) -> None:
        """Changes what the lock guards, of whose owner's death we were told."""
        async with lock.aio.recover() as needed:
            if needed:  # else somebody else was faster
                self.repair(which)
            self.change(which)

    async def use_lock(self) -> None:
        self.journal.note(Act.CHANGING, LOCK)
        had = False
        try:
            async with self.ground.lock.aio:
                had = True
                await self._change_slowly(LOCK)
        except treadle.OwnerDiedError:
            await self._recover(self.ground.lock, LOCK)
            had = True
        finally:
            self.journal.note(Act.CHANGED if had else Act.UNCHANGED, LOCK)

    async def use_rlock(self) -> None:
        self.journal.note(Act.CHANGING, RLOCK)
        rlock = self.ground.rlock
        had = False
        try:
            if await rlock.aio.acquire(timeout=self.dice.choice((-1, 0.005))):
                try:
                    async with rlock.aio:
                        had = True
                        await self._change_slowly(RLOCK)
                finally:
                    rlock.aio.release()
        except treadle.OwnerDiedError:
            await self._recover(rlock, RLOCK)
            had = True
        finally:
            self.journal.note(Act.CHANGED if had else Act.UNCHANGED, RLOCK)

    async def use_taken_over(self) -> None:
        self.journal.note(Act.CHANGING, TAKEN_OVER)
        had = False
        try:
            async with self.ground.taken_over.aio:
                self.repair_if_told(TAKEN_OVER, "taken over")
                had = True
                await self._change_slowly(TAKEN_OVER)
        finally:
            self.journal.note(Act.CHANGED if had else Act.UNCHANGED, TAKEN_OVER)

    async def use_to_write(self) -> None:
        self.journal.note(Act.CHANGING, RWLOCK)
        rwlock = self.ground.rwlock
        had = False
        try:
            if self.dice.random() < 0.5:
                async with rwlock.aio.write():
                    had = True
                    await self._change_slowly(RWLOCK)
            elif await rwlock.aio.acquire_write(timeout=0.005):
                try:
                    had = True
                    await self._change_slowly(RWLOCK)
                finally:
                    rwlock.aio.release_write()
        except treadle.OwnerDiedError:
            await self._recover(rwlock, RWLOCK)
            had = True
        finally:
            self.journal.note(Act.CHANGED if had else Act.UNCHANGED, RWLOCK)

    async def use_to_read(self) -> None:
        self.journal.note(Act.READING)
        rwlock = self.ground.rwlock
        try:
            if self.dice.random() < 0.5:
                async with rwlock.aio.read():
                    self.look(RWLOCK)
                    await self._linger()
                    async with rwlock.aio.read():
                        self.look(RWLOCK)
            elif await rwlock.aio.acquire_read(timeout=0.005):
                try:
                    self.look(RWLOCK)
                    await self._linger()
                    self.look(RWLOCK)
                finally:
                    rwlock.aio.release_read()
        except treadle.OwnerDiedError:
            await self._repair_before_reading()
        finally:
            self.journal.note(Act.READ_OVER)

    async def _repair_before_reading(self) -> None:
        self.journal.note(Act.CHANGING, RWLOCK)
        had = False
        try:
            await self._recover(self.ground.rwlock, RWLOCK)
            had = True
        finally:
            self.journal.note(Act.CHANGED if had else Act.UNCHANGED, RWLOCK)

    async def use_condition(self) -> None:
        condition = self.ground.condition.aio
        self.journal.note(Act.CHANGING, CONDITION)
        had = False
        try:
            async with condition:
                self.repair_if_told(CONDITION, "condition lock")
                self.look(CONDITION)
                had = True
                try:
                    if self.dice.random() < 0.5:
                        await condition.wait(timeout=0.003)
                    else:
                        condition.notify(self.dice.choice((1, 2, 100)))
                finally:  # also cancelled, it holds the lock
                    self.repair_if_told(CONDITION, "condition lock")
                    self.change(CONDITION)
        finally:
            self.journal.note(Act.CHANGED if had else Act.UNCHANGED, CONDITION)

    # ---- Permits

    async def use_permit(self) -> None:
        self.journal.note(Act.ASKING_PERMIT)
        had = False
        try:
            had = await self.ground.permits.aio.acquire(timeout=0.01)
        finally:
            if not had:
                self.journal.note(Act.NO_PERMIT)
        if had:
            try:
                self.show_permit()
                await self._linger()
            finally:
                self.return_permit()

    async def signal(self) -> None:
        self.give_signals()

    async def hear_signal(self) -> None:
        self.journal.note(Act.LISTENING)
        heard = False
        try:
            heard = await self.ground.signals.aio.acquire(timeout=0.01)
        finally:
            self.journal.note(Act.HEARD if heard else Act.NOT_HEARD)

    # ---- What has no account, but must neither hang nor leak

    async def make_and_drop(self) -> None:
        """Tasks wait for objects that are dropped."""
        self.journal.note(Act.BUSY)
        try:
            kind = self.dice.randrange(4)
            shared = self.dice.random() < 0.7
            if kind == 0:
                queue = treadle.Queue(4, shared=shared)
                getting = asyncio.create_task(queue.aio.get())
                try:
                    await queue.aio.put_many([contents(3), contents(5)])
                    await getting
                    await queue.aio.lease()
                finally:
                    getting.cancel()
            elif kind == 1:
                lock = treadle.Lock(shared=shared)
                async with lock.aio:
                    await lock.aio.acquire(timeout=0.0001)
            elif kind == 2:
                await treadle.Event(shared=shared).aio.wait(timeout=0.0001)
            else:
                await treadle.Latch(2, shared=shared).aio.wait(timeout=0.0001)
        finally:
            self.journal.note(Act.IDLE)

    async def use_event(self) -> None:
        self.journal.note(Act.BUSY)
        try:
            choice = self.dice.randrange(3)
            if choice == 0:
                self.ground.event.aio.set()
            elif choice == 1:
                self.ground.event.aio.clear()
            else:
                await self.ground.event.aio.wait(timeout=0.003)
        finally:
            self.journal.note(Act.IDLE)

    async def use_barrier(self) -> None:
        self.journal.note(Act.BUSY)
        try:
            await self.ground.barrier.aio.wait(timeout=0.005)
        except treadle.BrokenBarrierError:
            self.ground.barrier.reset()
        finally:
            self.journal.note(Act.IDLE)

    async def join_jobs(self) -> None:
        self.journal.note(Act.BUSY)
        try:
            await self.ground.jobs.aio.join(timeout=0.003)
        finally:
            self.journal.note(Act.IDLE)
