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
links = {name: os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")[:-1]}
files = [int(name) for name, link in links.items() if link.startswith("/memfd:treadle")]
os._exit(0 if files and min(files) > 2 and lock.acquire() else 1)
"""


@pytest.mark.slow
def test_the_arena_does_not_take_their_place() -> None:
    """What a library prints to standard error would be written into it."""
    assert subprocess.run([sys.executable, "-c", _PROGRAM], check=False).returncode == 0
