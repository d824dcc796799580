"""What a worker process does: it takes batches on lease, runs them, and tells what came of it.

    lease -> begin (a note in its seat) -> run -> results -> finish -> acknowledge

Killed before ``begin``, it leaves a batch that nobody has run. Killed after, it leaves its seat,
which says how far it had got. Killed between result and acknowledgement, it leaves a batch whose
result stands. Each time the lease brings the batch back; so who leases one for the second time runs
nothing of it but hands it back to the pool, which alone knows the three cases apart.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import time

from treadle._core import (
    Lease,
    PriorityQueue,
    Queue,
    Roster,
    packed_numbers,
    plain,
    serve_singles,
    unpacked_numbers,
)
from treadle._errors import ArenaFullError, ShutDown, TaskError, WorkerMemoryError
from treadle._pool import current
from treadle._pool.calls import (
    BROKEN,
    ENCLOSED,
    ERROR,
    LANE,
    MANY_NUMBERS,
    READY,
    RETRY,
    RETURNED,
    SURE,
    VALUES,
    WHOLE,
    caller,
    resendable_items,
    task_name,
    unsendable,
)
from treadle._running.outcomes import portable
from treadle._running.portable import pack, resendable, unpack

TYPE_CHECKING = False  # type checkers know the name; typing takes a while to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from treadle._pool.calls import Items
    from treadle._running.portable import Packed

__all__ = ["Setup", "work"]

_PATIENCE = 1.0  # seconds in which a full arena may have room again for a result
_PAUSE = 0.01  # seconds between two looks at a full arena
_BLAS = ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR")  # environment variables: ..._NUM_THREADS


class Setup:
    """What a worker is to be: the same for all of a pool."""

    def __init__(
        self,
        label: str,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        max_tasks: int | None = None,
        memory_limit: int | None = None,
        blas_threads: int | None = None,
        cpus: tuple[int, ...] = (),
    ) -> None:
        self.label = label
        self.initializer = initializer
        self.initargs = initargs
        self.max_tasks = max_tasks  # after which the worker leaves
        self.memory_limit = memory_limit  # bytes
        self.blas_threads = blas_threads
        self.cpus = cpus  # the worker in seat n has the n-th of them, and so on around


def work(
    seat: int,
    tasks: PriorityQueue[Any],
    results: Queue[Any],
    lanes: list[Queue[Any]],
    roster: Roster,
    setup: Setup,
) -> None:
    """Be the worker in that seat, until there is nothing more to do."""
    worker = _Worker(seat, tasks, results, lanes, roster, setup)
    try:
        _prepare(seat, setup)
    except BaseException as error:
        told = portable(error, f"the initializer of worker {seat}")
        worker.send((BROKEN, seat, pack(told.error), told.trace))
        raise SystemExit(1) from None
    worker.send((READY, seat))
    worker.run()


def _prepare(seat: int, setup: Setup) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a fork has its parent's handlers
    signal.signal(signal.SIGINT, _deaf)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    multiprocessing.current_process().daemon = False  # it may have children: pools in pools
    if setup.cpus:
        os.sched_setaffinity(0, {setup.cpus[seat % len(setup.cpus)]})
    if setup.blas_threads is not None:
        _limit_blas(setup.blas_threads)
    if setup.memory_limit is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (setup.memory_limit, hard))
    current.become(seat, setup.label)
    if setup.initializer is not None:
        setup.initializer(*setup.initargs)


def _deaf(signum: int, frame: object) -> None:
    """Ctrl-C is the parent's affair. A handler, since what is ignored stays so in programs run."""


def _limit_blas(threads: int) -> None:
    """Threads of linear algebra: those of libraries that are loaded from now on, or are already."""
    for library in _BLAS:
        os.environ.setdefault(f"{library}_NUM_THREADS", str(threads))
    if "numpy" in sys.modules:
        try:
            from threadpoolctl import threadpool_limits
        except ImportError:
            return
        threadpool_limits(threads)


