"""The pool engine: what is outstanding, and what becomes of it, whichever kind of workers runs it.

A *job* (results.py, imap.py, the executor's futures) is what somebody waits for; it is cut into
*batches*, and a *crew* (processes.py, threads.py) brings these to workers and tells what came of
them. The engine stands between: it knows each batch that has not come to its end, and decides about
retries.

    batch   sent -> run -> told item by item -> forgotten
              ^------|  given back unrun: sent again, unless it was cancelled meanwhile
              ^------|  its worker died: the item that it was at fails, or is sent again if retries
                        are left; what it had not told yet is sent again

Every item of a batch is told exactly once to its job, as a value or as an error. Numbers of batches
are never used twice: what is sent again gets a new one, so late news of the old one is dropped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

from treadle._core import Batch, Event, Lock
from treadle._pool.calls import RETRY, SURE, WHOLE, task_name, unsendable
from treadle._running.outcomes import Outcome
from treadle._timers import Timer

__all__ = ["Batch", "Crew", "Engine", "Job", "News", "Part", "Policy"]

_LONGEST_PAUSE = 60.0  # seconds before a retry


@dataclass(frozen=True, slots=True)
class Policy:
    """How a task is treated."""

    timeout: float | None = None  # seconds that one call may run
    retries: int = 0  # how often a call that failed is made again
    backoff: float = 0.0  # seconds before the first retry; twice as long before each further one
    priority: int = 0  # higher ones are taken before lower ones


Part = tuple[int, Sequence[Any], float]
"""From that item of a job on, these values, and the seconds that they took."""

News = tuple[Batch, int, Sequence[Any], float]
"""As Part, of a batch."""


class Job(Protocol):
    """What hears of results; not under any lock of the engine's, and in any thread."""

    function: Callable[..., Any]

    def _deliver(self, parts: Sequence[Part]) -> None:
        """Items came to values."""

    def _fail(self, index: int, outcome: Outcome) -> None:
        """An item came to an error."""

    def _draw_freely(self) -> None:
        """Send what is left, whether or not the results of what was sent have been taken."""


class Crew(Protocol):
    """Workers of one kind. May be called from any thread."""

    def prepared(self, function: Callable[..., Any]) -> Any:
        """The function as it is sent."""

    def prepared_items(self, how: int, items: Sequence[Any], *, apart: bool = False) -> Any:
        """Items as they are sent; apart: a slice of them is to be sent by itself."""

    def send(self, batches: Sequence[Batch]) -> int:
        """Have workers run them. Returns how many were sent; raises why the first cannot be."""

    def stop(self, batch: Batch, why: Outcome) -> bool:
        """Stop the worker that runs it, or keep all from running it; True if it is gone at once."""

    def stop_running(self, batch: Batch, why: Outcome) -> None:
        """Stop the worker that runs it, if there is one."""

    def leave(self) -> None:
        """Nothing more will be sent: let the workers end when all is done."""

    def kill(self) -> None:
        """End the workers, whatever they are at."""

    def at_work(self) -> list[int]:
        """The numbers of the batches that are run now, 0 for an idle worker."""

    def forget(self, batch: Batch) -> None:
        """A batch that was cancelled is over."""


