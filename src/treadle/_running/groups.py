"""Group: threads, processes and tasks that a block waits for; one failure cancels the rest.

Prior art: trio's nurseries and ``asyncio.TaskGroup``, whose rules these are: nothing that a block
starts outlives it, and what fails in it is raised where the block ends, in an ExceptionGroup. What
they do not have is anything but tasks. The trade-off: a process can always be stopped, a task at
every await, a thread only where it runs bytecode of Python; so a block may wait for a thread that
waits for something else. Such a thread should have a timeout, or wait for ``group.cancelled``.

``async with`` is a ``asyncio.TaskGroup`` in which a task of its own waits for each thread and
process. For ``with`` there is a thread that waits for all of them (ends.py): a failure must cancel
the rest while the block is still busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import threading
from collections.abc import Callable, Coroutine
from itertools import count
from types import TracebackType
from typing import Any

from treadle._errors import WorkerDiedError
from treadle._running.ends import Ends, Worker
from treadle._running.processes import Process
from treadle._running.threads import Thread
from treadle._sync import Event, Lock
from treadle._timers import Timer

__all__ = ["Group"]

_GRACE = 1.0  # seconds from a cancelled process's SIGTERM to its SIGKILL
_CANCELLED = "this Group was cancelled: it starts nothing more"
_PATIENCE = 20  # interrupts, after which the block is left with what runs


class _Member(Thread):
    """A thread that says when it ends."""

    _say: Callable[[Thread], object]

    def __init__(self, function: Callable[..., object], args: Any, kwargs: Any) -> None:
        super().__init__(target=function, args=args, kwargs=kwargs)
        self._blocks: list[Group] = []  # those that it is in: cancelling it cancels them

    def _is_over(self) -> None:
        try:
            super()._is_over()
        finally:
            self._say(self)


class Group:
    """Threads, processes and tasks that a ``with`` or ``async with`` block waits for.

    Nothing outlives the block. When one fails, the others are cancelled; when all have ended, the
    block raises what failed, in an ``ExceptionGroup``. So it does with what its body raises, but
    for ``KeyboardInterrupt`` and ``SystemExit``, which it lets through. What was cancelled has not
    failed.

    A process is cancelled by SIGTERM, and a second later by SIGKILL. In a thread, and in a task,
    ``asyncio.CancelledError`` is raised; in a thread that happens only when it next runs Python
    code, so one that waits for long should wait for ``group.cancelled`` as well. The blocks of
    other Groups that such a thread is in are cancelled, too.

    A thread or process that ends itself by ``sys.exit()`` or ``sys.exit(0)`` has not failed, and
    its result is None; with any other argument it has.

    >>> import treadle
    >>> with treadle.Group() as group:
    ...     here = group.thread(sum, [1, 2])
    ...     there = group.process(sum, [3, 4])
    >>> here.result(), there.result()
    (3, 7)
    """

    def __init__(self) -> None:
        self.cancelled = Event(shared=False)
        """Set when the group is cancelled; threads may wait for it."""
        self._changing = Lock(shared=False)
        self._running: set[Worker] = set()
        self._stopped: dict[Worker, Timer | None] = {}  # cancelled; a process's timer kills it
        self._told: dict[Worker, asyncio.Event] = {}  # that they have ended
        self._own_tasks: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._body: asyncio.Task[Any] | None = None  # runs the body of an ``async with``
        self._cancelling = 0  # how often that was cancelled already when the block began
        self._errors: list[BaseException] = []
        self._done = Event(shared=False)  # nothing runs, and the block is over
        self._over = False
        self._ends: Ends | None = None
        self._tasks: asyncio.TaskGroup | None = None

    def thread(self, function: Callable[..., object], /, *args: Any, **kwargs: Any) -> Thread:
        """Call a function in a thread; returns the Thread, which has been started.

        Members may start others, also when the body has ended. Raises RuntimeError outside of the
        block, and after the group was cancelled; TypeError for a coroutine function.

        >>> import treadle
        >>> with treadle.Group() as group:
        ...     thread = group.thread(max, 1, 2)
        >>> thread.result()
        2
        """
        _check_function(function)
        thread = _Member(function, args, kwargs)
        self._start(thread)
        return thread

    def process(self, function: Callable[..., object], /, *args: Any, **kwargs: Any) -> Process:
        """Call a function in a process; returns the Process, which has been started.

        Raises RuntimeError outside of the block, and after the group was cancelled; TypeError for a
        coroutine function.

        >>> import treadle
        >>> with treadle.Group() as group:
        ...     process = group.process(max, 1, 2)
        >>> process.result()
        2
        """
        _check_function(function)
        process = Process(target=function, args=args, kwargs=kwargs)
        self._start(process)
        return process

    def task(
        self, coroutine: Coroutine[Any, Any, Any], *, name: str | None = None
    ) -> asyncio.Task[Any]:
        """Run a coroutine in a task of the running loop; returns the task. For ``async with`` only.

        Raises RuntimeError after the group was cancelled.

        >>> import asyncio, treadle
        >>> async def main():
        ...     async with treadle.Group() as group:
        ...         task = group.task(asyncio.sleep(0, "done"))
        ...         process = group.process(max, 1, 2)
        ...     return task.result(), process.result()
        >>> asyncio.run(main())
        ('done', 2)
        """
        if self._tasks is None:
            coroutine.close()
            raise RuntimeError("tasks belong to an 'async with' of the Group")
        if self.cancelled.is_set():
            coroutine.close()
            raise RuntimeError(_CANCELLED)
        task = self._tasks.create_task(coroutine, name=name)
        self._own_tasks.add(task)
        task.add_done_callback(self._own_tasks.discard)
        return task

    def cancel(self) -> None:
        """Cancel all that runs; the block ends when all of it has. May be called from any thread.

        So is the body of an ``async with``, while it runs: ``asyncio.CancelledError`` is raised
        where it waits, and the block ends normally. The body of a ``with`` goes on.

        >>> import time, treadle
        >>> with treadle.Group() as group:
        ...     process = group.process(time.sleep, 1000)
        ...     group.cancel()
        >>> process.exitcode
        -15
        """
        with self._changing:
            self.cancelled.set()
            running = list(self._running)
        for worker in running:
            self._stop(worker)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, so the block is over
                self._loop.call_soon_threadsafe(self._cancel_tasks)

    def _cancel_tasks(self) -> None:
        for task in list(self._own_tasks):
            task.cancel()
        body, self._body = self._body, None
        if body is not None:
            body.cancel()

    # ---- with

    def __enter__(self) -> Group:
        self._check_new()
        self._ends = Ends(self._ended, "treadle-group")
        self._enter_thread()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        interrupted: BaseException | None = None
        for attempts in count():
            try:
                self._finish(cancel=error is not None or interrupted is not None)
                break
            except BaseException as interruption:  # Ctrl-C: the block waits all the same
                interrupted = interruption
                if attempts == _PATIENCE:
                    raise
        self._leave_thread()
        errors, self._errors = self._errors, []
        try:
            if error is not None and not isinstance(error, Exception):
                return
            if interrupted is not None:
                raise interrupted
            if error is not None:
                errors.insert(0, error)
            if errors:
                raise BaseExceptionGroup("what failed in a treadle.Group", errors) from None
        finally:
            del errors, error, interrupted  # no cycles with their tracebacks

    def _finish(self, *, cancel: bool) -> None:
        assert self._ends is not None
        if cancel:
            self.cancel()
        with self._changing:
            self._over = True
            if not self._running:
                self._done.set()
        self._done.wait()
        self._ends.close()

    def _ended(self, worker: Worker) -> None:
        """A thread or process of a ``with`` block has ended."""
        error = worker.exception()
        with self._changing:
            failure = self._failure(worker, error)
            if failure is not None:
                self._errors.append(failure)
        if failure is not None:
            self.cancel()
        with self._changing:
            self._forget(worker)
            if self._over and not self._running:
                self._done.set()

    # ---- async with

    async def __aenter__(self) -> Group:
        self._check_new()
        self._loop = asyncio.get_running_loop()
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._enter_thread()
        self._body = asyncio.current_task()
        if self._body is not None:
            self._cancelling = self._body.cancelling()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        assert self._tasks is not None
        swallowed = self._leave_body() and isinstance(error, asyncio.CancelledError)
        if swallowed:
            kind = error = trace = None
        try:
            await self._tasks.__aexit__(kind, error, trace)
        finally:  # those whose waiting task was cancelled before it had begun
            for worker, told in list(self._told.items()):
                await self._stop_and_wait_for(worker, told)
            self._leave_thread()
        return swallowed

    def _leave_body(self) -> bool:
        """The body has ended; returns whether ``cancel()``, and nobody else, has cancelled it."""
        if self._body is not None:
            self._body = None
            return False
        task = asyncio.current_task()
        return task is not None and task.uncancel() <= self._cancelling

    async def _wait_for(self, worker: Worker, told: asyncio.Event) -> None:
        """Where this task is cancelled, since another has failed, so is the worker."""
        try:
            await told.wait()
        except asyncio.CancelledError:
            await self._stop_and_wait_for(worker, told)
            raise
        if isinstance(worker, Thread):
            worker.join()  # it has said so as its last thing
        failure = self._failure(worker, worker.exception())
        self._forget(worker)
        if failure is not None:
            raise failure

    async def _stop_and_wait_for(self, worker: Worker, told: asyncio.Event) -> None:
        self.cancelled.set()
        self._stop(worker)
        while not told.is_set():
            with contextlib.suppress(asyncio.CancelledError):  # which is under way already
                await told.wait()
        if isinstance(worker, Thread):
            worker.join()
        self._forget(worker)

    # ---- Both

    def _check_new(self) -> None:
        if self._ends is not None or self._tasks is not None:
            raise RuntimeError("a Group is good for one block: make another")

    def _enter_thread(self) -> None:
        thread = threading.current_thread()
        if isinstance(thread, _Member):
            thread._blocks.append(self)

    def _leave_thread(self) -> None:
        thread = threading.current_thread()
        if isinstance(thread, _Member):
            thread._blocks.remove(self)

    def _start(self, worker: Worker) -> None:
        if self._tasks is not None:
            self._start_among_tasks(worker, self._tasks)
            return
        with self._changing:
            if self._ends is None or (self._over and not self._running):
                raise RuntimeError("a Group starts threads and processes within its block only")
            if self.cancelled.is_set():
                raise RuntimeError(_CANCELLED)
            worker._quiet = True
            if isinstance(worker, _Member):
                worker._say = self._ends.say
            try:
                worker.start()
            finally:  # Ctrl-C may come when it has started already
                if worker.ident is not None:
                    self._running.add(worker)
                    if isinstance(worker, Process):
                        self._ends.watch(worker)

    def _start_among_tasks(self, worker: Worker, tasks: asyncio.TaskGroup) -> None:
        if self.cancelled.is_set():
            raise RuntimeError(_CANCELLED)
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        worker._quiet = True
        waiting = self._wait_for(worker, told)
        try:
            task = tasks.create_task(waiting)  # first: what is started is waited for
        except RuntimeError:
            waiting.close()
            raise
        try:
            if isinstance(worker, _Member):
                worker._say = lambda _: loop.call_soon_threadsafe(told.set)
            worker.start()
        finally:  # Ctrl-C may come when it has started already
            if worker.ident is None:
                task.cancel()  # it has not begun
            else:
                self._running.add(worker)
                self._told[worker] = told
                if isinstance(worker, Process):
                    _tell_of_its_end(worker, loop, told)
                if self.cancelled.is_set():  # meanwhile, by another thread
                    self._stop(worker)

    def _stop(self, worker: Worker) -> None:
        if worker in self._stopped:
            return
        if isinstance(worker, Process):
            worker.terminate()
            killing = self._stopped[worker] = Timer(_GRACE, worker.kill)
            killing.daemon = True
            killing.start()
        else:
            self._stopped[worker] = None
            worker._stoppable.stop(asyncio.CancelledError)
            if isinstance(worker, _Member):
                for block in list(worker._blocks):
                    block.cancel()

    def _forget(self, worker: Worker) -> None:
        self._running.discard(worker)
        self._told.pop(worker, None)
        killing = self._stopped.pop(worker, None)
        if killing is not None:
            killing.cancel()

    def _failure(self, worker: Worker, error: BaseException | None) -> BaseException | None:
        """What the group raises of it: the end of what was cancelled is no failure."""
        if worker in self._stopped and isinstance(error, WorkerDiedError | asyncio.CancelledError):
            return None
        return error


def _check_function(function: Callable[..., object]) -> None:
    if inspect.iscoroutinefunction(function):
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(
            f"{name} is a coroutine function, whose call does nothing until it is awaited: use"
            f" group.task({name}(...)) in an 'async with', or asyncio.run in the thread or process"
        )


def _tell_of_its_end(
    process: Process, loop: asyncio.AbstractEventLoop, told: asyncio.Event
) -> None:
    end = process._opened_end()

    def tell() -> None:
        loop.remove_reader(end)
        os.close(end)
        with contextlib.suppress(ValueError):  # closed by who has joined it
            process.join()
        told.set()

    loop.add_reader(end, tell)
