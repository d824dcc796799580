"""The folder that a test run keeps its named objects in goes with it, or with a later run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

_KILLED = """
import os, signal
def test_killed():
    os.write(2, os.fsencode(os.environ["TREADLE_NAMES_DIR"]))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_later_run_removes_what_a_killed_one_has_left(tmp_path: Path) -> None:
    killed = _run(tmp_path, _KILLED)
    assert killed.returncode == -signal.SIGKILL
    left = killed.stderr
    assert os.path.isdir(left)
    assert _run(tmp_path, "def test_nothing(): pass").returncode == 0
    assert not os.path.exists(left)
    assert os.path.isdir(os.environ["TREADLE_NAMES_DIR"]), "that of a run that lives stays"


def _run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text("from tests.conftest import *")
    (folder / "test_it.py").write_text(code)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "--watchdog=0", "--rootdir", folder, folder],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
