"""The running interpreter's own tests of pools and executors pass on treadle's.

What is started by spawn, or is slow to be, runs whole with -m soak, and a selection always.
"""

from __future__ import annotations

import importlib.util

import pytest

from tests.conformance.executor_suites import SELECTION, selected
from tests.conformance.runner import check_that_all_pass

pytest.importorskip(
    "test._test_multiprocessing",
    reason="this interpreter comes without its own tests (the package `test`)",
)

_POOL_SELECTION = [
    "TestPool.test_imap",
    "TestPool.test_map_no_failfast",
    "TestPool.test_traceback",
    "TestPoolWorkerErrors",
    "TestPoolWorkerLifetime.test_worker_finalization_via_atexit_handler_of_multiprocessing",
]
executors = pytest.mark.skipif(
    importlib.util.find_spec("test.test_concurrent_futures") is None,
    reason="this interpreter comes without its own tests of concurrent.futures",
)


@pytest.mark.slow
@pytest.mark.watchdog(300)
@pytest.mark.parametrize("workers", ["thread", "fork", "forkserver"])
def test_the_interpreters_own_tests_of_pools_pass(workers: str) -> None:
    check_that_all_pass("pool_suites", workers)


@pytest.mark.slow
@pytest.mark.watchdog(300)
def test_a_selection_of_the_tests_of_pools_passes_under_spawn() -> None:
    check_that_all_pass("pool_suites", "spawn", *_POOL_SELECTION)


@pytest.mark.soak
@pytest.mark.watchdog(1800)
def test_all_the_tests_of_pools_pass_under_spawn() -> None:
    check_that_all_pass("pool_suites", "spawn")


@executors
@pytest.mark.slow
@pytest.mark.watchdog(300)
@pytest.mark.parametrize("workers", SELECTION)
def test_a_selection_of_the_interpreters_own_tests_of_executors_passes(workers: str) -> None:
    check_that_all_pass("executor_suites", workers, *selected(workers))


@executors
@pytest.mark.soak
@pytest.mark.watchdog(1800)
@pytest.mark.parametrize("workers", SELECTION)
def test_all_the_tests_of_executors_pass(workers: str) -> None:
    check_that_all_pass("executor_suites", workers)
