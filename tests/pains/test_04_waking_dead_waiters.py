"""Condition.notify_all, Event.set and Barrier block for ever on a dead waiter
(python/cpython#75158, #123899).
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

import treadle
from tests.sync.children import forked
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


# ---- treadle


def test_treadle_notifies_the_living() -> None:
    condition = treadle.Condition()
    with forked(_wait, condition) as doomed, forked(_wait, condition):
        until(lambda: condition.statistics().waiting == 2)
        doomed.kill()
        with condition:
            condition.notify_all()


def test_treadle_passes_over_the_dead_that_waited_first() -> None:
    condition = treadle.Condition()
    with forked(_wait, condition) as doomed:
        until(lambda: condition.statistics().waiting == 1)
        with forked(_wait, condition):
            until(lambda: condition.statistics().waiting == 2)
            doomed.kill()
            with condition:
                condition.notify(1)


def test_treadle_sets_an_event_that_the_dead_waited_for() -> None:
    event = treadle.Event()
    with forked(_wait, event) as doomed, forked(_wait, event):
        until(lambda: event.statistics().waiting == 2)
        doomed.kill()
        event.set()


def test_treadle_breaks_a_barrier_that_the_dead_waited_at() -> None:
    barrier = treadle.Barrier(2)
    with forked(_wait, barrier) as doomed:
        until(lambda: barrier.n_waiting == 1)
        doomed.kill()
    with pytest.raises(treadle.BrokenBarrierError, match=f"pid {doomed.pid} "):
        barrier.wait()
