"""Pipe at the arena's limit and without descriptors: a clear error, and all goes on afterwards.

Each in a program of its own: the limit of an arena is that of all processes that share it.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

_BEGIN = """
import os, resource, treadle
LIMIT = 8 << 20
treadle.set_arena_limit(LIMIT)

def left():
    return len(os.listdir("/proc/self/fd")), treadle.arena_statistics().blocks
"""
_PROGRAMS = {
    "a message that finds no memory is the sender's error": """
here, there = treadle.Pipe()
before = left()
try:
    here.send_bytes(bytes(2 * LIMIT))
except treadle.ArenaFullError as error:
    assert f"limit of {LIMIT} bytes" in str(error), error
else:
    assert False
assert not there.poll() and left() == before
for size in (100, 100_000):
    here.send_bytes(bytes(size))
    assert len(there.recv_bytes()) == size
""",
    "a pipe that finds no memory is not made": """
pipes, messages = [treadle.Pipe()], 0
before = left()
filling = treadle.Queue()
for size in (1 << 20, 50_000, 4_000, 100):
    try:
        while True:
            filling.put(bytes(size))
    except treadle.ArenaFullError:
        pass
full = left()
made = []
try:
    while True:
        made.append(treadle.Pipe())
except treadle.ArenaFullError as error:
    assert "no room for" in str(error) or "no memory left" in str(error), error
made.clear()
assert left() == full
filling.shutdown(immediate=True)
here, there = treadle.Pipe()
here.send(1)
assert there.recv() == 1
""",
    "without descriptors a pipe is not made": """
treadle.Pipe()
before = left()
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
for spare in range(1, 5):
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[0] + spare - 2, hard))
    made = []
    try:
        while True:
            made.append(treadle.Pipe())
    except OSError as error:
        assert "no file descriptors left for a pipe" in str(error), error
    made.clear()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert left() == before
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", _PROGRAMS)
def test_at_the_limit(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _BEGIN + _PROGRAMS[name]],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
