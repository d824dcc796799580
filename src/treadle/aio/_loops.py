"""The event loop that runs the calling task, asyncio's or trio's, and what a task goes by."""

from __future__ import annotations

import asyncio
import math
import sys
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from treadle._core import TaskIdentity

_Method = TypeVar("_Method", bound=Callable[..., Any])


class _TrioSignal:
    """What a trio task awaits: as a future of asyncio's, as far as a Waiter uses it."""

    __slots__ = ("_event", "_loop")

    def __init__(self, loop: _TrioLoop, event: Any) -> None:
        self._loop = loop
        self._event = event

    def done(self) -> bool:
        return bool(self._event.is_set())

    def set_result(self, result: None) -> None:
        self._event.set()

    def __iter__(self) -> Any:
        return self._loop.wait(self._event).__await__()


class _TrioLoop:
    """A trio run, as far as the Waiter that it is made for uses an event loop.

    All that comes from outside of the waiting task takes trio's own way in, which is safe for
    threads, signal handlers, finalizers, and the host of a guest run.
    """

    __slots__ = ("_deadline", "_expire", "_token", "_trio")

    def __init__(self, trio: Any) -> None:
        self._trio = trio
        self._token = trio.lowlevel.current_trio_token()
        self._expire: Callable[[], object] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _TrioLoop) and self._token is other._token

    def __hash__(self) -> int:
        return hash(self._token)

    def call_soon_threadsafe(self, function: Callable[..., object], *arguments: object) -> None:
        """Raises a RuntimeError, as asyncio's, if the run is over."""
        self._token.run_sync_soon(function, *arguments)

    call_soon = call_soon_threadsafe

    def call_later(self, seconds: float, function: Callable[[], object]) -> _TrioLoop:
        """Returns what cancels it. One call at a time; the task makes it, while it waits."""
        self._deadline = self._trio.current_time() + seconds
        self._expire = function
        return self

    def cancel(self) -> None:
        self._expire = None

    async def wait(self, event: Any) -> None:
        expire = self._expire
        if expire is None:
            await event.wait()
            return
        with self._trio.CancelScope(deadline=self._deadline):
            await event.wait()
        if not event.is_set():
            expire()

    async def readable(self, descriptor: int, timeout: float | None) -> bool:
        with self._trio.move_on_after(math.inf if timeout is None else timeout) as scope:
            await self._trio.lowlevel.wait_readable(descriptor)
        return not scope.cancelled_caught

    def shielded(self) -> Any:
        """A context in which nothing cancels the task."""
        return self._trio.CancelScope(shield=True)

    def create_future(self) -> _TrioSignal:
        return _TrioSignal(self, self._trio.Event())


def _trio_task() -> Any:
    """The calling task, if it is trio's; else None."""
    trio = sys.modules.get("trio")
    if trio is None:
        return None
    try:
        return trio.lowlevel.current_task()
    except (AttributeError, RuntimeError):  # AttributeError: another thread is about to import it
        return None


def running_loop(loop: Any) -> tuple[Any, bool]:
    """The event loop that runs the calling task, and whether it is trio's.

    loop: asyncio's, if one runs in this thread. It may be that of other tasks: of the host, where
    trio's run is a guest.
    """
    if loop is None or asyncio.current_task() is None:
        if _trio_task() is not None:
            return _TrioLoop(sys.modules["trio"]), True
        if loop is None:
            raise RuntimeError("no running event loop, neither asyncio's nor trio's")
    return loop, False


def _trio_run() -> _TrioLoop | None:
    """The trio run of the calling task; None, if that is asyncio's."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    found, is_trio_s = running_loop(loop)
    return found if is_trio_s else None


def _current_task() -> Any:
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    if task is None:
        task = _trio_task()
    if task is None:
        raise RuntimeError("no task is running: this is for the task that holds the lock")
    return task


_identities: weakref.WeakKeyDictionary[Any, TaskIdentity] = weakref.WeakKeyDictionary()


def identity_of_task() -> TaskIdentity:
    """What the calling task goes by where owners are told apart."""
    task = _current_task()
    identity = _identities.get(task)
    if identity is None:
        name = task.get_name() if hasattr(task, "get_name") else task.name
        identity = _identities[task] = TaskIdentity(name)
    return identity


def identity_of_caller() -> TaskIdentity | None:
    """For a method that returns a coroutine: what its caller goes by. None: no task calls it.

    The coroutine may run in another task, which is nobody to its author: ``asyncio.wait_for`` makes
    one before Python 3.12, as ``asyncio.create_task`` and ``gather`` always do.
    """
    try:
        return identity_of_task()
    except RuntimeError:
        return None


if sys.version_info >= (3, 12):
    from inspect import markcoroutinefunction as returns_coroutine
else:

    def returns_coroutine(method: _Method) -> _Method:
        """Marks a method for ``asyncio.iscoroutinefunction``."""
        method._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
        return method


async def readable(descriptor: int, timeout: float | None = None) -> bool:
    """Waits until there is something to be read; False: the time was up first.

    descriptor: nobody else's. timeout: in seconds, or None.
    """
    run = _trio_run()
    if run is not None:
        return await run.readable(descriptor, timeout)
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    loop.add_reader(descriptor, told.set)
    try:
        async with asyncio.timeout(timeout):
            await told.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
    return True


async def surely(until: Callable[[], Awaitable[Any]]) -> None:
    """Awaits to the end, whatever cancels meanwhile; what did is raised afterwards."""
    run = _trio_run()
    if run is not None:
        with run.shielded():
            await until()
        return
    cancelled = None
    while True:
        try:
            await until()
            break
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        try:
            raise cancelled
        finally:
            cancelled = None  # no cycle with its traceback
