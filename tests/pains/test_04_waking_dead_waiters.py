"""Condition.notify_all, Event.set and Barrier block for ever on a dead waiter
(python/cpython#75158, #123899).
"""

from __future__ import annotations

import asyncio
import multiprocessing
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

import treadle
from tests.aio.loops import settle
from tests.names.conftest import Start
from tests.sync.children import Child, forked
from tests.sync.threads import until

_ROOT = Path(__file__).parents[2]


# ---- The standard library: each of these runs in a process of its own, and hangs there


def notify_the_dead() -> None:
    condition = multiprocessing.Condition()
    _kill_one_that_waits_with(condition)
    with condition:
        condition.notify_all()


def set_for_the_dead() -> None:
    event = multiprocessing.Event()
    _kill_one_that_waits_with(event)
    event.set()


def wait_with_the_dead() -> None:
    barrier = multiprocessing.Barrier(2)
    _kill_one_that_waits_with(barrier)
    barrier.wait()


def _kill_one_that_waits_with(thing: Any) -> None:
    condition = getattr(thing, "_cond", thing)
    with forked(_wait, thing) as child:
        until(lambda: condition._sleeping_count.get_value() == 1)
        with condition:  # not while it holds the lock, which is another pain
            child.kill()
    print("killed", flush=True)


def _wait(line: Connection, thing: Any) -> None:
    if hasattr(thing, "notify"):
        with thing:
            thing.wait()
    else:
        thing.wait()


@pytest.mark.slow
@pytest.mark.parametrize("hang", [notify_the_dead, set_for_the_dead, wait_with_the_dead])
def test_the_standard_library_hangs(hang: Any) -> None:
    code = f"from tests.pains.{Path(__file__).stem} import {hang.__name__} as hang\n"
    code += "hang(); print('awake', flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=_ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"killed\n"
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=0.5)
        finally:
            process.kill()
        assert process.stdout.read() == b""


# ---- treadle: those who wait are processes, or tasks of processes


def _wait_by_task(line: Connection, thing: Any) -> None:
    async def main() -> None:
        if hasattr(thing, "notify"):
            async with thing.aio:
                await thing.aio.wait()
        else:
            await thing.aio.wait()

    asyncio.run(main())


every_waiter = pytest.mark.parametrize("wait", [_wait, _wait_by_task], ids=["process", "task"])


@every_waiter
def test_treadle_notifies_the_living(wait: Any) -> None:
    condition = treadle.Condition()
    with forked(wait, condition) as doomed, forked(wait, condition):
        until(lambda: condition.statistics().waiting == 2)
        doomed.kill()
        with condition:
            condition.notify_all()


@every_waiter
@pytest.mark.parametrize("notify_by_task", [False, True])
def test_treadle_passes_over_the_dead_that_waited_first(wait: Any, notify_by_task: bool) -> None:
    condition = treadle.Condition()

    async def notify() -> None:
        async with condition.aio:
            condition.aio.notify(1)

    with forked(wait, condition) as doomed:
        until(lambda: condition.statistics().waiting == 1)
        with forked(wait, condition):
            until(lambda: condition.statistics().waiting == 2)
            doomed.kill()
            if notify_by_task:
                asyncio.run(notify())
            else:
                with condition:
                    condition.notify(1)


@every_waiter
@pytest.mark.parametrize(
    ("of", "end"),
    [(treadle.Event, "set"), (lambda: treadle.Latch(1), "count_down")],
    ids=["Event", "Latch"],
)
def test_treadle_tells_all_though_the_dead_wait_as_well(of: Any, end: str, wait: Any) -> None:
    thing, about_to_wait = of(), treadle.Semaphore(0)
    with (
        forked(_say_and_wait, wait, thing, about_to_wait) as doomed,
        forked(_say_and_wait, wait, thing, about_to_wait),
    ):
        about_to_wait.acquire()
        about_to_wait.acquire()
        doomed.kill()
        getattr(thing, end)()


def _say_and_wait(line: Connection, wait: Any, thing: Any, about_to: treadle.Semaphore) -> None:
    about_to.release()
    wait(line, thing)


@every_waiter
def test_treadle_breaks_a_barrier_that_the_dead_waited_at(wait: Any) -> None:
    barrier = treadle.Barrier(2)
    with forked(wait, barrier) as doomed:
        until(lambda: barrier.n_waiting == 1)
        doomed.kill()
    with pytest.raises(treadle.BrokenBarrierError, match=f"pid {doomed.pid} "):
        barrier.wait()


@every_waiter
def test_treadle_breaks_a_barrier_for_tasks_that_wait(wait: Any) -> None:
    barrier = treadle.Barrier(3)

    async def main(doomed: Child) -> None:
        waiting = asyncio.create_task(barrier.aio.wait())
        await settle()
        doomed.kill()
        with pytest.raises(treadle.BrokenBarrierError, match=f"pid {doomed.pid} "):
            await waiting

    with forked(wait, barrier) as doomed:
        until(lambda: barrier.n_waiting == 1)
        asyncio.run(main(doomed))


# ---- treadle: unrelated programs, by name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "wait", "end"),
    [
        ("Event(name='it')", "thing.wait()", "thing.set()"),
        ("Latch(1, name='it')", "thing.wait()", "thing.count_down()"),
        (
            "Condition(name='it')",
            "with thing: thing.wait()",
            "with thing: thing.notify_all()",
        ),
    ],
    ids=["Event", "Latch", "Condition"],
)
def test_treadle_wakes_the_living_program(
    make: str, wait: str, end: str, start_program: Start
) -> None:
    doomed, living, waker = start_program(), start_program(), start_program()
    for program in doomed, living, waker:
        program.tell(f"thing = treadle.{make}")
    for program in doomed, living:
        program.begin(wait)
    while waker.tell("thing.statistics().waiting") != 2:
        pass
    doomed.kill()
    waker.tell(end)
    assert living.answer() in (True, None)
