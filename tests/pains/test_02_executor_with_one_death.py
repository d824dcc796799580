"""One death makes the whole executor unusable (agronholm/apscheduler#362)."""

from __future__ import annotations

import pytest

import treadle
from tests.pains.programs import output_of, seen_in_this_version
from tests.pool import tasks
from tests.pool.kinds import PROCESSES, new_executor

pytestmark = pytest.mark.slow


@seen_in_this_version
def test_the_standard_librarys_fails_all_that_was_submitted_and_takes_nothing_more() -> None:
    said = output_of(
        """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
executor = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork"))
other = executor.submit(time.sleep, 1000)
executor.submit(os._exit, 1).exception()
print(type(other.exception()).__name__)
try:
    executor.submit(abs, -1)
except BrokenProcessPool:
    print("it is broken")
"""
    )
    assert said == "BrokenProcessPool\nit is broken\n"


@pytest.mark.parametrize("method", PROCESSES)
def test_with_treadle_one_death_costs_one_task(method: str) -> None:
    began, go = treadle.Event(), treadle.Event()
    with new_executor(method, 2) as executor:
        other = executor.submit(tasks.begin_and_wait, began, go, "done")
        began.wait()
        dying = executor.submit(tasks.kill_self)
        waiting = [executor.submit(tasks.square, x) for x in range(10)]
        assert isinstance(dying.exception(), treadle.WorkerDiedError)
        assert [future.result() for future in waiting] == [x * x for x in range(10)]
        go.set()
        assert other.result() == "done"
        assert list(executor.map(tasks.square, range(3))) == [0, 1, 4]