class _Worker:
    def __init__(
        self,
        seat: int,
        tasks: PriorityQueue[Any],
        results: Queue[Any],
        lanes: list[Queue[Any]],
        roster: Roster,
        setup: Setup,
    ) -> None:
        self._seat = seat
        self._tasks = tasks
        self._results = results
        self._lanes = lanes
        self._out = results  # where the results of this batch go
        self._roster = roster
        self._setup = setup
        self._starved = False  # a task ran out of memory: let the system have it back
        self._reported = 0  # nanoseconds: when it last told values
        # Rebuilt once for all the calls of it that follow each other.
        self._packed_function: Packed = ()
        self._function: Callable[..., Any] = len

    def run(self) -> None:
        left = self._setup.max_tasks
        while left != 0 and not self._starved:
            try:
                # _run makes the copies that are needed
                lease = self._tasks.lease(copy=False) if left else self._serve_singles()
            except ShutDown:
                return
            except MemoryError:
                self._refuse_what_is_too_large()
                return
            if lease is None:
                continue
            _, serial, how, function, items = lease.item
            if how & ENCLOSED:
                how, items = how ^ ENCLOSED, items[0]
            how = self._choose_way_out(how)
            if lease.deliveries > 1:
                self._give_back(serial, how, function, items)
            elif not self._serve(serial, how, function, items):
                return  # without acknowledging: whoever stopped the task says what came of it
            lease.ack()
            if left is not None:
                left -= 1

    def _serve_singles(self) -> Lease[Any] | None:
        """Serve the most frequent of batches natively, up to one that is anything else."""
        function, packed = self._function, self._packed_function
        outs = [self._results, *self._lanes]
        return serve_singles(self, self._roster, self._seat, self._tasks, outs, packed, function)

    def _tell_call_failed(
        self, serial: int, out: Queue[Any], error: BaseException, function: Callable[..., Any]
    ) -> bool:
        """For serve_singles; returns whether the worker goes on, as the next."""
        self._out = out
        self._tell_error(serial, 0, self._judged(error, function), None)
        return not self._starved

    def _tell_value(
        self, serial: int, out: Queue[Any], value: Any, function: Callable[..., Any], began: int
    ) -> bool:
        """For serve_singles: a value that is not plain, or has found no memory."""
        self._out, self._reported = out, began
        self._tell_values(serial, 0, [value], function)
        return not self._starved

    def send(self, message: tuple[Any, ...], patience: float = float("inf")) -> None:
        """Raises ArenaFullError when there was no memory for it for so many seconds."""
        out = self._out if message[0] in (VALUES, ERROR) else self._results
        until = None
        while True:
            try:
                out.put(message)
                return
            except ArenaFullError:
                now = time.monotonic()
                until = until or now + patience
                if now >= until:
                    raise
                time.sleep(_PAUSE)

    def _refuse_what_is_too_large(self) -> None:
        """A batch is in the way of all workers: take it without the limit, and fail it."""
        limit = self._setup.memory_limit
        if limit is None:
            raise
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
        lease = self._tasks.lease()
        self._choose_way_out(lease.item[2])
        if _data() > limit:
            error = self._starved_in("a task, by its arguments,")
            self._tell_error(lease.item[1], WHOLE, error, None)
            lease.ack()
        else:  # another one
            lease.nack()

    def _choose_way_out(self, how: int) -> int:
        """Where the results of the batch go; returns the rest of how it is to be run."""
        if how < LANE:
            self._out = self._results
            return how
        lane, how = divmod(how, LANE)
        self._out = self._lanes[lane - 1]
        return how

    def _serve(self, serial: int, how: int, packed_function: Packed, items: Items) -> bool:
        """Run a batch; returns whether the worker goes on."""
        seat, roster = self._seat, self._roster
        if roster.begin(seat, serial) and not how & SURE:
            goes_on = roster.finish(seat)
            self._give_back(serial, how, packed_function, items)
            return goes_on
        self._reported = time.monotonic_ns()
        function = self._function
        if packed_function != self._packed_function:
            try:
                function = unpack(packed_function, copy=True)
            except BaseException as error:  # SystemExit too
                name = "the function of this task"
                told = self._unsendable(f"{name} cannot be rebuilt in a worker", error, name)
                self._tell_error(serial, WHOLE, told, None)
                return roster.finish(seat)
            self._function = function
            self._packed_function = packed_function if len(packed_function) == 1 else ()
        self._run(serial, how, function, items)
        return roster.finish(seat)

    def _give_back(self, serial: int, how: int, function: Packed, items: Items) -> None:
        self.send((RETURNED, serial, how, resendable(function), resendable_items(items)))

    def _run(self, serial: int, how: int, function: Callable[..., Any], items: Items) -> None:
        call, run, seat = caller(how, function), self._roster.run, self._seat
        if type(items) is bytes:
            items = unpacked_numbers(items)
        if type(items) is list:
            # What is tried again, or may be run again after a death, has to be as it was.
            copy = len(items) > 1 or how & RETRY != 0
            call = self._rebuilding(call, function, copy=copy)
        at = 0
        while at < len(items):
            values: list[Any] = []
            failed: BaseException | None = None
            try:
                run(seat, call, items, at, values)
            except BaseException as error:
                failed = error
            if values:
                self._tell_values(serial, at, values, function)
                at += len(values)
            if failed is not None:
                again = resendable_items(items[at : at + 1]) if how & RETRY else None
                self._tell_error(serial, at, self._judged(failed, function), again)
                at += 1

    def _rebuilding(
        self, call: Callable[[Any], Any], function: Callable[..., Any], *, copy: bool
    ) -> Callable[[Packed], Any]:
        """The call of an item that is packed."""

        def rebuild_and_call(packed: Packed) -> Any:
            try:
                item = unpack(packed, copy=copy)
            except BaseException as error:  # SystemExit too
                name = task_name(function)
                what = f"the arguments of {name} cannot be rebuilt in a worker"
                raise self._unsendable(what, error, name) from error
            return call(item)

        return rebuild_and_call

    def _tell_values(
        self, serial: int, first: int, values: list[Any], function: Callable[..., Any]
    ) -> None:
        now = time.monotonic_ns()
        took, self._reported = now - self._reported, now
        numbers = packed_numbers(values) if len(values) >= MANY_NUMBERS else None
        if numbers is not None or plain(values):
            try:
                self._out.put((VALUES, serial, first, took, numbers or tuple(values)))
            except ArenaFullError:
                self._tell_packed(serial, first, took, tuple(values), function)
            return
        packed: list[Packed] = []
        for index, value in enumerate(values, first):
            self._roster.step(self._seat, index)  # whose fault it is if pickling ends the worker
            try:
                packed.append(pack(value))
            except BaseException as error:
                self._tell_packed(serial, first, took, packed, function)
                self._tell_lost(serial, index, error, function)
                first, packed = index + 1, []
        self._tell_packed(serial, first, took, packed, function)

    def _tell_packed(
        self, serial: int, first: int, took: int, values: Any, function: Callable[..., Any]
    ) -> None:
        if not values:
            return
        try:
            self.send((VALUES, serial, first, took, values), _PATIENCE)
        except ArenaFullError as error:
            if len(values) == 1:
                self._tell_lost(serial, first, error, function)
                return
            for index in range(len(values)):  # some may find room
                one = values[index : index + 1]
                self._tell_packed(serial, first + index, took if index == 0 else 0, one, function)

    def _tell_lost(
        self, serial: int, index: int, error: BaseException, function: Callable[..., Any]
    ) -> None:
        name = task_name(function)
        told = self._unsendable(f"the result of {name} cannot be sent", error, name)
        self._tell_error(serial, index, told, None)

    def _tell_error(self, serial: int, index: int, error: BaseException, item: Any) -> None:
        told = portable(error, f"worker {self._seat} (pid {os.getpid()})")
        self.send((ERROR, serial, index, pack(told.error), told.trace, item))

    def _judged(self, error: BaseException, function: Callable[..., Any]) -> BaseException:
        """What the error of a task is told as."""
        if isinstance(error, SystemExit):  # no error to be raised where the result is asked for
            told: Exception = TaskError(
                f"{task_name(function)} ended itself by {error!r}: it has no result"
            )
        elif self._is_starved(error):
            told = self._starved_in(task_name(function))
        else:
            return error
        return told.with_traceback(error.__traceback__)

    def _unsendable(self, what: str, error: BaseException, name: str) -> Exception:
        return self._starved_in(name) if self._is_starved(error) else unsendable(what, error)

    def _is_starved(self, error: BaseException) -> bool:
        own = isinstance(error, MemoryError)
        own = own and not isinstance(error, (ArenaFullError, WorkerMemoryError))
        return own and self._setup.memory_limit is not None

    def _starved_in(self, name: str) -> WorkerMemoryError:
        self._starved = True
        limit = self._setup.memory_limit or 0
        return WorkerMemoryError(
            f"{name} ran out of the {limit} bytes that its worker may have (memory_limit);"
            f" it had at most {_peak()} bytes in use",
            limit,
            _peak(),
        )


def _data() -> int:
    """What of the memory of this process RLIMIT_DATA limits, in bytes."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[5]) * resource.getpagesize()


def _peak() -> int:
    """The most memory that this process has had in use, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
