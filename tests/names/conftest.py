"""A folder of their own for the names of each test, and programs that meet in it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.names.programs import Program


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the named objects of this test lie; the test's own process had better not open any."""
    folder = tempfile.mkdtemp(prefix="treadle-names-", dir=os.environ["TREADLE_NAMES_DIR"])
    monkeypatch.setenv("TREADLE_NAMES_DIR", folder)
    yield Path(folder, f"treadle-{os.geteuid()}")
    shutil.rmtree(folder)


Start = Callable[[], Program]


@pytest.fixture
def start(names: Path) -> Iterator[Start]:
    """Starts a program that knows nothing of the others but the folder."""
    programs: list[Program] = []

    def start_one() -> Program:
        programs.append(Program())
        return programs[-1]

    yield start_one
    for program in programs:
        program.dispose()
