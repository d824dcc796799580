"""The running interpreter's own tests of shared values, arrays and memory pass on treadle's."""

from __future__ import annotations

import pytest

from tests.conformance.runner import check_that_all_pass

pytest.importorskip(
    "test._test_multiprocessing",
    reason="this interpreter comes without its own tests (the package `test`)",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "start_method", ["fork", "spawn", pytest.param("forkserver", marks=pytest.mark.soak)]
)
def test_the_interpreters_own_tests_of_shared_data_pass(start_method: str) -> None:
    check_that_all_pass("shared_suites", start_method)
