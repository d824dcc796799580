"""Condition.notify_all, Event.set and Barrier block for ever on a dead waiter
(python/cpython#75158, #123899).
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

import treadle
from tests.names.conftest import Start as StartProgram
from tests.pains.parties import PARTIES, begin, call, wait
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


# ---- treadle: of all kinds of objects, who waited when it was killed, and who wakes


@contextmanager
def waiting(party: str, thing: Any) -> Iterator[Child]:
    """A process in which a thread or a task waits."""
    with forked(wait, party, thing, "wait") as child:
        child.expect("waiting")
        yield child


# How one is made, and the call that wakes all who wait.
each_object = pytest.mark.parametrize(
    ("make", "wake_all"),
    [
        pytest.param(treadle.Condition, "notify_all", id="Condition"),
        pytest.param(lambda: treadle.Condition(treadle.Lock()), "notify_all", id="of a Lock"),
        pytest.param(treadle.Event, "set", id="Event"),
        pytest.param(partial(treadle.Latch, 1), "count_down", id="Latch"),
    ],
)
each_dead = pytest.mark.parametrize("dead", PARTIES, ids="a {} is dead".format)
each_waker = pytest.mark.parametrize("waker", PARTIES, ids="a {} wakes".format)


@each_waker
@each_dead
@each_object
def test_treadle_wakes_the_living(
    make: Callable[[], Any], wake_all: str, dead: str, waker: str
) -> None:
    thing = make()
    with (
        waiting("thread", thing) as thread,
        waiting(dead, thing) as doomed,
        waiting("task", thing) as task,
    ):
        doomed.kill()
        call(waker, thing, wake_all)
        thread.expect(True)
        task.expect(True)


@each_waker
@each_dead
@each_object
def test_treadle_has_nobody_wait_for_the_dead(
    make: Callable[[], Any], wake_all: str, dead: str, waker: str
) -> None:
    """None but the dead was there."""
    thing = make()
    with waiting(dead, thing) as doomed:
        doomed.kill()
    call(waker, thing, wake_all)


@pytest.mark.parametrize("living", PARTIES, ids="a {} lives".format)
@each_waker
@each_dead
@pytest.mark.parametrize("lock", [treadle.RLock, treadle.Lock])
def test_treadle_passes_over_the_dead_that_waited_first(
    lock: Callable[[], Any], dead: str, waker: str, living: str
) -> None:
    condition = treadle.Condition(lock())
    with waiting(dead, condition) as doomed, waiting(living, condition) as other:
        doomed.kill()
        call(waker, condition, "notify", 1)
        other.expect(True)


@pytest.mark.parametrize("living", PARTIES, ids="a {} lives".format)
@each_dead
def test_treadle_breaks_a_barrier_that_the_dead_waited_at(dead: str, living: str) -> None:
    barrier = treadle.Barrier(2)
    with waiting(dead, barrier) as doomed:
        doomed.kill()
    with pytest.raises(treadle.BrokenBarrierError, match=f"pid {doomed.pid} "):
        call(living, barrier, "wait")


@pytest.mark.slow
@pytest.mark.parametrize("living", PARTIES, ids="a {} lives".format)
@each_dead
def test_treadle_tells_those_who_wait_at_a_barrier_with_the_dead(dead: str, living: str) -> None:
    """They need not wait for another to come, which may never be."""
    barrier = treadle.Barrier(3)
    with waiting(dead, barrier) as doomed:
        answer = begin(living, barrier, "wait")
        doomed.kill()
        with pytest.raises(treadle.BrokenBarrierError, match=f"pid {doomed.pid} "):
            answer.result()


# ---- Programs that were started separately


@pytest.mark.slow
@pytest.mark.parametrize(("dead", "waker"), [PARTIES, PARTIES[::-1]])
@pytest.mark.parametrize(
    ("made", "wake_all"),
    [("Condition(", "notify_all"), ("Event(", "set"), ("Latch(1, ", "count_down")],
)
def test_treadle_wakes_unrelated_programs_that_use_the_name(
    start_program: StartProgram, made: str, wake_all: str, dead: str, waker: str
) -> None:
    doomed, thread, task, other = (start_program() for _ in range(4))
    for program in doomed, thread, task, other:
        program.tell("from tests.pains import parties")
        program.tell(f"it = treadle.{made}name='x')")
    for program, party in (doomed, dead), (thread, "thread"), (task, "task"):
        program.begin(f"parties.wait(parties.Stdio(), {party!r}, it, 'wait')")
        assert program.answer() == "waiting"
    doomed.kill()
    assert other.tell(f"parties.call({waker!r}, it, {wake_all!r})") is None
    assert thread.answer() is True
    assert task.answer() is True


@pytest.mark.slow
@pytest.mark.parametrize(("dead", "living"), [PARTIES, PARTIES[::-1]])
def test_treadle_breaks_a_barrier_of_unrelated_programs(
    start_program: StartProgram, dead: str, living: str
) -> None:
    doomed, other = start_program(), start_program()
    for program, party in (doomed, dead), (other, living):
        program.tell("from tests.pains import parties")
        program.tell("it = treadle.Barrier(3, name='x')")
        program.begin(f"parties.wait(parties.Stdio(), {party!r}, it, 'wait')")
        assert program.answer() == "waiting"
    doomed.kill()
    answer = other.answer()
    assert answer.startswith("BrokenBarrierError") and f"pid {doomed.pid} " in answer
