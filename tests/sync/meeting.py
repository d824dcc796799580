"""Two processes that hold handles of the same objects meet, and use them all.

Nothing but the objects themselves keeps them in step, however the handles have travelled.
"""

from __future__ import annotations

import os
from typing import Any

import treadle
from tests.sync.kinds import OBJECTS

Things = dict[str, Any]

_LOCKS = ["Lock", "RLock"]
_SEMAPHORES = ["Semaphore", "reclaiming Semaphore", "BoundedSemaphore"]
_CONDITIONS = ["Condition", "Condition of a Lock"]


def things() -> Things:
    """One of each, shared."""
    return {name: make(label=name) for name, make in OBJECTS.items()}


def attend(things: Things) -> int:
    """What the process does that the handles have been sent to."""
    _hold_all(things)
    things["Barrier"].wait()  # begin
    things["Barrier"].wait()  # they were seen to be held
    for name in _LOCKS + _SEMAPHORES:
        things[name].release()
    things["RWLock"].release_write()
    things["Latch"].count_down()
    for name in _CONDITIONS:
        with things[name]:
            things[name].wait_for(things["Event"].is_set)
    things["Barrier"].wait()  # end
    return os.getpid()


def receive(things: Things) -> int:
    """What the process does that has sent them; returns the other one's pid."""
    things["Barrier"].wait()
    pid = _who_holds_all(things)
    things["Barrier"].wait()
    for name in _LOCKS + _SEMAPHORES:
        assert things[name].acquire() is True
        things[name].release()
    with things["RWLock"].read():
        assert things["RWLock"].readers == 1
    things["Latch"].count_down()
    assert things["Latch"].wait() is True
    things["Event"].set()
    for name in _CONDITIONS:
        with things[name]:
            things[name].notify_all()
    things["Barrier"].wait()
    return pid


def _hold_all(things: Things) -> None:
    assert [things[name].label for name in OBJECTS] == list(OBJECTS)
    for name in _LOCKS + _SEMAPHORES:
        assert things[name].acquire() is True
    assert things["RWLock"].acquire_write() is True


def _who_holds_all(things: Things) -> int:
    pids = {things[name].owner.pid for name in [*_LOCKS, "RWLock"]}
    assert len(pids) == 1
    for name in _LOCKS + _SEMAPHORES:
        assert things[name].acquire(False) is False
        assert things[name].acquire(timeout=0.01) is False
    assert things["RWLock"].acquire_read(False) is False
    assert things["RWLock"].acquire_write(timeout=0.01) is False
    assert things["Event"].is_set() is False
    assert things["Latch"].count == 2
    (pid,) = pids
    assert pid != os.getpid()
    assert isinstance(things["Lock"].owner, treadle.Holder)
    return int(pid)
