"""Event loops: stepping the one that runs, and others in threads of their own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any


async def steps(count: int) -> None:
    """Let the loop run so many rounds."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until the condition is true; the watchdog bounds it."""
    while not condition():
        await asyncio.sleep(0.001)


async def settle() -> None:
    """Let every task come to where it waits for something that is not the loop's."""
    await steps(12)


def native_threads() -> int:
    """How many threads the process has, whoever made them."""
    return len(os.listdir("/proc/self/task"))


class OtherLoop:
    """An event loop in a thread of its own, with one task that does what it is told."""

    def __init__(self) -> None:
        self._begun = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), daemon=True)
        self._thread.start()
        self._begun.wait()

    def start(self, function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """Have the task await a call, of which the (concurrent) Future tells the end."""

        async def ask() -> Any:
            answer = self._loop.create_future()
            self._calls.put_nowait((answer, function, arguments))
            return await answer

        return asyncio.run_coroutine_threadsafe(ask(), self._loop)

    def do(self, function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """Have the task await a call, and wait for what it returns."""
        return self.start(function, *arguments).result()

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Begin another task of the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._calls.put_nowait, None)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: asyncio.Queue[Any] = asyncio.Queue()
        self._begun.set()
        while (call := await self._calls.get()) is not None:
            answer, function, arguments = call
            try:
                result = await function(*arguments)
            except Exception as error:
                answer.set_exception(error)
            else:
                answer.set_result(result)
