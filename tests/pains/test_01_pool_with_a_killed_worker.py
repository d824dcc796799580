"""A Pool hangs after a worker is killed (python/cpython#96062)."""

from __future__ import annotations

import os
from typing import Any

import pytest

import treadle
from tests.pains.programs import hangs, seen_in_this_version
from tests.pool import tasks
from tests.pool.kinds import PROCESSES, new_pool

pytestmark = pytest.mark.slow


@seen_in_this_version
def test_the_standard_library_hangs() -> None:
    """The task of the dead is nobody's, and whoever waits for it waits for ever."""
    assert hangs(
        """
import multiprocessing, os
with multiprocessing.get_context("fork").Pool(1) as pool:
    print("about to wait", flush=True)
    pool.apply(os._exit, (1,))
"""
    )


def calls(pool: treadle.Pool) -> dict[str, Any]:
    return {
        "apply": lambda: pool.apply(tasks.kill_self),
        "apply_async": lambda: pool.apply_async(tasks.kill_self).get(),
        "map": lambda: pool.map(tasks.kill_self, range(3)),
        "starmap": lambda: pool.starmap(tasks.kill_self, [()]),
        "imap": lambda: list(pool.imap(tasks.kill_self, range(3))),
        "imap_unordered": lambda: list(pool.imap_unordered(tasks.kill_self, range(3))),
    }


@pytest.mark.parametrize("method", PROCESSES)
def test_with_treadle_its_task_fails_and_the_pool_goes_on(method: str) -> None:
    with new_pool(method) as pool:
        for name, call in calls(pool).items():
            if method == "fork" or name == "map":
                with pytest.raises(treadle.WorkerDiedError, match="was killed by SIGKILL"):
                    call()
        assert pool.map(tasks.square, range(10)) == [x * x for x in range(10)]
        pool.close()
        pool.join()


def test_with_treadle_a_worker_that_is_killed_idle_is_made_up_for() -> None:
    with new_pool("fork", 2) as pool:
        for pid in pool.statistics().pids:
            os.kill(pid, 9)
        assert pool.map(tasks.square, range(10)) == [x * x for x in range(10)]


def test_with_treadle_the_call_may_be_made_again() -> None:
    attempts: treadle.Queue[int] = treadle.Queue()
    with new_pool("fork") as pool:
        assert pool.apply(tasks.die_until, (attempts, 2, tasks.kill_self), retries=1) == 2
