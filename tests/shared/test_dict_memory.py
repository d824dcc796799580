"""A Dict at the arena's limit, and what it gives back; each in a program of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]

_FULL = """
import treadle
treadle.set_arena_limit(8 << 20)
shared = treadle.Dict()
model = {}

def refused(call, *arguments):
    try:
        call(*arguments)
    except treadle.ArenaFullError as error:
        assert "limit" in str(error)
        return True
    return False

text = "x" * 1000
n = 0
while not refused(shared.__setitem__, n, text):
    model[n] = text
    n += 1
assert len(model) > 3000
assert refused(shared.setdefault, "new", text) and refused(shared.__setitem__, 0, bytes(100_000))
assert refused(shared.__setitem__, bytes(100_000), 1)
assert shared == model
del shared[0]
shared.pop(1)
shared.popitem()
del model[0], model[1]
model.popitem()
assert shared == model
shared.clear()
shared["large"] = bytes(1 << 20)
shared.update((n, n) for n in range(10_000))
assert shared[9999] == 9999 and len(shared) == 10_001
"""

_GIVEN_BACK = """
import treadle
shared = treadle.Dict(first=1)
before = treadle.arena_statistics()
for _ in range(2):
    for n in range(50_000):
        shared[n] = "some text of thirty characters"
    full = shared.statistics()
    assert full.memory < 50_000 * 200, full
    for n in range(25_000):
        del shared[n]
    shared.clear()
    assert shared.statistics().memory < 400_000, shared.statistics()
    assert treadle.arena_statistics().blocks <= before.blocks + 60
"""


@pytest.mark.slow
@pytest.mark.parametrize("program", [_FULL, _GIVEN_BACK], ids=["full", "given back"])
def test_memory(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
