"""Programs with annotations are as right to a type checker with the drop-ins as without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.dropins import typed_program

_ROOT = Path(__file__).parents[2]


def test_the_program_runs() -> None:
    typed_program.main()


@pytest.mark.slow
@pytest.mark.watchdog(300)
def test_the_program_is_well_typed(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path)),
            *("--config-file", "pyproject.toml", "tests/dropins/typed_program.py"),
        ],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
