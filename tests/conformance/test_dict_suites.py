"""The running interpreter's own tests of mappings pass on treadle's Dict."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip(
    "test.mapping_tests",
    reason="this interpreter comes without its own tests (the package `test`)",
)

_ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_interpreters_own_tests_of_mappings_pass() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.conformance.dict_suites"],
        cwd=_ROOT,
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "\nOK" in done.stderr
