"""The running interpreter's own tests of processes pass on treadle's, under every start method."""

from __future__ import annotations

import pytest

from tests.conformance.runner import check_that_all_pass

pytest.importorskip(
    "test._test_multiprocessing",
    reason="this interpreter comes without its own tests (the package `test`)",
)


@pytest.mark.slow
@pytest.mark.watchdog(300)
@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
def test_the_interpreters_own_tests_of_processes_pass(start_method: str) -> None:
    check_that_all_pass("process_suites", start_method)
