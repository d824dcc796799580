"""Runs an adapter of this folder, with the interpreter's own tests, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def check_that_all_pass(adapter: str, *arguments: str) -> None:
    """Fails, with what unittest told, unless every test of ``tests.conformance.ADAPTER`` passes."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.conformance.{adapter}", *arguments],
        cwd=_ROOT,
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "\nOK" in done.stderr
