"""The running interpreter's own tests of synchronization objects pass on treadle's."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conformance.implementations import IMPLEMENTATIONS, Implementation

lock_tests = pytest.importorskip(
    "test.lock_tests", reason="this interpreter comes without its own tests (the package `test`)"
)

# They sleep most of the time, and so are run side by side.
_AT_ONCE = 5

_ROOT = Path(__file__).parents[2]

Run = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, Future[Run]]]:
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        yield {row.name: threads.submit(_run, row.name) for row in IMPLEMENTATIONS}


@pytest.mark.slow
@pytest.mark.parametrize("row", IMPLEMENTATIONS, ids=lambda row: row.name)
def test_the_interpreters_own_tests_pass(row: Implementation, runs: dict[str, Future[Run]]) -> None:
    done = runs[row.name].result()
    assert done.returncode == 0, done.stderr
    assert "\nOK" in done.stderr


def test_every_suite_of_the_interpreter_has_an_implementation_on_each_storage() -> None:
    suites = {
        name
        for name, member in vars(lock_tests).items()
        if isinstance(member, type)
        and issubclass(member, unittest.TestCase)
        and not name.startswith("Base")
    }
    for shared in (True, False):
        covered = {row.suite for row in IMPLEMENTATIONS if _is_shared(row) is shared}
        assert suites <= covered


def _run(name: str) -> Run:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.conformance.suites", name],
        cwd=_ROOT,
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def _is_shared(row: Implementation) -> bool:
    made = row.factory(2) if row.suite == "BarrierTests" else row.factory()
    shared: bool = made.statistics().shared
    return shared
