"""The running interpreter's own tests of lists pass on treadle's List."""

from __future__ import annotations

import pytest

from tests.conformance.runner import check_that_all_pass

pytest.importorskip(
    "test.list_tests",
    reason="this interpreter comes without its own tests (the package `test`)",
)


@pytest.mark.slow
def test_the_interpreters_own_tests_of_lists_pass() -> None:
    check_that_all_pass("list_suites")
