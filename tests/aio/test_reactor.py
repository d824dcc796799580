"""The reactor: one thread of a process at most, none for private objects; and loops that end."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

import treadle
from tests.aio.kinds import WAITS, TaskWait, every_private_wait, every_wait
from tests.aio.loops import Loop, OtherLoop, gather, installed, native_threads, settle, sleep, spawn
from tests.sync.children import forked
from tests.sync.kinds import both_storages
from tests.sync.threads import OtherThread

_ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_wakes_within_a_process_need_no_reactor(loop: Loop) -> None:
    """Else a wake-up that is lost would only be late."""
    program = [sys.executable, "-m", "tests.aio.without_reactor", loop.name]
    subprocess.run(program, cwd=_ROOT, check=True)


# ---- Threads


def test_private_objects_need_none(loop: Loop) -> None:
    with forked(_wait_for_all, loop, False) as child:
        assert child.hear() == 0


def test_shared_objects_need_one(loop: Loop) -> None:
    with forked(_wait_for_all, loop, True) as child:
        assert child.hear() == 1


def _wait_for_all(line: Connection, loop: Loop, shared: bool) -> None:
    async def main() -> None:
        before = native_threads()
        things = [(wait, wait.make(shared)) for wait in WAITS if shared in wait.storages()]
        for wait, thing in things:
            wait.hold(thing)
        tasks = [spawn(wait.use(thing)) for wait, thing in things]
        await settle()
        assert not any(task.done() for task in tasks)
        line.send(native_threads() - before)
        for wait, thing in things:
            wait.end(thing)
        assert all(await gather(*tasks))

    loop.run(main())


def test_several_loops_share_it() -> None:
    with forked(_wait_in_loops, installed() * 2) as child:
        assert child.hear() == 1


def _wait_in_loops(line: Connection, kinds: list[Loop]) -> None:
    loops = [OtherLoop(kind) for kind in kinds]
    before = native_threads()
    event = treadle.Event()
    waits = [loop.start(event.aio.wait) for loop in loops]
    for loop in loops:
        loop.settle()
    line.send(native_threads() - before)
    event.set()
    assert all(wait.result() for wait in waits)


@pytest.mark.slow
def test_thousands_of_tasks_have_no_thread_each(loop: Loop) -> None:
    with forked(_wait_by_thousands, loop) as child:
        assert child.hear() == 1


def _wait_by_thousands(line: Connection, loop: Loop) -> None:
    async def main() -> None:
        before = native_threads()
        event, queue, tickets = treadle.Event(), treadle.Queue(), treadle.Semaphore(0)
        tasks = [spawn(event.aio.wait()) for _ in range(700)]
        tasks += [spawn(queue.aio.get()) for _ in range(700)]
        tasks += [spawn(tickets.aio.acquire()) for _ in range(600)]
        await settle()
        line.send(native_threads() - before)
        event.set()
        tickets.release(600)
        await queue.aio.put_many([True] * 700)
        assert all(await gather(*tasks))

    loop.run(main())


# ---- More than one arena


def test_the_first_wait_in_another_arena_is_heard_of_at_once() -> None:
    """Though the reactor sleeps for half a second at a time, on the bells that it knows."""
    delays = []
    for _ in range(3):
        with forked(_wait_in_another_arena) as child:
            delays.append(child.hear())
    assert min(delays) < 0.25


def _wait_in_another_arena(line: Connection) -> None:
    async def main() -> None:
        home, named = treadle.Queue(), treadle.Queue(name=f"of {os.getpid()}")
        with forked(_put_when_told, home, named) as putter:
            waiting = spawn(home.aio.get())
            await settle()
            putter.say("home")
            assert await waiting == "home"
            await sleep(0.05)  # the reactor goes to sleep again
            waiting = spawn(named.aio.get())
            await settle()
            begun = time.monotonic()
            putter.say("named")
            assert await waiting == "named"
            line.send(time.monotonic() - begun)

    asyncio.run(main())


def _put_when_told(line: Connection, home: Any, named: Any) -> None:
    for queue in (home, named):
        queue.put(line.recv())


# ---- Loops that end


@every_wait
def test_a_loop_that_ends_strands_nobody(
    wait: TaskWait, shared: bool, other: OtherThread, closable_loop: Loop
) -> None:
    """It is closed with its tasks waiting, and not cancelled: they are never run again.

    What an object hands over to such a task is free again when the task is collected.
    """
    thing = wait.make(shared)
    other.do(wait.hold, thing)
    loop: Any = closable_loop.new_event_loop()
    abandoned = [loop.create_task(wait.use(thing)) for _ in range(3)]
    loop.run_until_complete(settle())
    loop.close()
    loop = None  # it refers to its tasks
    if wait.handed_over:
        _forget(abandoned)

    async def main() -> None:
        heir = spawn(wait.use(thing))
        await settle()
        other.start(wait.end, thing)
        assert await heir is True
        wait.settled(thing)

    closable_loop.run(main())
    _forget(abandoned)


@every_wait
def test_a_loop_that_ends_while_notified_passes_on(
    wait: TaskWait, shared: bool, closable_loop: Loop
) -> None:
    thing = wait.make(shared)
    wait.hold(thing)
    loop: Any = closable_loop.new_event_loop()
    abandoned = [loop.create_task(wait.use(thing)) for _ in range(2)]
    loop.run_until_complete(settle())

    async def main() -> None:
        nonlocal loop
        heir = spawn(wait.use(thing))
        await settle()
        wait.end(thing)
        loop.close()
        loop = None
        _forget(abandoned)
        assert await heir is True
        wait.settled(thing)

    closable_loop.run(main())


@pytest.mark.parametrize(
    "wait", [wait for wait in WAITS if not wait.handed_over], ids=lambda wait: wait.name
)
@both_storages
def test_a_loop_that_is_stopped_holds_nobody_up(
    wait: TaskWait, shared: bool, closable_loop: Loop
) -> None:
    """It may run again, and then its tasks have their turn; what is handed over waits for that."""
    if shared not in wait.storages():
        return
    thing = wait.make(shared)
    wait.hold(thing)
    stopped: Any = closable_loop.new_event_loop()
    task = stopped.create_task(wait.use(thing))
    stopped.run_until_complete(settle())

    async def main() -> None:
        heir = spawn(wait.use(thing))
        await settle()
        wait.end(thing)
        assert await heir is True

    closable_loop.run(main())
    if wait.one_each:
        wait.end(thing)
    assert stopped.run_until_complete(task) is True
    stopped.close()
    wait.settled(thing)


@pytest.mark.parametrize(
    "wait", [wait for wait in WAITS if not wait.handed_over], ids=lambda wait: wait.name
)
@both_storages
@pytest.mark.parametrize("end", ["stopped", "closed"])
def test_who_comes_does_not_stand_behind_a_loop_that_does_not_run(
    wait: TaskWait, shared: bool, end: str, closable_loop: Loop
) -> None:
    """What its tasks wait for was offered to them, and they cannot take it."""
    if shared not in wait.storages():
        return
    thing = wait.make(shared)
    wait.hold(thing)
    ended: Any = closable_loop.new_event_loop()
    tasks = [ended.create_task(wait.use(thing)) for _ in range(2)]
    ended.run_until_complete(settle())
    if end == "closed":
        ended.close()
    wait.end(thing)
    assert closable_loop.run(wait.use(thing)) is True
    if end == "stopped":
        for task in tasks:
            if wait.one_each:
                wait.end(thing)
            assert ended.run_until_complete(task) is True
        ended.close()
    _forget(tasks)
    wait.settled(thing)


@both_storages
def test_a_loop_that_goes_on_has_its_place_in_line_again(shared: bool, closable_loop: Loop) -> None:
    lock = treadle.Lock(shared=shared)
    lock.acquire()
    loop: Any = closable_loop.new_event_loop()
    order: list[str] = []

    async def take(name: str) -> None:
        async with lock.aio:
            order.append(name)

    early = loop.create_task(take("early"))
    loop.run_until_complete(settle())
    lock.release()
    assert lock.acquire(False)

    async def go_on() -> None:
        await settle()
        assert lock._waiting_tasks() == 1
        late = spawn(take("late"))
        await settle()
        lock.release()
        await gather(early, late)

    loop.run_until_complete(go_on())
    loop.close()
    assert order == ["early", "late"]


@both_storages
def test_a_loop_goes_on_in_another_thread(shared: bool, other: OtherThread) -> None:
    """In debug mode it minds who calls it."""
    queue = treadle.Queue(shared=shared)
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    task = loop.create_task(queue.aio.get())
    loop.run_until_complete(settle())
    got = other.start(loop.run_until_complete, task)
    while not loop.is_running():
        time.sleep(0.001)
    queue.put("item")
    assert got.result() == "item"
    loop.close()


def _forget(tasks: list[asyncio.Task[Any]]) -> None:
    """Drop them without the interpreter's complaint that they were pending."""
    task: Any
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    task = None
    tasks.clear()
    gc.collect()


