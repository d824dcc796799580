"""The interpreter's own tests of queue, asyncio's queues and locks pass on the drop-ins.

tests/packaging runs them, and the lock tests, on every interpreter on the machine.
"""

from __future__ import annotations

import pytest

from tests.conformance.runner import check_that_all_pass

pytest.importorskip(
    "test.test_asyncio", reason="this interpreter comes without its own tests (the package `test`)"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["test.test_queue", "test.test_asyncio.test_queues", "test.test_asyncio.test_locks"]
)
def test_the_interpreters_own_tests_pass(module: str) -> None:
    check_that_all_pass("dropins", module)
