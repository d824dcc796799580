"""Processes make, open, close and unlink segments of a few names, and are killed meanwhile."""

from __future__ import annotations

import os
import random
import signal
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

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