@every_wait
def test_cancelled_by_the_end_of_its_loop(wait: TaskWait, shared: bool, loop: Loop) -> None:
    """As asyncio.run does with the tasks that are left."""
    thing = wait.make(shared)
    wait.hold(thing)

    async def leave_waiting() -> Any:
        task = spawn(wait.use(thing))
        await settle()
        if wait.one_each:
            wait.end(thing)
        return task

    task = loop.run(leave_waiting())
    if not (wait.one_each and task.cancelled()):
        wait.end(thing)
    assert loop.run(wait.use(thing)) is True
    wait.settled(thing)


# ---- Fork


@both_storages
def test_a_fork_takes_no_waiters_along(shared: bool, loop: Loop) -> None:
    """The child has no tasks, and a reactor of its own once it needs one."""

    async def main() -> None:
        event, queue = treadle.Event(shared=shared), treadle.Queue(shared=shared)
        waits = [spawn(event.aio.wait()), spawn(queue.aio.get())]
        await settle()
        with forked(_use_anew, shared, event, queue) as child:
            assert child.hear() == int(shared)
            child.join()
        if not shared:
            event.set()
            queue.put("item")
        assert await gather(*waits) == [True, "item"]

    loop.run(main())


def _use_anew(line: Connection, shared: bool, event: Any, queue: Any) -> None:
    asyncio.events._set_running_loop(None)  # the parent's, which asyncio believes to be running
    asyncio.set_event_loop_policy(None)

    async def main() -> None:
        assert native_threads() == 1
        own = treadle.Event(shared=shared)
        wait = spawn(own.aio.wait())
        await settle()
        line.send(native_threads() - 1)
        own.set()
        assert await wait is True
        event.set()
        await queue.aio.put("item")

    asyncio.run(main())


