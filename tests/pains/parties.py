"""Threads and tasks that call, wait and hold, here or in other processes.

What is shown of a thread is shown of a task as well: each function is told which party makes the
call. Programs that are started separately import this module by its name, so it needs no pytest.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from concurrent.futures import Future
from contextlib import nullcontext
from typing import Any, Protocol

import treadle
from tests.aio.loops import settle
from tests.sync.threads import until, until_parked

PARTIES = ("thread", "task")


class Line(Protocol):
    def send(self, word: object, /) -> object: ...
    def recv(self) -> object: ...


class Stdio:
    """The line of a program that is told what to do (tests/names/programs.py)."""

    def send(self, word: object, /) -> None:
        print(ascii(word), flush=True)

    def recv(self) -> object:
        return input()


def call(party: str, thing: Any, method: str, *args: object) -> Any:
    """Make a call in this thread, or in a task of a loop in it; a condition's with its lock."""
    if party == "task":
        return asyncio.run(_call_as_task(thing, method, *args))
    with thing if isinstance(thing, treadle.Condition) else nullcontext():
        return getattr(thing, method)(*args)


def begin(party: str, thing: Any, method: str, *args: object) -> Future[Any]:
    """Make a call that has to wait, in another thread or a loop there; returns once it waits."""
    answer: Future[Any] = Future()
    waits = threading.Event()
    counts = isinstance(thing, (treadle.Condition, treadle.Barrier))
    before = thing.statistics().waiting if counts else 0

    async def wait_as_task() -> Any:
        task = asyncio.create_task(_call_as_task(thing, method, *args))
        await settle()
        assert not task.done(), "it need not wait"
        waits.set()
        return await task

    def run() -> None:
        try:
            if party == "task":
                answer.set_result(asyncio.run(wait_as_task()))
            else:
                answer.set_result(call(party, thing, method, *args))
        except BaseException as error:
            waits.set()
            answer.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    if party == "task":
        waits.wait()
    else:
        assert thread.native_id is not None
        until_parked(thing, thread.native_id)
    if counts:  # It may have slept on its way there, where the arena was busy.
        until(lambda: answer.done() or thing.statistics().waiting > before)
    return answer


def wait(line: Line, party: str, thing: Any, method: str, *args: object) -> None:
    """Say when it waits in the call, and then what that has returned."""
    answer = begin(party, thing, method, *args)
    line.send("waiting")
    line.send(answer.result())


def hold(line: Line, party: str, thing: Any, method: str = "acquire") -> None:
    """Acquire, say so, and keep what it has until it is told to end."""

    async def hold_as_task() -> None:
        await _call_as_task(thing, method)
        line.send("holding")
        line.recv()

    if party == "task":
        asyncio.run(hold_as_task())
    else:
        getattr(thing, method)()
        line.send("holding")
        line.recv()


async def _call_as_task(thing: Any, method: str, *args: object) -> Any:
    async with thing.aio if isinstance(thing, treadle.Condition) else nullcontext():
        answer = getattr(thing.aio, method)(*args)
        return await answer if inspect.isawaitable(answer) else answer
