"""A List at the arena's limit, and what it gives back; each in a program of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]

_FULL = """
import treadle
treadle.set_arena_limit(8 << 20)
shared = treadle.List()
model = []

def refused(call, *arguments):
    try:
        call(*arguments)
    except treadle.ArenaFullError as error:
        assert "limit" in str(error)
        return True
    return False

text = "x" * 1000
while not refused(shared.append, text):
    model.append(text)
assert len(model) > 3000
assert refused(shared.extend, [text] * 100) and refused(shared.append, bytes(100_000))
assert refused(shared.__setitem__, slice(0, 5), [text] * 50)
assert refused(shared.__setitem__, slice(0, 10, 5), [text, bytes(1 << 20)])
assert shared == model

# What is full can be emptied, from either end and from within.
del shared[0]
shared.pop()
del shared[10:20]
del shared[::7]
shared.remove(text)
del model[0], model[-1], model[10:20]
del model[::7]
model.remove(text)
assert shared == model
shared.append(bytes(20_000))
shared.clear()
shared.extend(range(100_000))
assert shared[-1] == 99_999
shared.sort(reverse=True)
assert shared[0] == 99_999
"""

_GIVEN_BACK = """
import treadle
shared = treadle.List()
shared.append(1)
before = treadle.arena_statistics()
for _ in range(2):
    shared.extend(["some text of thirty characters" for _ in range(200_000)])
    full = shared.statistics()
    assert full.memory < 200_000 * 100, full
    while len(shared) > 100_000:
        shared.pop()
    del shared[1:]
    assert shared == [1] and shared.statistics().memory < 1000
    assert treadle.arena_statistics().blocks == before.blocks
for n in range(100_000):
    shared.append(n)
assert shared.statistics().memory < 100_000 * 17
"""


@pytest.mark.slow
@pytest.mark.parametrize("program", [_FULL, _GIVEN_BACK], ids=["full", "given back"])
def test_memory(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
