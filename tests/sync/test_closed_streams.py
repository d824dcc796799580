"""A program whose standard streams are closed."""

import subprocess
import sys

import pytest

_PROGRAM = """
import os, sys
for stream in (0, 1, 2):
    os.close(stream)
import treadle
lock = treadle.Lock()
files = []
for number in range(64):
    try:
        if os.readlink(f"/proc/self/fd/{number}").startswith("/memfd:treadle"):
            files.append(number)
    except FileNotFoundError:
        pass
os._exit(0 if files and min(files) > 2 and lock.acquire() else 1)
"""


@pytest.mark.slow
def test_the_arena_does_not_take_their_place() -> None:
    """What a library prints to standard error would be written into it."""
    assert subprocess.run([sys.executable, "-c", _PROGRAM], check=False).returncode == 0
