"""Builds the native programs while other tests run, on what these leave of the processors.

Compiling takes longer than all of these programs, and other tests mostly wait.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_building: list[subprocess.Popen[bytes]] = []


def begin(variants: list[str]) -> None:
    """Have these variants built, at a low priority, one after the other."""
    code = f"from tests.native.test_native import build_all; build_all({variants!r})"
    _building.append(
        subprocess.Popen(
            ["nice", "-n", "10", sys.executable, "-c", code],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the test session's, which ends it
        )
    )


def wait() -> None:
    """Until what was begun is built, or has failed: then building it again says why."""
    while _building:
        _building[0].wait()
        _building.pop(0)


def end() -> None:
    """Nobody waits for it any more."""
    while _building:
        process = _building.pop()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()
