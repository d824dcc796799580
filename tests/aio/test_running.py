"""Tasks that wait for threads and processes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

import treadle
from tests.aio.loops import Loop, gather, settle, spawn, until

Kind = type[treadle.Process] | type[treadle.Thread]

both = pytest.mark.parametrize("kind", [treadle.Process, treadle.Thread])
waiters = pytest.mark.parametrize("ask", ["join", "result", "exception"])


class OwnRunThread(treadle.Thread):
    """Of which nothing is told."""

    def run(self) -> None:
        self._target()  # type: ignore[attr-defined]


def started(kind: Any, function: Callable[..., Any], *args: Any) -> Any:
    worker = kind(target=function, args=args, daemon=True)
    worker.start()
    return worker


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@both
def test_a_task_has_the_result(kind: Kind, loop: Loop) -> None:
    async def main() -> None:
        worker = started(kind, pow, 2, 5)
        assert await worker.aio.result() == 32
        assert await worker.aio.result(timeout=0) == 32
        assert await worker.aio.exception() is None
        assert await worker.aio.join() is None
        assert not worker.is_alive()

    loop.run(main())


@both
def test_a_task_has_the_error(kind: Kind, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        worker = started(kind, divmod, 1, 0)
        with pytest.raises(ZeroDivisionError):
            await worker.aio.result()
        error = await worker.aio.exception()
        assert isinstance(error, ZeroDivisionError)
        assert (kind is treadle.Process) == isinstance(error.__cause__, treadle.RemoteTraceback)

    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    loop.run(main())


def test_a_task_learns_of_a_death(loop: Loop) -> None:
    async def main() -> None:
        process = started(treadle.Process, signal.pause)
        task = spawn(process.aio.result())
        await settle()
        process.kill()
        with pytest.raises(treadle.WorkerDiedError, match="killed by SIGKILL"):
            await task

    loop.run(main())


@both
@waiters
def test_a_task_waits_while_others_run(kind: Kind, ask: str, loop: Loop) -> None:
    async def main() -> None:
        go = treadle.Event()
        worker = started(kind, go.wait)
        tasks = [spawn(getattr(worker.aio, ask)()) for _ in range(3)]
        await settle()
        assert not any(task.done() for task in tasks)
        go.set()
        assert await gather(*tasks) == [{"result": True}.get(ask)] * 3

    loop.run(main())


@both
def test_a_task_waits_no_longer_than_it_wants(kind: Kind, loop: Loop) -> None:
    async def main() -> None:
        go = treadle.Event()
        worker = started(kind, go.wait)
        for seconds in (0, 0.01):
            assert await worker.aio.join(seconds) is None
            with pytest.raises(TimeoutError, match=rf"still runs after {seconds} s"):
                await worker.aio.result(timeout=seconds)
            with pytest.raises(TimeoutError):
                await worker.aio.exception(seconds)
        assert worker.is_alive()
        go.set()
        assert await worker.aio.result() is True

    loop.run(main())


@both
@waiters
def test_a_cancelled_wait_leaves_nothing_behind(kind: Kind, ask: str, loop: Loop) -> None:
    async def main() -> None:
        go = treadle.Event()
        worker = started(kind, go.wait)
        await worker.aio.join(0.001)  # what the first wait makes stays
        gc.collect()  # those of earlier tests
        before = descriptors()
        for _ in range(3):
            task = spawn(getattr(worker.aio, ask)())
            await settle()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert descriptors() == before
        go.set()
        assert await worker.aio.result() is True

    loop.run(main())


@both
def test_only_what_was_started_can_be_asked(kind: Kind, loop: Loop) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"call start\(\) first"):
            await kind().aio.result()
        with pytest.raises((AssertionError, RuntimeError)):  # as without .aio
            await kind().aio.join()

    loop.run(main())


def test_a_thread_with_a_run_of_its_own(loop: Loop) -> None:
    async def main() -> None:
        go = treadle.Event()
        thread = started(OwnRunThread, go.wait)
        with pytest.raises(TimeoutError):
            await thread.aio.result(timeout=0.001)
        task = spawn(thread.aio.join())
        await settle()
        assert not task.done()
        go.set()
        await task
        assert not thread.is_alive()
        assert await thread.aio.result() is None

    loop.run(main())


def test_a_join_waits_for_what_reports_the_error(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which a thread does at its very end; the loop is free meanwhile."""

    async def main() -> None:
        thread = started(treadle.Thread, divmod, 1, 0)
        task = spawn(thread.aio.join())
        await until(reporting.is_set)
        await settle()
        assert not task.done()
        assert isinstance(await thread.aio.exception(), ZeroDivisionError)
        go.set()
        await task
        assert not thread.is_alive()

    go, reporting = threading.Event(), threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: (reporting.set(), go.wait()))
    loop.run(main())
