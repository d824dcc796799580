"""The interpreter's own tests of queue, asyncio's queues and locks pass on the drop-ins.

tests/packaging runs them, and the lock tests, on every interpreter on the machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip(
    "test.test_asyncio", reason="this interpreter comes without its own tests (the package `test`)"
)

_ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["test.test_queue", "test.test_asyncio.test_queues", "test.test_asyncio.test_locks"]
)
def test_the_interpreters_own_tests_pass(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.conformance.dropins", module],
        cwd=_ROOT,
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "\nOK" in done.stderr
