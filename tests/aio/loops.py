"""Event loops of every library behind one face: run, stepped, and others in threads of their own.

The face is asyncio's: a test is written as for it, with ``spawn`` for ``asyncio.create_task``, with
``gather``, and so on, and runs in all of them.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import importlib.util
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pytest

NAMES = ("asyncio", "uvloop", "trio")


@dataclass(frozen=True)
class Loop:
    """A kind of event loops; can be sent to other processes."""

    name: str

    def __str__(self) -> str:
        return self.name

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run it in a loop of its own. The tasks that are left at its end are cancelled."""
        if self.name == "trio":
            import trio

            return trio.run(_in_a_nursery, coroutine)
        with asyncio.Runner(loop_factory=self.new_event_loop) as runner:
            return runner.run(coroutine)

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """One of asyncio's interface, to be run and closed by hand."""
        if self.name == "uvloop":
            import uvloop

            return uvloop.new_event_loop()
        return asyncio.new_event_loop()


def installed() -> list[Loop]:
    """All kinds but those whose library is missing."""
    return [Loop(name) for name in NAMES if importlib.util.find_spec(name)]


def loop_named(name: str) -> Loop:
    """Skips the test if the library is not installed."""
    pytest.importorskip(name)
    return Loop(name)


# ---- In whatever loop that runs


async def steps(count: int) -> None:
    """Let the loop run so many rounds."""
    if trio := _running_trio():
        for _ in range(count):
            await trio.lowlevel.checkpoint()
    for _ in range(0 if trio else count):
        await asyncio.sleep(0)


async def sleep(seconds: float) -> None:
    await (_running_trio() or asyncio).sleep(seconds)


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until the condition is true; the watchdog bounds it."""
    while not condition():
        await sleep(0.001)


async def settle() -> None:
    """Let every task come to where it waits for something that is not the loop's."""
    await steps(12)


def new_event() -> Any:
    return (_running_trio() or asyncio).Event()


def current_task() -> Any:
    trio = _running_trio()
    return trio.lowlevel.current_task() if trio else asyncio.current_task()


def cancellation() -> type[BaseException]:
    """What is raised in a task that is cancelled. Who awaits it gets asyncio's in any case."""
    trio = _running_trio()
    return trio.Cancelled if trio else asyncio.CancelledError


def spawn(coroutine: Coroutine[Any, Any, Any], name: str | None = None) -> Any:
    """Begin a task."""
    if _running_trio():
        return _TrioTask(coroutine, name)
    return asyncio.create_task(coroutine, name=name)


async def spawn_in_turn(*coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
    """Begin tasks that come to where they wait in this order; trio runs what is ready in any."""
    tasks = []
    for coroutine in coroutines:
        tasks.append(spawn(coroutine))
        if _running_trio():
            await settle()
    return tasks


async def gather(*awaitables: Any, return_exceptions: bool = False) -> list[Any]:
    if not _running_trio():
        return await asyncio.gather(*awaitables, return_exceptions=return_exceptions)
    tasks = [spawn(each) if asyncio.iscoroutine(each) else each for each in awaitables]
    ends: list[Any] = []
    for task in tasks:
        try:
            ends.append(await task)
        except (Exception, asyncio.CancelledError) as error:
            if not return_exceptions:
                raise
            ends.append(error)
    return ends


async def outcome(future: Future[Any]) -> Any:
    """What another thread does, or a task of its loop."""
    ended = new_event()
    call = threadsafe_call()
    future.add_done_callback(lambda _: call(ended.set))
    await ended.wait()
    return future.result()


def threadsafe_call() -> Callable[..., object]:
    """What has the running loop call a function soon, from whatever thread."""
    if trio := _running_trio():
        return trio.lowlevel.current_trio_token().run_sync_soon
    return asyncio.get_running_loop().call_soon_threadsafe


def _running_trio() -> Any:
    """The module, if the task that runs is its own."""
    with contextlib.suppress(RuntimeError):
        if asyncio.current_task() is not None:
            return None
    trio = sys.modules.get("trio")
    return trio if trio is not None and trio.lowlevel.in_trio_task() else None


# ---- trio with asyncio's face


class _TrioTask:
    def __init__(self, coroutine: Coroutine[Any, Any, Any], name: str | None) -> None:
        import trio

        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._result: Any = None
        self._error: BaseException | None = None
        _nursery().start_soon(self._run, coroutine, name=name)

    async def _run(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        try:
            with self._scope:
                try:
                    self._result = await coroutine
                except Exception as error:
                    self._error = error
            if self._scope.cancelled_caught:
                self._error = asyncio.CancelledError()
        except BaseException:  # the run ends
            self._error = asyncio.CancelledError()
            raise
        finally:
            self._ended.set()

    def cancel(self) -> None:
        self._scope.cancel()

    def done(self) -> bool:
        return bool(self._ended.is_set())

    def cancelled(self) -> bool:
        return isinstance(self._error, asyncio.CancelledError)

    def __await__(self) -> Any:
        yield from self._ended.wait().__await__()
        if self._error is not None:
            raise self._error
        return self._result


async def _in_a_nursery(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What trio.run runs: an error of the coroutine's is raised as it is, not in a group."""
    import trio

    error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        _nurseries[trio.lowlevel.current_trio_token()] = nursery
        try:
            result = await coroutine
        except (Exception, KeyboardInterrupt) as raised:
            error = raised
        nursery.cancel_scope.cancel()
    del _nurseries[trio.lowlevel.current_trio_token()]
    if error is not None:
        raise error
    return result


_nurseries: dict[Any, Any] = {}  # by trio run


def _nursery() -> Any:
    import trio

    return _nurseries[trio.lowlevel.current_trio_token()]


# ---- Threads


def native_threads() -> int:
    """How many threads the process has, whoever made them."""
    return len(os.listdir("/proc/self/task"))


class OtherLoop:
    """An event loop in a thread of its own, with one task that does what it is told."""

    def __init__(self, kind: Loop) -> None:
        self._begun = threading.Event()
        self._calls: collections.deque[Any] = collections.deque()
        self._tasks: list[Any] = []  # asyncio does not keep them
        self._thread = threading.Thread(target=kind.run, args=(self._serve(),), daemon=True)
        self._thread.start()
        self._begun.wait()

    def start(self, function: Callable[..., Awaitable[Any]], *arguments: Any) -> Future[Any]:
        """Have the task await a call, of which the Future tells the end."""
        answer: Future[Any] = Future()
        self._call(self._put, (answer, function, arguments))
        return answer

    def do(self, function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """Have the task await a call, and wait for what it returns."""
        return self.start(function, *arguments).result()

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Begin another task of the loop."""
        answer: Future[Any] = Future()
        self._call(lambda: self._tasks.append(spawn(_answer(answer, coroutine))))
        return answer

    def settle(self) -> None:
        """Let every task of it come to where it waits for something that is not the loop's."""
        self.spawn(settle()).result()

    def end(self) -> None:
        self._call(self._put, None)
        self._thread.join()

    def _put(self, call: Any) -> None:
        self._calls.append(call)
        self._told.set()

    async def _serve(self) -> None:
        self._call = threadsafe_call()
        self._told = new_event()
        self._begun.set()
        while True:
            while not self._calls:
                self._told = new_event()
                await self._told.wait()
            call = self._calls.popleft()
            if call is None:
                break
            answer, function, arguments = call
            await _answer(answer, function(*arguments))


async def _answer(answer: Future[Any], awaitable: Awaitable[Any]) -> None:
    try:
        result = await awaitable
    except Exception as error:
        answer.set_exception(error)
    else:
        answer.set_result(result)
