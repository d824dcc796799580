"""Group: threads, processes and tasks that a block waits for; one failure cancels the rest.

Prior art: trio's nurseries and ``asyncio.TaskGroup``, whose rules these are: nothing that a block
starts outlives it, and what fails in it is raised where the block ends, in an ExceptionGroup. What
they do not have is anything but tasks. The trade-off: a process can always be stopped, a task at
every await, a thread only where it runs bytecode of Python; so a block may wait for a thread that
waits for something else. Such a thread should have a timeout, or wait for ``group.cancelled``.

A thread waits for all threads and processes of a block (ends.py): a failure must cancel the rest
while the block is still busy. ``async with`` is a ``asyncio.TaskGroup`` in which each of them has a
task, which that thread tells.

Ctrl-C, a signal handler that raises, and the cancelling of a thread that starts something may come
at any moment of that. So a member is among those that run before it is started, and who begins is
settled by one ``list.append``: the member itself, or who was interrupted and calls it off.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
from collections.abc import Callable, Coroutine
from itertools import count
from types import TracebackType
from typing import Any

from treadle._errors import WorkerDiedError
from treadle._running.ends import Ends, Worker
from treadle._running.processes import Process
from treadle._running.threads import Thread
from treadle._sync import Event, RLock
from treadle._timers import Timer

__all__ = ["Group"]

_GRACE = 1.0  # seconds from a cancelled process's SIGTERM to its SIGKILL
_CANCELLED = "this Group was cancelled: it starts nothing more"
_PATIENCE = 20  # interrupts, after which the block is left with what runs

_Told = asyncio.Future[BaseException | None]  # that a worker has ended, and what failed in it


class _Start:
    """Of a member, which begins unless its start has been called off before."""

    def __init__(self) -> None:
        self._claims: list[str] = []  # the first one stands

    def begins(self) -> bool:
        self._claims.append("begun")
        return self._claims[0] == "begun"

    def is_called_off(self) -> bool:
        self._claims.append("called off")
        return self._claims[0] == "called off"


class _Member(Thread):
    """A thread that says when it ends."""

    _beginning: _Start
    _say: Callable[[Thread], object]

    def __init__(self, function: Callable[..., object], args: Any, kwargs: Any) -> None:
        super().__init__(target=function, args=args, kwargs=kwargs)
        self._tells = Event(shared=False)
        self._blocks: list[Group] = []  # those that it is in: cancelling it cancels them

    def run(self) -> None:
        if self._beginning.begins():
            super().run()

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
        self._changing = RLock(shared=False)  # signal handlers may cancel; held over no start
        self._running: set[Worker] = set()
        self._stopped: dict[Worker, Timer | None] = {}  # cancelled; a process's timer kills it
        self._told: dict[Worker, _Told] = {}  # in an ``async with``
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
            if self._ends is not None:
                self._ends.close()
            self._leave_thread()
        return swallowed

    def _leave_body(self) -> bool:
        """The body has ended; returns whether ``cancel()``, and nobody else, has cancelled it."""
        if self._body is not None:
            self._body = None
            return False
        task = asyncio.current_task()
        return task is not None and task.uncancel() <= self._cancelling

    def _wait_in_a_task(self, worker: Worker, tasks: asyncio.TaskGroup) -> None:
        told = self._told[worker] = asyncio.get_running_loop().create_future()
        waiting = self._wait_for(worker, told)
        try:
            tasks.create_task(waiting)
        except BaseException:
            waiting.close()
            raise

    async def _wait_for(self, worker: Worker, told: _Told) -> None:
        """Where this task is cancelled, since another has failed, so is the worker."""
        try:
            await asyncio.wait([told])
        except asyncio.CancelledError:
            await self._stop_and_wait_for(worker, told)
            raise
        failure = told.result()
        if failure is not None:
            raise failure

    async def _stop_and_wait_for(self, worker: Worker, told: _Told) -> None:
        self.cancelled.set()
        self._stop(worker)
        while not told.done():
            with contextlib.suppress(asyncio.CancelledError):  # which is under way already
                await asyncio.wait([told])

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
        worker._quiet = True
        start = _Start()
        try:
            ends = self._add(worker)
            if self._tasks is not None:
                self._wait_in_a_task(worker, self._tasks)
            if isinstance(worker, _Member):
                worker._beginning, worker._say = start, ends.say
                worker.start()
            elif isinstance(worker, Process):
                self._start_process(worker, start, ends)
        except BaseException:
            if start.is_called_off():
                self._forget(worker, None)
            raise
        if self.cancelled.is_set():  # meanwhile
            self._stop(worker)

    def _add(self, worker: Worker) -> Ends:
        """To those that run: what is started is waited for, whatever interrupts its start."""
        with self._changing:
            if self._tasks is None and (self._ends is None or (self._over and not self._running)):
                raise RuntimeError("a Group starts threads and processes within its block only")
            if self.cancelled.is_set():
                raise RuntimeError(_CANCELLED)
            if self._ends is None:
                self._ends = Ends(self._ended, "treadle-group")
            self._running.add(worker)
            return self._ends

    def _start_process(self, process: Process, start: _Start, ends: Ends) -> None:
        """In a thread of its own, which no interrupt reaches: half started, it would be lost.

        That is as like this one as can be, since it is the one that goes on in a fork's child.
        """
        over = Event(shared=False)
        errors: list[BaseException] = []
        context = contextvars.copy_context()

        def undisturbed() -> None:
            if not start.begins():
                return
            try:
                context.run(process.start)
                try:
                    ends.watch(process)
                except BaseException:
                    process.kill()
                    process.join()
                    raise
            except BaseException as error:
                errors.append(error)
                self._forget(process, None)
            else:
                if self.cancelled.is_set():  # meanwhile
                    self._stop(process)
            finally:
                over.set()

        here = threading.current_thread()
        threading.Thread(target=undisturbed, name=here.name, daemon=here.daemon).start()
        over.wait()
        if errors:
            raise errors.pop()

    def _stop(self, worker: Worker) -> None:
        """What has not begun yet is stopped by who starts it."""
        with self._changing:
            if worker in self._running and worker not in self._stopped:
                if isinstance(worker, Process):
                    self._stop_process(worker)
                else:
                    worker._stoppable.stop(asyncio.CancelledError)
                    self._stopped[worker] = None
        if isinstance(worker, _Member):
            for block in list(worker._blocks):
                block.cancel()

    def _stop_process(self, process: Process) -> None:
        if process._popen is None:
            return
        with contextlib.suppress(ValueError):  # closed by who has joined it
            process.terminate()
        killing = Timer(_GRACE, _kill, (process,))
        killing.daemon = True
        if self._stopped.setdefault(process, killing) is killing:
            killing.start()

    def _ended(self, worker: Worker) -> None:
        """Called by the thread that waits for all. Whatever happens, the worker is forgotten."""
        failure: BaseException | None = None
        try:
            try:
                error = worker.exception()
            except BaseException as problem:
                error = problem
            with self._changing:
                failure = self._failure(worker, error)
                if failure is not None and self._tasks is None:
                    self._errors.append(failure)
            if failure is not None and self._tasks is None:
                self.cancel()
        finally:
            self._forget(worker, failure)

    def _forget(self, worker: Worker, failure: BaseException | None) -> None:
        with self._changing:
            self._running.discard(worker)
            killing = self._stopped.pop(worker, None)
            told = self._told.pop(worker, None)
            if self._over and not self._running:
                self._done.set()
        if killing is not None:
            killing.cancel()
        if told is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                told.get_loop().call_soon_threadsafe(_settle, told, failure)

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


def _settle(told: _Told, failure: BaseException | None) -> None:
    if not told.done():
        told.set_result(failure)


def _kill(process: Process) -> None:
    with contextlib.suppress(ValueError):  # closed by who has joined it
        process.kill()
