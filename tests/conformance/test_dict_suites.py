"""The running interpreter's own tests of mappings pass on treadle's Dict."""

from __future__ import annotations

import pytest

from tests.conformance.runner import check_that_all_pass

pytest.importorskip(
    "test.mapping_tests",
    reason="this interpreter comes without its own tests (the package `test`)",
)


@pytest.mark.slow
def test_the_interpreters_own_tests_of_mappings_pass() -> None:
    check_that_all_pass("dict_suites")
