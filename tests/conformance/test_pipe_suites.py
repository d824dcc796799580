"""The running interpreter's own tests of connections pass on treadle's pipes."""

from __future__ import annotations

import pytest

from tests.conformance.runner import check_that_all_pass

pytest.importorskip(
    "test._test_multiprocessing",
    reason="this interpreter comes without its own tests (the package `test`)",
)


@pytest.mark.slow
def test_the_interpreters_own_tests_of_connections_pass() -> None:
    check_that_all_pass("pipe_suites")
