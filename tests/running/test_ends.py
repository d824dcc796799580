"""Who waits for the ends of processes is told of each, once, and of no other."""

from __future__ import annotations

import os
import signal

import pytest

import treadle
from treadle._running.ends import Ends

pytestmark = pytest.mark.slow


def started(*args: object) -> treadle.Process:
    process = treadle.Process(target=signal.pause if not args else os._exit, args=args)
    process.start()
    return process


def test_a_process_whose_descriptor_has_the_number_of_one_that_has_ended() -> None:
    """Both descriptors of a process tell its end; the second by a number that is free by then."""
    told: treadle.Queue[treadle.Process] = treadle.Queue(shared=False)
    amid, go = treadle.Event(shared=False), treadle.Event(shared=False)
    others: list[treadle.Process] = []

    def ended(process: treadle.Process) -> None:
        told.put(process)
        if process is first:
            amid.set()
            go.wait()
        elif process is second:
            others.append(started())
            ends.watch(others[0])

    first, second = started(0), started(0)
    ends = Ends(ended, "ends")
    ends.watch(first)
    amid.wait()  # what comes now comes at once
    holes = [os.dup(0) for _ in range(100)]  # filled, so that the next number is the only free one
    os.waitid(os.P_PID, second.pid or 0, os.WEXITED | os.WNOWAIT)
    ends.watch(second)
    go.set()
    assert told.get() is first
    assert told.get() is second
    third = started(0)
    ends.watch(third)
    assert told.get() is third
    for each in holes:
        os.close(each)
    others[0].kill()
    assert told.get() is others[0]
    ends.close()
