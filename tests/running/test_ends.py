"""Ends: whose end is told, to whom, and what happens to the rest when that goes wrong."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

import treadle
from tests.sync.threads import until
from treadle._running.ends import Ends, Worker


def _started(function: Any, *args: Any) -> treadle.Process:
    process = treadle.Process(target=function, args=args)
    process.start()
    return process


def test_what_it_calls_may_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others' ends are told all the same, and the failure is reported."""
    reported: list[Any] = []
    told: list[Worker] = []
    monkeypatch.setattr(threading, "excepthook", reported.append)

    def ended(worker: Worker) -> None:
        told.append(worker)
        raise SystemExit(f"number {len(told)}")

    ends = Ends(ended, "ends")
    processes = [_started(int), _started(int)]
    for process in processes:
        ends.watch(process)
    until(lambda: len(told) == 2)
    ends.close()
    assert set(told) == set(processes)
    assert [str(each.exc_value) for each in reported] == ["number 1", "number 2"]


def test_one_that_its_owner_has_closed_is_told() -> None:
    told: list[Worker] = []
    go = treadle.Event()
    ends = Ends(told.append, "ends")
    blocker, closed = _started(go.wait), _started(int)
    closed.join()
    closed.close()
    ends.watch(closed)
    ends.watch(blocker)
    go.set()
    until(lambda: len(told) == 2)
    ends.close()
    assert set(told) == {blocker, closed}


def test_an_end_is_told_for_no_process_that_has_got_the_descriptor_since() -> None:
    """Whose number that is by then: a batch of events has one for each process."""
    told: list[Worker] = []
    busy, go_on, go, late = (treadle.Event() for _ in range(4))
    later: list[treadle.Process] = []

    def ended(worker: Worker) -> None:
        told.append(worker)
        if worker is first:
            busy.set()
            go_on.wait()
        elif worker is second:  # its descriptors are free again
            later.append(_started(late.wait))
            ends.watch(later[0])

    ends = Ends(ended, "ends")
    first, second, third = _started(int), _started(go.wait), _started(go.wait)
    ends.watch(first)
    busy.wait()
    ends.watch(second)
    ends.watch(third)
    go.set()
    second.join()
    third.join()  # so that all of their events come together
    go_on.set()
    until(lambda: len(told) == 3)
    late.set()
    until(lambda: len(told) == 4)
    ends.close()
    assert told[3] is later[0]


def test_one_that_cannot_be_watched_leaves_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = Ends(print, "ends")
    process = _started(int)
    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(ends, "_epoll", None)
        with pytest.raises(AttributeError):
            ends.watch(process)
    assert len(os.listdir("/proc/self/fd")) == before
    ends.close()
    process.join()


@pytest.mark.slow
def test_a_process_whose_descriptor_has_the_number_of_one_that_has_ended() -> None:
    """With each number of a descriptor used again at once."""
    told: treadle.Queue[treadle.Process] = treadle.Queue(shared=False)
    amid, go = treadle.Event(shared=False), treadle.Event(shared=False)
    others: list[treadle.Process] = []

    def ended(process: treadle.Process) -> None:
        told.put(process)
        if process is first:
            amid.set()
            go.wait()
        elif process is second:
            others.append(_started(signal.pause))
            ends.watch(others[0])

    first, second = _started(os._exit, 0), _started(os._exit, 0)
    ends = Ends(ended, "ends")
    ends.watch(first)
    amid.wait()  # what comes now comes at once
    holes = [os.dup(0) for _ in range(100)]  # filled, so that the next number is the only free one
    os.waitid(os.P_PID, second.pid or 0, os.WEXITED | os.WNOWAIT)
    ends.watch(second)
    go.set()
    assert told.get() is first
    assert told.get() is second
    third = _started(os._exit, 0)
    ends.watch(third)
    assert told.get() is third
    for each in holes:
        os.close(each)
    others[0].kill()
    assert told.get() is others[0]
    ends.close()
