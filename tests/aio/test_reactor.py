"""The reactor: one thread of a process at most, none for private objects; and loops that end."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

import treadle
from tests.aio.kinds import WAITS, TaskWait, every_wait
from tests.aio.loops import OtherLoop, native_threads, settle, steps
from tests.sync.children import forked
from tests.sync.kinds import both_storages
from tests.sync.threads import OtherThread

_ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_wakes_within_a_process_need_no_reactor() -> None:
    """Else a wake-up that is lost would only be late."""
    program = [sys.executable, "-m", "tests.aio.without_reactor"]
    subprocess.run(program, cwd=_ROOT, check=True)


# ---- Threads


def test_private_objects_need_none() -> None:
    with forked(_wait_for_all, False) as child:
        assert child.hear() == 0


def test_shared_objects_need_one() -> None:
    with forked(_wait_for_all, True) as child:
        assert child.hear() == 1


def _wait_for_all(line: Connection, shared: bool) -> None:
    async def main() -> None:
        before = native_threads()
        things = [(wait, wait.make(shared)) for wait in WAITS if shared in wait.storages()]
        for wait, thing in things:
            wait.hold(thing)
        tasks = [asyncio.create_task(wait.use(thing)) for wait, thing in things]
        await settle()
        assert not any(task.done() for task in tasks)
        line.send(native_threads() - before)
        for wait, thing in things:
            wait.end(thing)
        assert all(await asyncio.gather(*tasks))

    asyncio.run(main())


def test_several_loops_share_it() -> None:
    with forked(_wait_in_loops) as child:
        assert child.hear() == 1


def _wait_in_loops(line: Connection) -> None:
    loops = [OtherLoop() for _ in range(4)]
    before = native_threads()
    event = treadle.Event()
    waits = [loop.start(event.aio.wait) for loop in loops]
    for loop in loops:
        asyncio.run_coroutine_threadsafe(settle(), loop._loop).result()
    line.send(native_threads() - before)
    event.set()
    assert all(wait.result() for wait in waits)


@pytest.mark.slow
def test_thousands_of_tasks_have_no_thread_each() -> None:
    with forked(_wait_by_thousands) as child:
        assert child.hear() == 1


def _wait_by_thousands(line: Connection) -> None:
    async def main() -> None:
        before = native_threads()
        event, queue, tickets = treadle.Event(), treadle.Queue(), treadle.Semaphore(0)
        tasks = [asyncio.create_task(event.aio.wait()) for _ in range(700)]
        tasks += [asyncio.create_task(queue.aio.get()) for _ in range(700)]
        tasks += [asyncio.create_task(tickets.aio.acquire()) for _ in range(600)]
        await settle()
        line.send(native_threads() - before)
        event.set()
        tickets.release(600)
        await queue.aio.put_many([True] * 700)
        assert all(await asyncio.gather(*tasks))

    asyncio.run(main())


# ---- Loops that end


@every_wait
def test_a_loop_that_ends_strands_nobody(wait: TaskWait, shared: bool, other: OtherThread) -> None:
    """It is closed with its tasks waiting, and not cancelled: they are never run again.

    What an object hands over to such a task is free again when the task is collected.
    """
    thing = wait.make(shared)
    other.do(wait.hold, thing)
    loop = asyncio.new_event_loop()
    abandoned = [loop.create_task(wait.use(thing)) for _ in range(3)]
    loop.run_until_complete(settle())
    loop.close()
    if wait.handed_over:
        _forget(abandoned)

    async def main() -> None:
        heir = asyncio.create_task(wait.use(thing))
        await settle()
        other.start(wait.end, thing)
        assert await heir is True
        wait.settled(thing)

    asyncio.run(main())
    _forget(abandoned)


@every_wait
def test_a_loop_that_ends_while_notified_passes_on(wait: TaskWait, shared: bool) -> None:
    thing = wait.make(shared)
    wait.hold(thing)
    loop = asyncio.new_event_loop()
    abandoned = [loop.create_task(wait.use(thing)) for _ in range(2)]
    loop.run_until_complete(settle())

    async def main() -> None:
        heir = asyncio.create_task(wait.use(thing))
        await settle()
        wait.end(thing)
        loop.close()
        _forget(abandoned)
        assert await heir is True
        wait.settled(thing)

    asyncio.run(main())


def _forget(tasks: list[asyncio.Task[Any]]) -> None:
    """Drop them without the interpreter's complaint that they were pending."""
    task: Any
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    task = None
    tasks.clear()
    gc.collect()


