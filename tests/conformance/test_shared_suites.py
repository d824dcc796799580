"""The running interpreter's own tests of shared values, arrays and memory pass on treadle's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip(
    "test._test_multiprocessing",
    reason="this interpreter comes without its own tests (the package `test`)",
)

_ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "start_method", ["fork", "spawn", pytest.param("forkserver", marks=pytest.mark.soak)]
)
def test_the_interpreters_own_tests_of_shared_data_pass(start_method: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.conformance.shared_suites", start_method],
        cwd=_ROOT,
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "\nOK" in done.stderr
