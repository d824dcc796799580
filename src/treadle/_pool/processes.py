"""Worker processes: how batches reach them, what they tell, and what follows when one has ended.

Two shared queues (calls.py), and a roster in which each worker notes what it is at. One thread, the
supervisor, reads the results; the ends of processes come to it as results as well, from a thread
that waits for their descriptors, so it sees all in one order: what a worker has told comes before
its death. It waits without polling; tasks with a timeout wake it when the next may be due.

A worker is stopped by ``Roster.stop``, after which it begins nothing more, and then by SIGTERM and
SIGKILL: so the signal, however late, hits no other task than the one that it was meant for.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from treadle._core import Lock, PriorityQueue, Queue, Roster, put_tasks, unpacked_numbers
from treadle._errors import (
    ArenaFullError,
    Empty,
    RemoteTraceback,
    ShutDown,
    TaskTimeoutError,
    WorkerDiedError,
)
from treadle._pool import calls
from treadle._pool.calls import (
    ENCLOSED,
    LANE,
    packed_items,
    resendable_items,
    task_name,
    unsendable,
)
from treadle._pool.engine import Batch, Engine
from treadle._pool.lanes import Lanes
from treadle._pool.worker import Setup, work
from treadle._running.ends import Ends
from treadle._running.ends import Worker as Ended
from treadle._running.oom import oom_kills
from treadle._running.outcomes import Outcome
from treadle._running.portable import pack, resendable, unpack
from treadle._running.processes import Process, ending, process_class
from treadle._timers import Timer

if TYPE_CHECKING:
    from treadle._running.portable import Packed

__all__ = ["ProcessCrew"]

_GRACE = 0.5  # seconds from SIGTERM to SIGKILL
_FALSE_STARTS = 3  # initializers in a row that raise: then the pool is given up
_SUDDEN_ENDS = 10  # workers in a row that end before they are ready and do not say why: likewise
_AT_ONCE = 256  # results
_PAUSE = 1.0  # seconds until a worker that could not be started is tried again
_RETRY = 0.05  # seconds until a message that found no memory is tried again


class _Place:
    """A seat and who is in it."""

    __slots__ = ("index", "killing", "leaving", "process", "ready")

    def __init__(self, index: int) -> None:
        self.index = index
        self.process: Process | None = None
        self.ready = False
        self.leaving = False  # it was stopped
        self.killing: Timer | None = None


class ProcessCrew:
    """As engine.Crew says."""

    def __init__(
        self, engine: Engine, workers: int, start_method: str | None, setup: Setup
    ) -> None:
        self._engine = engine
        self._setup = setup
        self._tasks: PriorityQueue[Any] = PriorityQueue(label=f"tasks of {engine.label}"[:40])
        self._results: Queue[Any] = Queue(label=f"results of {engine.label}"[:40])
        self.lanes = Lanes(engine.label)
        self._roster = Roster(workers)
        self._places = [_Place(index) for index in range(workers)]
        self._by_process: dict[Process, _Place] = {}
        self._handlers: dict[int, Callable[..., object]] = {
            calls.VALUES: self._on_values,
            calls.ERROR: self._on_error,
            calls.RETURNED: self._on_returned,
            calls.READY: self._on_ready,
            calls.BROKEN: self._on_broken,
            calls.DIED: self._on_died,
        }
        self._method = start_method or _default_start_method()
        self._class = process_class(self._method)
        self._changing = Lock(shared=False)  # places, marked
        self._marked: dict[int, set[int]] = {}  # serial numbers, by the mark that they share
        self._hurry = float("inf")  # the shortest timeout that any task had
        self._leaving = self._killed = False
        self._false_starts = 0
        self._start_error: BaseException | None = None
        self._oom_kills = oom_kills()
        self.deaths = 0

    def start(self) -> None:
        """Start the workers. What that raises leaves none behind."""
        self._ends = Ends(self._tell_end, "treadle-pool-ends")
        try:
            with _SigintBlocked(self._method):
                for place in self._places:
                    self._start_in(place)
        except BaseException:
            self.kill()
            raise
        finally:
            self._start_supervisor()

    def _start_supervisor(self) -> None:
        try:
            threading.Thread(target=self._supervise, name="treadle-pool", daemon=True).start()
        except BaseException:  # no more threads: nobody will see the workers off
            for place in self._places:
                if place.process is not None:
                    _kill(place.process)
                    place.process.join()
            self._ends.close()
            raise

    # ---- For the engine

    def prepared(self, function: Callable[..., Any]) -> Packed:
        try:
            return pack(function)
        except Exception as error:
            raise unsendable(f"the function {task_name(function)} cannot be sent", error) from error

    def prepared_items(self, how: int, items: Sequence[Any], *, apart: bool = False) -> Any:
        return packed_items(how, items, apart=apart)

    def send(self, batches: Sequence[Batch]) -> int:
        tasks = []
        for batch in batches:
            how, items, timeout = batch.how, batch.items, batch.policy.timeout
            if timeout is not None and timeout < self._hurry:
                self._hurry = timeout
                self._tell(())  # the supervisor is to look earlier than it meant to
            if batch.count > 1 and type(items) is not list:
                how, items = how | ENCLOSED, [items]
            tasks.append((-batch.policy.priority, batch.serial, how, batch.function, items))
        try:
            sent = put_tasks(self._tasks, tasks)
        except ShutDown:  # the pool has ended meanwhile, and told so
            return len(tasks)
        for batch in batches[:sent]:
            batch.items = None
        return sent

    def stop(self, batch: Batch, why: Outcome) -> bool:
        serial = batch.serial
        with self._changing:
            self._marked.setdefault(serial % Roster.MARKS, set()).add(serial)
            self._roster.mark(serial)
        self.stop_running(batch, why)
        if self._engine.batch_of(serial) is None:  # it was over before it was marked
            self.forget(batch)
        return False

    def stop_running(self, batch: Batch, why: Outcome) -> None:
        for place in self._places:
            if self._roster.read(place.index)[0] == batch.serial:
                self._stop_in(place, batch, why)

    def forget(self, batch: Batch) -> None:
        mark = batch.serial % Roster.MARKS
        with self._changing:
            marked = self._marked.get(mark, set())
            marked.discard(batch.serial)
            if not marked:
                self._marked.pop(mark, None)
                self._roster.unmark(batch.serial)

    def leave(self) -> None:
        self._leaving = True
        self._tasks.shutdown()
        self._tell(())

    def kill(self) -> None:
        self._killed = self._leaving = True
        self._tasks.shutdown(immediate=True)
        with self._changing:
            for place in self._places:
                self._end(place)
        self._tell(())

    def pids(self) -> list[int]:
        """Of the workers that there are."""
        with self._changing:
            return [place.process.pid or 0 for place in self._places if place.process is not None]

    def at_work(self) -> list[int]:
        """The serial numbers of the batches that are run now, 0 for an idle worker."""
        return [
            self._roster.read(place.index)[0] for place in self._places if place.process is not None
        ]

    # ---- Processes

    def _start_in(self, place: _Place) -> None:
        """Not under the lock: it takes a while."""
        process = self._class(
            target=work,
            name=f"{self._engine.label}-{place.index}",
            args=(
                place.index,
                self._tasks,
                self._results,
                self.lanes.queues(),
                self._roster,
                self._setup,
            ),
            daemon=True,
        )
        process._quiet = True
        process.start()
        with self._changing:
            self._by_process[process] = place
            try:
                self._ends.watch(process)
            except BaseException:  # there are no more descriptors: its end would go unnoticed
                del self._by_process[process]
                process.kill()
                process.join()
                raise
            place.process, place.ready, place.leaving = process, False, False
            if self._killed:
                self._end(place)

    def _end(self, place: _Place) -> None:
        """Under the lock: SIGTERM, and SIGKILL when it does not heed that."""
        process = place.process
        if process is None or place.killing is not None:
            return
        process.terminate()
        place.killing = Timer(_GRACE, _kill, (process,))
        place.killing.daemon = True
        place.killing.start()

    def _stop_in(self, place: _Place, batch: Batch, why: Outcome) -> None:
        with self._changing:
            if batch.stopped is None:
                batch.stopped = why
            if self._roster.stop(place.index, batch.serial):
                place.leaving = True
                self._end(place)

    def _tell_end(self, process: Ended) -> None:
        assert isinstance(process, Process)
        place = self._by_process.pop(process)
        self._tell((calls.DIED, place.index))

    def _tell(self, message: tuple[Any, ...]) -> None:
        """Put a message of this process's among the results."""
        try:
            self._results.put(message)
        except ArenaFullError:
            again = Timer(_RETRY, self._tell, (message,))
            again.daemon = True
            again.start()
        except ShutDown:  # all has ended
            pass

    # ---- The supervisor

    def _supervise(self) -> None:
        _block_sigint(self._method)  # for those that replace others
        wait: float | None = None
        while not (self._leaving and not any(place.process for place in self._places)):
            try:
                messages = self._results.get_many(_AT_ONCE, wait)
            except Empty:
                messages = []
            try:
                self._handle_all(messages)
            except Exception as error:  # nobody would hear of anything any more: say so
                self._engine.give_up(error)
            wait = self._next_look() if self._hurry != float("inf") else None
        self._ends.close()
        self._results.shutdown(immediate=True)
        del self._setup  # what the initializer was given lives no longer than the pool
        self._engine.over.set()

    def _handle_all(self, messages: Sequence[tuple[Any, ...]]) -> None:
        start = 0
        for at, message in enumerate(messages):
            if not (message and message[0] == calls.VALUES and type(message[4]) is tuple):
                if start != at:
                    self._on_plain_values(messages[start:at])
                start = at + 1
                self.handle(message)
        if start < len(messages):
            self._on_plain_values(messages[start:] if start else messages)

    def handle(self, message: tuple[Any, ...]) -> None:
        """Do what a result calls for. An empty one only wakes whoever waits for it."""
        if message:
            self._handlers[message[0]](*message[1:])

    def _on_values(self, serial: int, index: int, took: int, values: Any) -> None:
        batch = self._engine.batch_of(serial)
        if batch is None:
            return
        if type(values) is bytes:
            values = unpacked_numbers(values)
        if type(values) is tuple:
            self._engine.delivered(((batch, index, values, took / 1e9),))
            return
        rebuilt: list[Any] = []
        for packed in values:
            try:
                rebuilt.append(unpack(packed))
            except BaseException as error:  # this thread must not end
                if rebuilt:
                    self._engine.delivered(((batch, index, rebuilt, took / 1e9),))
                    index, rebuilt, took = index + len(rebuilt), [], 0
                what = f"the result of {task_name(batch.job.function)} cannot be rebuilt here"
                self._engine.erred(batch, index, Outcome(error=unsendable(what, error)), None)
                index += 1
        if rebuilt:
            self._engine.delivered(((batch, index, rebuilt, took / 1e9),))

    def _on_plain_values(self, messages: Sequence[tuple[Any, ...]]) -> None:
        """Many at once, as a stream of small tasks brings them."""
        batch_of = self._engine.batch_of
        self._engine.delivered(
            [
                (batch, index, values, took / 1e9)
                for _, serial, index, took, values in messages
                if (batch := batch_of(serial)) is not None
            ]
        )

    def _on_error(self, serial: int, index: int, packed: Packed, trace: str, again: Any) -> None:
        batch = self._engine.batch_of(serial)
        if batch is None:
            return
        try:
            error = unpack(packed)
        except BaseException as problem:  # it could be rebuilt there
            what = f"the exception of {task_name(batch.job.function)} cannot be rebuilt here"
            error = unsendable(what, problem)
        error.__cause__ = RemoteTraceback(f"\n{trace}")
        if again is not None:
            again = resendable_items(again)
        self._engine.erred(batch, index, Outcome(error=error), again)

    def _on_returned(self, serial: int, how: int, function: Any, items: Any) -> None:
        batch = self._engine.batch_of(serial)
        if batch is None:
            return
        begun = any(self._roster.read(place.index)[0] == serial for place in self._places)
        function, items = resendable(function), resendable_items(items)
        self._engine.given_back(batch, function, items, begun=begun)

    def _on_ready(self, seat: int) -> None:
        self._places[seat].ready = True
        self._false_starts, self._start_error = 0, None

    def _on_broken(self, seat: int, packed: Packed, trace: str) -> None:
        try:
            error = unpack(packed)
        except BaseException as problem:
            error = unsendable("the initializer's exception cannot be rebuilt here", problem)
        error.__cause__ = RemoteTraceback(f"\n{trace}")
        self._start_error = error

    def _on_died(self, seat: int) -> None:
        place = self._places[seat]
        with self._changing:
            process, place.process = place.process, None
            if place.killing is not None:
                place.killing.cancel()
                place.killing = None
        assert process is not None
        exitcode, pid = process.exitcode, process.pid or 0
        serial, step, _ = self._roster.read(seat)
        self._roster.vacate(seat)
        batch = self._engine.batch_of(serial) if serial else None
        if (exitcode != 0 or batch is not None) and not place.leaving and not self._killed:
            self.deaths += 1
        how = ending(exitcode, self._oom_kills)
        if batch is not None and batch.how >= LANE:
            self.lanes.numbered(batch.how // LANE).drain(self.handle)  # told before the death
            batch = self._engine.batch_of(serial)
        if batch is not None:
            told = f"worker {seat} (pid {pid}) {how} while it ran {task_name(batch.job.function)}"
            error = WorkerDiedError(told, pid, 255 if exitcode is None else exitcode)
            self._engine.died(batch, step, Outcome(error=error))
        if not place.ready and not self._killed:
            told = f"worker {seat} (pid {pid}) {how} before it was ready"
            self._count_false_start(WorkerDiedError(told, pid, exitcode or 0))
        process.close()
        if not self._leaving:
            self._replace(place)

    def _count_false_start(self, death: WorkerDiedError) -> None:
        self._false_starts += 1
        if self._false_starts >= (_SUDDEN_ENDS if self._start_error is None else _FALSE_STARTS):
            self._engine.give_up(self._start_error or death)

    def _replace(self, place: _Place) -> None:
        try:
            self._start_in(place)
        except Exception as error:  # no memory, too many processes
            if any(each.process for each in self._places):
                again = Timer(_PAUSE, self._replace, (place,))
                again.daemon = True
                again.start()
                return
            self._engine.give_up(error)

    def _next_look(self) -> float | None:
        """Stop what has run out of time; returns in how many seconds that may be due again."""
        wait = self._hurry
        engine, waiting = self._engine, False
        for place in self._places:
            serial, _, seconds = self._roster.read(place.index)
            batch = engine.batch_of(serial) if serial else None
            if batch is None or batch.policy.timeout is None or batch.stopped is not None:
                continue
            waiting = True
            left = batch.policy.timeout - seconds
            if left > 0:
                wait = min(wait, left)
                continue
            name = task_name(batch.job.function)
            told = f"{name} ran for longer than its timeout of {batch.policy.timeout} s"
            error = TaskTimeoutError(f"{told}; its worker was stopped")
            self._stop_in(place, batch, Outcome(error=error))
        if not waiting and engine.timed == 0:
            self._hurry = float("inf")
            return None
        return wait


def _default_start_method() -> str:
    """What the program has set; else the one that is safe among threads and faster than spawn."""
    return multiprocessing.get_start_method(allow_none=True) or "forkserver"


def _kill(process: Process) -> None:
    with contextlib.suppress(ValueError):  # it has been seen off meanwhile
        process.kill()


class _SigintBlocked:
    """Whatever is started in the block is deaf to Ctrl-C from its first instruction on."""

    def __init__(self, method: str) -> None:
        self._method = method

    def __enter__(self) -> None:
        self._before = _block_sigint(self._method)

    def __exit__(self, *exc: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)


def _block_sigint(method: str) -> set[int]:
    """In this thread, whose children inherit it; returns what was blocked before."""
    if method != "fork":
        resource_tracker.ensure_running()  # which they use, and whose start unmasks the signal
    return signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
