"""Workers outlive a parent that is killed (python/cpython#111873)."""

from __future__ import annotations

import os
import select
import time

import pytest

from tests.pains.programs import running, seen_in_this_version
from tests.pool.kinds import PROCESSES

pytestmark = pytest.mark.slow


def all_ended(ends: list[int], deadline: float | None = None) -> bool:
    """Whether all have ended by then; without a deadline they must."""
    try:
        for end in ends:
            poll = select.poll()
            poll.register(end, select.POLLIN)
            left = None if deadline is None else max(deadline - time.monotonic(), 0) * 1000
            if not poll.poll(left):
                return False
        return True
    finally:
        for end in ends:
            os.close(end)


@seen_in_this_version
def test_the_standard_librarys_live_on() -> None:
    code = """
import multiprocessing, os, time
begun = multiprocessing.get_context("fork").SimpleQueue()
def work(number):
    begun.put(os.getpid())
    time.sleep(1000)
with multiprocessing.get_context("fork").Pool(2) as pool:
    result = pool.map_async(work, range(2), 1)
    print(begun.get(), begun.get(), flush=True)
    result.get()
"""
    with running(code) as program:
        assert program.stdout is not None
        ends = [os.pidfd_open(int(pid)) for pid in program.stdout.readline().split()]
        program.kill()
        program.wait()
        assert not all_ended(ends, time.monotonic() + 0.5)


@pytest.mark.parametrize(
    ("method", "busy"), [*((method, True) for method in PROCESSES), ("fork", False)]
)
def test_with_treadle_they_end(method: str, busy: bool) -> None:
    """By themselves: the kernel tells them, and nobody else is there to do so."""
    code = f"""
import sys
import treadle
from tests.pool import tasks
from tests.pool.kinds import new_pool
if __name__ == "__main__":
    begun = treadle.Queue()
    with new_pool({method!r}, 2) as pool:
        if {busy}:
            result = pool.map_async(tasks.put_and_stay, [begun] * 2, 1)
            print(begun.get(), begun.get(), flush=True)
            result.get()
        print(*pool.statistics().pids, flush=True)
        treadle.Event().wait()
"""
    with running(code) as program:
        assert program.stdout is not None
        ends = [os.pidfd_open(int(pid)) for pid in program.stdout.readline().split()]
        program.kill()
        program.wait()
        assert all_ended(ends)
