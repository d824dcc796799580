"""Ctrl-C gives a heap of tracebacks, one for each worker, or a hang (python/cpython#125886)."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.pains.programs import running, seen_in_this_version
from tests.pool.kinds import KINDS

pytestmark = pytest.mark.slow

WORKERS = 3


def complaints_of(code: str) -> tuple[int, str]:
    """Ctrl-C, when the program has printed a line: for all of its processes, as a terminal does."""
    with running(code, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline()
        os.killpg(program.pid, signal.SIGINT)
        _, complaints = program.communicate()
        return program.returncode, complaints


@seen_in_this_version
def test_the_standard_librarys_workers_complain_each() -> None:
    _, complaints = complaints_of(
        f"""
import multiprocessing, time
begun = multiprocessing.get_context("fork").Semaphore(0)
def work(number):
    begun.release()
    time.sleep(1000)
with multiprocessing.get_context("fork").Pool({WORKERS}) as pool:
    workers = multiprocessing.active_children()
    result = pool.map_async(work, range({WORKERS}), 1)
    for _ in range({WORKERS}):
        begun.acquire()
    print("all at work", flush=True)
    try:
        result.get()
    finally:
        for worker in workers:
            worker.join()
"""
    )
    assert complaints.count("Traceback") > WORKERS


@pytest.mark.parametrize("kind", KINDS)
def test_with_treadle_there_is_one_and_the_program_ends(kind: str) -> None:
    returncode, complaints = complaints_of(
        f"""
import treadle
from tests.pool import tasks
from tests.pool.kinds import new_pool
if __name__ == "__main__":
    begun = treadle.Queue()
    with new_pool({kind!r}, {WORKERS}) as pool:
        result = pool.map_async(tasks.put_and_stay, [begun] * {WORKERS}, 1)
        for _ in range({WORKERS}):
            begun.get()
        print("all at work", flush=True)
        result.get()
"""
    )
    assert returncode == -signal.SIGINT
    assert complaints.count("Traceback") == 1
    assert complaints.rstrip().endswith("KeyboardInterrupt")