@both_storages
def test_a_fork_with_notified_tasks_tells_them_in_the_parent_alone(
    shared: bool, loop: Loop
) -> None:
    async def main() -> None:
        queue = treadle.Queue(shared=shared)
        tasks = [spawn(queue.aio.get()) for _ in range(3)]
        await settle()
        queue.put("item")
        with forked(_end, queue) as child:
            child.join()
        queue.put("item")
        queue.put("item")
        assert await gather(*tasks) == ["item"] * 3

    loop.run(main())


def _end(line: Connection, queue: Any) -> None:
    del queue
    gc.collect()


@every_private_wait
def test_a_fork_leaves_no_places_in_line(wait: TaskWait, loop: Loop) -> None:
    """In the child a task that comes does not stand behind the parent's, and is not passed over."""
    thing = wait.make(False)
    wait.hold(thing)

    async def main() -> None:
        tasks = [spawn(wait.use(thing)) for _ in range(3)]
        await settle()
        with forked(_wait_anew, wait, thing) as child:
            child.join()
        wait.end(thing)
        await wait.all_through(thing, tasks, used=0)

    loop.run(main())


def _wait_anew(line: Connection, wait: TaskWait, thing: Any) -> None:
    asyncio.events._set_running_loop(None)
    asyncio.set_event_loop_policy(None)

    async def main() -> None:
        task = spawn(wait.use(thing))
        await settle()
        assert not task.done()
        wait.end(thing)
        assert await task is True
        wait.settled(thing)

    asyncio.run(main())


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