class Engine:
    """Batches and what becomes of them. ``over`` is set when the last worker has ended."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.crew: Crew
        self.over = Event(shared=False)
        self.closed = False  # nothing new is taken
        self.terminated = False
        self.broken: BaseException | None = None  # why it runs nothing any more
        self.submitted = self.finished = self.failed = self.retried = 0  # items
        self.timed = 0  # batches that are outstanding and have a timeout
        self._pid = os.getpid()
        self._serials = count(1)
        self._batches: dict[int, Batch] = {}
        self._pausing: dict[int, Timer] = {}  # what sends batches that wait for their next attempt
        self._feeding: set[Job] = set()  # that have more to send
        self._changing = Lock(shared=False)
        self._left = False

    # ---- For those who submit

    def check_open(self) -> None:
        """Raise unless new work is taken."""
        self.check_here()
        if self.broken is not None:
            raise self.broken
        if self.closed:
            raise ValueError("Pool not running")

    def check_here(self) -> None:
        """Raise in a process that was forked from the pool's."""
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"{self.label} belongs to process {self._pid}, from which this one was forked:"
                " make a pool here"
            )

    def feed(self, job: Job) -> None:
        """The job will send more: a pool that is closed waits for it."""
        with self._changing:
            self._feeding.add(job)

    def fed(self, job: Job) -> None:
        """The job has sent all."""
        with self._changing:
            self._feeding.discard(job)
        self._leave_if_done()

    def submit(
        self, job: Job, how: int, items: Sequence[Any], first: int, policy: Policy, sent: Any
    ) -> Batch | None:
        """Send items of a job to the workers; None if none of them can be.

        sent: the function as ``crew.prepared`` made it. An item that cannot be sent fails.
        """
        if policy.retries:
            how |= RETRY
        try:
            prepared = self.crew.prepared_items(how, items)
        except Exception:
            self._submit_singly(job, how, items, first, policy, sent)
            return None
        batch = Batch(job, sent, how, prepared, first, policy)
        self._send((batch,))
        return batch

    def submit_each(
        self, job: Job, how: int, items: Sequence[Any], first: int, policy: Policy, sent: Any
    ) -> Sequence[Batch]:
        """As ``submit`` for each item by itself, with less effort; returns the batches."""
        if policy.retries:
            how |= RETRY
        try:
            prepared = self.crew.prepared_items(how, items, apart=True)
        except Exception:
            self._submit_singly(job, how, items, first, policy, sent)
            return ()
        batches = [
            Batch(job, sent, how, prepared[at : at + 1], first + at, policy)
            for at in range(len(items))
        ]
        self._send(batches)
        return batches

    def _submit_singly(
        self, job: Job, how: int, items: Sequence[Any], first: int, policy: Policy, sent: Any
    ) -> None:
        for index, item in enumerate(items, first):
            try:
                prepared = self.crew.prepared_items(how, [item])
            except Exception as error:
                with self._changing:
                    self.submitted += 1
                what = f"the arguments of {task_name(job.function)} cannot be sent"
                self._fail_one(job, index, Outcome(error=unsendable(what, error)))
            else:
                self._send((Batch(job, sent, how, prepared, index, policy),))

    def cancel(self, batch: Batch) -> bool:
        """Have a batch not run, or no further; its job is not told. False: it is over already."""
        with self._changing:
            if batch.serial not in self._batches or batch.cancelled:
                return False
            batch.cancelled = True
            timer = self._pausing.pop(batch.serial, None)
        if timer is not None:
            timer.cancel()
            self._forget(batch, sent=False)
        elif self.crew.stop(batch, Outcome(error=CancelledError())):
            self._forget(batch)
        return True

    def abandon(self, job: Job) -> None:
        """Whoever waited for a job was interrupted: nobody is told what comes of it any more.

        Its results may have been lost with the interrupt, so nothing waits for them either: the
        worker that runs it now is stopped, and one that gets to it later does it in vain.
        """
        for batch in self.outstanding():
            if batch.job is job:
                self._take_what_is_left(batch)
                self._forget(batch)
                self.crew.stop_running(batch, Outcome(error=CancelledError()))

    def cancel_job(self, job: Job) -> None:
        """Cancel what there is of a job: what is sent again is another batch than before."""
        for batch in self.outstanding():
            if batch.job is job:
                self.cancel(batch)

    def batch_of(self, serial: int) -> Batch | None:
        """The batch of that number, unless it is over."""
        return self._batches.get(serial)

    def outstanding(self) -> list[Batch]:
        """All that are not over."""
        with self._changing:
            return list(self._batches.values())

    # ---- The end

    def expect_the_end(self) -> None:
        """Somebody waits for the end: what waits for its results to be taken goes on without."""
        with self._changing:
            feeding = list(self._feeding)
        for job in feeding:
            job._draw_freely()

    def close(self) -> None:
        """Take nothing new; the workers end when all is done."""
        with self._changing:
            self.closed = True
        self._leave_if_done()

    def terminate(self) -> None:
        """End at once: what is not done fails."""
        with self._changing:
            self.closed = self.terminated = True
        self.crew.kill()
        self._fail_all(CancelledError(f"{self.label} was terminated"))

    def give_up(self, error: BaseException) -> None:
        """Run nothing any more, for this reason."""
        with self._changing:
            self.broken = self.broken or error
            self.closed = True
        self.crew.kill()
        self._fail_all(error)

    def _fail_all(self, error: BaseException) -> None:
        with self._changing:
            batches = list(self._batches.values())
            feeding = list(self._feeding)
            self._feeding.clear()
        for batch in batches:
            told = self._take_what_is_left(batch)
            for index in range(told, 0 if batch.cancelled else batch.count):
                self._fail_one(batch.job, batch.first + index, Outcome(error=error))
            self._forget(batch)
        for job in feeding:
            job._fail(WHOLE, Outcome(error=error))

    def _leave_if_done(self) -> None:
        with self._changing:
            if not self.closed or self._batches or self._feeding or self._left:
                return
            self._left = True
        self.crew.leave()

    # ---- For the crew

    def delivered(self, news: Sequence[News]) -> None:
        """Items of batches came to values."""
        parts: dict[Job, list[Part]] = {}
        over: list[Batch] = []
        with self._changing:
            for batch, index, values, seconds in news:
                if batch.told == batch.count:
                    continue
                batch.told = told = index + len(values)
                self.finished += len(values)
                if told == batch.count:  # as _forget, under the same lock
                    self._batches.pop(batch.serial, None)
                    if batch.policy.timeout is not None:
                        self.timed -= 1
                    if batch.cancelled:
                        over.append(batch)
                if not batch.cancelled:
                    part = batch.first + index, values, seconds
                    if (others := parts.get(batch.job)) is None:
                        parts[batch.job] = [part]
                    else:
                        others.append(part)
        for job, its in parts.items():
            job._deliver(its)
        for batch in over:
            self.crew.forget(batch)
        if self.closed:
            self._leave_if_done()

    def erred(self, batch: Batch, index: int, outcome: Outcome, again: Any) -> None:
        """An item of a batch came to an error; again: as it is sent, if it may be retried."""
        with self._changing:
            if batch.told == batch.count:
                return
            if index == WHOLE:
                index, last = batch.told, batch.count
            else:
                last = index + 1
            batch.told = last
        for each in range(index, last):
            self._fail_or_retry(batch, each, outcome, again)
        self._forget_if_told(batch)

    def given_back(self, batch: Batch, function: Any, items: Any, *, begun: bool) -> None:
        """A batch came back from its lease; begun: by a worker whose death is yet to be told."""
        batch.given_back = function, items
        if batch.cancelled:
            self._forget(batch)
        elif batch.death is not None:
            self._go_on_after_death(batch)
        elif not begun:
            batch.function = function
            self._send_part(batch, items, self._take_what_is_left(batch), batch.count)
            self._forget(batch)

    def died(self, batch: Batch, step: int, outcome: Outcome) -> None:
        """The worker that had got to this step of a batch has ended."""
        batch.death = step, batch.stopped or outcome
        if batch.cancelled:
            self._forget(batch)
        elif step >= batch.told and batch.count == 1 and not batch.policy.retries:
            if self._take_what_is_left(batch) == 0:
                self._fail_one(batch.job, batch.first, batch.death[1])
            self._forget(batch)
        elif batch.given_back is not None:
            self._go_on_after_death(batch)

    # ---- What becomes of it

    def _go_on_after_death(self, batch: Batch) -> None:
        assert batch.death is not None
        assert batch.given_back is not None
        (step, outcome), (batch.function, items) = batch.death, batch.given_back
        told = self._take_what_is_left(batch)
        if step < told:  # it died between two items, or after them all
            self._send_part(batch, items, told, batch.count)
        else:
            self._send_part(batch, items, told, step)
            self._send_part(batch, items, step + 1, batch.count)
            if step < batch.count:
                self._fail_or_retry(batch, step, outcome, items[step : step + 1])
        self._forget(batch)

    def _send_part(self, batch: Batch, items: Any, start: int, stop: int) -> None:
        """Send items of a batch again that nobody has failed to do."""
        if start < stop:
            how, first = batch.how | SURE, batch.first + start
            function, part = batch.function, items[start:stop]
            rest = Batch(batch.job, function, how, part, first, batch.policy, batch.attempts)
            self._send((rest,))
            if batch.cancelled:  # meanwhile
                self.cancel(rest)

    def _take_what_is_left(self, batch: Batch) -> int:
        """From now on the batch's own news are late; returns how many items had been told."""
        with self._changing:
            told, batch.told = batch.told, batch.count
        return told

    def _fail_or_retry(self, batch: Batch, index: int, outcome: Outcome, items: Any) -> None:
        policy = batch.policy
        if batch.cancelled:
            return
        if items is None or batch.attempts >= policy.retries:
            self._fail_one(batch.job, batch.first + index, outcome)
            return
        first, attempts = batch.first + index, batch.attempts + 1
        again = Batch(batch.job, batch.function, batch.how, items, first, policy, attempts)
        with self._changing:
            self.retried += 1
        pause = min(policy.backoff * 2**batch.attempts, _LONGEST_PAUSE)
        if pause <= 0:
            self._send((again,))
        else:
            timer = Timer(pause, self._go_on, (again,))
            timer.daemon = True
            if self._enter((again,), timer):
                timer.start()
        if batch.cancelled:  # meanwhile
            self.cancel(again)

    def _go_on(self, batch: Batch) -> None:
        with self._changing:
            if self._pausing.pop(batch.serial, None) is None:  # cancelled meanwhile
                return
        self._hand_over((batch,))

    def _enter(self, batches: Sequence[Batch], timer: Timer | None = None) -> bool:
        """Note that they are outstanding; False, and their items fail, if nothing runs any more.

        timer: that sends them.
        """
        with self._changing:
            if not (self.terminated or self.broken is not None):
                for batch in batches:
                    batch.serial = serial = next(self._serials)
                    if batch.attempts == 0 and not batch.how & SURE:
                        self.submitted += batch.count
                    self._batches[serial] = batch
                    if batch.policy.timeout is not None:
                        self.timed += 1
                    if timer is not None:
                        self._pausing[serial] = timer
                return True
            error = self.broken or CancelledError(f"{self.label} was terminated")
        for batch in batches:
            for index in range(batch.first, batch.first + batch.count):
                self._fail_one(batch.job, index, Outcome(error=error))
        return False

    def _send(self, batches: Sequence[Batch]) -> None:
        if self._enter(batches):
            self._hand_over(batches)

    def _hand_over(self, batches: Sequence[Batch]) -> None:
        """To the crew; the items of a batch where that fails do so, too."""
        while batches:
            try:
                batches = batches[self.crew.send(batches) :]
            except Exception as error:
                batch, batches = batches[0], batches[1:]
                told = self._take_what_is_left(batch)
                self._forget(batch)
                for index in range(batch.first + told, batch.first + batch.count):
                    self._fail_one(batch.job, index, Outcome(error=error))
            except BaseException:  # an interrupt: whoever called hears of it
                for batch in batches:
                    self._take_what_is_left(batch)
                    self._forget(batch)
                raise

    def _fail_one(self, job: Job, index: int, outcome: Outcome) -> None:
        with self._changing:
            self.failed += 1
        job._fail(index, outcome)

    def _forget_if_told(self, batch: Batch) -> None:
        if batch.told == batch.count:
            self._forget(batch)

    def _forget(self, batch: Batch, *, sent: bool = True) -> None:
        with self._changing:
            if self._batches.pop(batch.serial, None) is None:
                return
            if batch.policy.timeout is not None:
                self.timed -= 1
            timer = self._pausing.pop(batch.serial, None)
        if timer is not None:
            timer.cancel()
        if batch.cancelled and sent:
            self.crew.forget(batch)
        if self.closed:
            self._leave_if_done()
