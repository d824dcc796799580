"""Processes make, open, close and unlink segments of a few names, and are killed meanwhile."""

from __future__ import annotations

import fcntl
import os
import random
import signal
from contextlib import suppress
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from types import BuiltinFunctionType
from typing import Any

import pytest

import treadle
from tests.sync.children import Child
from treadle import _segments

_CROWD = 3


def _use(line: Connection, names: list[str], kept: str, seed: int) -> None:
    """For ever: everything that is seen in a segment is whole, and the kept one is there."""
    choose = random.Random(seed)
    had: list[treadle.SharedMemory] = []
    while True:
        name = choose.choice(names)
        with suppress(FileNotFoundError, FileExistsError):
            match choose.randrange(5):
                case 0:
                    made = treadle.SharedMemory(name, create=True, size=choose.choice([1, 5000]))
                    had.append(made)
                case 1:
                    opened = treadle.SharedMemory(name)
                    assert opened.size in (1, 5000)
                    assert os.fstat(opened._fd).st_blocks * 512 >= opened.size
                    had.append(opened)
                case 2 if had:
                    had.pop(choose.randrange(len(had))).close()
                case 3 if had:
                    choose.choice(had).unlink()
                case 4:
                    assert name != kept
                    _segments.sweep()
        if len(had) > 5:
            had.clear()
        again = treadle.SharedMemory(kept)
        assert again.buf[0] == 77
        again.close()
        line.send(None)


def _kill_at_random(kills: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    choose = random.Random(seed)
    names = [f"treadle-kills-{os.getpid()}-{i}" for i in range(3)]
    kept = f"treadle-kills-{os.getpid()}-kept"
    memory = treadle.SharedMemory(kept, create=True, size=10)
    memory.buf[0] = 77
    crowd = [Child(_use, names, kept, choose.random()) for _ in range(_CROWD)]
    try:
        for _ in range(kills):
            victim = choose.randrange(_CROWD)
            for _ in range(choose.randrange(1, 30)):
                crowd[victim].hear()
            crowd[victim].kill()
            crowd[victim].dispose()
            assert Path("/dev/shm", kept).exists()
            crowd[victim] = Child(_use, names, kept, choose.random())
    finally:
        for child in crowd:
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
            child.dispose()
    monkeypatch.setattr(_segments, "_GRACE", 0)  # a minute later
    for name in [*names, kept]:
        _segments._take_away(name)
    assert Path("/dev/shm", kept).exists()
    assert not [name for name in names if Path("/dev/shm", name).exists()]
    assert memory.buf[0] == 77
    memory.unlink()


class _Counted:
    """A module whose calls are counted; the process is killed instead of the one it is told."""

    def __init__(self, module: Any, calls: list[int], last: int) -> None:
        self._module, self._calls, self._last = module, calls, last

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if not isinstance(value, BuiltinFunctionType):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self._calls.append(1)
            if len(self._calls) > self._last:
                os.kill(os.getpid(), signal.SIGKILL)
            return value(*args, **kwargs)

        return call


def _live(line: Connection, name: str, last: int) -> None:
    calls: list[int] = []
    counted: Any = _segments
    counted.os, counted.fcntl = _Counted(os, calls, last), _Counted(fcntl, calls, last)
    memory = treadle.SharedMemory(name, create=True, size=5000)
    other = treadle.SharedMemory(name)
    memory.close()
    other.close()
    again = treadle.SharedMemory(name)
    again.unlink()
    again.close()
    line.send("lived")


@pytest.mark.slow
def test_a_death_before_any_call_of_the_system_leaves_a_whole_segment_or_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = f"treadle-kills-{os.getpid()}-calls"
    file = Path("/dev/shm", name)
    monkeypatch.setattr(_segments, "_GRACE", 0)
    found = []
    for last in count():
        child = Child(_live, name, last)
        _, status = os.waitpid(child.pid, 0)
        child.status = status
        child.dispose()
        found.append(file.exists())
        if file.exists():
            assert (file.stat().st_size, file.stat().st_blocks * 512) == (5000, 8192)
            assert _segments._take_away(name)
        assert not file.exists()
        if status == 0:
            break
        assert os.WIFSIGNALED(status)
    assert found.count(True) > 10 and found.count(False) > 5, "some of each were to be seen"


@pytest.mark.slow
def test_names_and_memory_stand_random_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    _kill_at_random(25, 1, monkeypatch)


@pytest.mark.soak
@pytest.mark.watchdog(600)
@pytest.mark.parametrize("seed", range(10))
def test_names_and_memory_stand_many_random_kills(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kill_at_random(1000, seed, monkeypatch)