@every_wait
def test_cancelled_by_the_end_of_its_loop(wait: TaskWait, shared: bool) -> None:
    """As asyncio.run does with the tasks that are left."""
    thing = wait.make(shared)
    wait.hold(thing)

    async def leave_waiting() -> asyncio.Task[Any]:
        task = asyncio.create_task(wait.use(thing))
        await settle()
        if wait.one_each:
            wait.end(thing)
        return task

    task = asyncio.run(leave_waiting())
    if not (wait.one_each and task.cancelled()):
        wait.end(thing)
    assert asyncio.run(wait.use(thing)) is True
    wait.settled(thing)


# ---- Fork


@both_storages
def test_a_fork_takes_no_waiters_along(shared: bool) -> None:
    """The child has no tasks, and a reactor of its own once it needs one."""

    async def main() -> None:
        event, queue = treadle.Event(shared=shared), treadle.Queue(shared=shared)
        waits = [asyncio.create_task(event.aio.wait()), asyncio.create_task(queue.aio.get())]
        await settle()
        with forked(_use_anew, shared, event, queue) as child:
            assert child.hear() == int(shared)
            child.join()
        if not shared:
            event.set()
            queue.put("item")
        assert await asyncio.gather(*waits) == [True, "item"]

    asyncio.run(main())


def _use_anew(line: Connection, shared: bool, event: Any, queue: Any) -> None:
    asyncio.events._set_running_loop(None)  # the parent's, which asyncio believes to be running
    asyncio.set_event_loop_policy(None)

    async def main() -> None:
        assert native_threads() == 1
        own = treadle.Event(shared=shared)
        wait = asyncio.create_task(own.aio.wait())
        await settle()
        line.send(native_threads() - 1)
        own.set()
        assert await wait is True
        event.set()
        await queue.aio.put("item")

    asyncio.run(main())


@both_storages
def test_a_fork_with_notified_tasks_tells_them_in_the_parent_alone(shared: bool) -> None:
    async def main() -> None:
        queue = treadle.Queue(shared=shared)
        tasks = [asyncio.create_task(queue.aio.get()) for _ in range(3)]
        await settle()
        queue.put("item")
        with forked(_end, queue) as child:
            child.join()
        queue.put("item")
        queue.put("item")
        assert await asyncio.gather(*tasks) == ["item"] * 3

    asyncio.run(main())


def _end(line: Connection, queue: Any) -> None:
    del queue
    gc.collect()


def test_the_main_thread_ends_while_tasks_wait() -> None:
    """A daemon's loop: the interpreter ends without waiting for it."""
    code = (
        "import asyncio, threading, treadle\n"
        "event = treadle.Event()\n"
        "begun = threading.Event()\n"
        "async def main():\n"
        "    asyncio.get_running_loop().call_later(0.01, begun.set)\n"
        "    await event.aio.wait()\n"
        "threading.Thread(target=asyncio.run, args=(main(),), daemon=True).start()\n"
        "begun.wait()\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=_ROOT).returncode == 0


# ---- Signals from threads and finalizers


@both_storages
def test_a_finalizer_wakes_a_task(shared: bool) -> None:
    class Last:
        def __del__(self) -> None:
            queue.put("gone")

    async def main() -> None:
        task = asyncio.create_task(queue.aio.get())
        await steps(3)
        Last()
        assert await task == "gone"

    queue = treadle.Queue(shared=shared)
    asyncio.run(main())


@both_storages
def test_a_signal_handler_wakes_a_task(shared: bool) -> None:
    import signal

    async def main() -> None:
        event = treadle.Event(shared=shared)
        before = signal.signal(signal.SIGUSR1, lambda *_: event.set())
        try:
            task = asyncio.create_task(event.aio.wait())
            await settle()
            os.kill(os.getpid(), signal.SIGUSR1)
            assert await task is True
        finally:
            signal.signal(signal.SIGUSR1, before)

    asyncio.run(main())
