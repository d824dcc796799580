"""There is no timeout for a task (joblib/joblib#522): one may stop waiting, the work goes on."""

from __future__ import annotations

import pytest

import treadle
from tests.pains.programs import hangs, seen_in_this_version
from tests.pool import tasks
from tests.pool.kinds import new_executor, new_pool

pytestmark = pytest.mark.slow


@seen_in_this_version
def test_the_standard_librarys_worker_stays_at_it() -> None:
    assert hangs(
        """
import multiprocessing, time
with multiprocessing.get_context("fork").Pool(1) as pool:
    try:
        pool.apply_async(time.sleep, (1000,)).get(timeout=0.01)
    except multiprocessing.TimeoutError:
        print("given up", flush=True)
    pool.apply(abs, (-1,))
"""
    )


@pytest.mark.parametrize("kind", ["thread", "fork", "forkserver"])
def test_with_treadle_it_is_stopped_and_its_worker_is_free(kind: str) -> None:
    with new_pool(kind) as pool:
        with pytest.raises(treadle.TaskTimeoutError, match=r"longer than its timeout of 0\.05 s"):
            pool.apply(tasks.begin_and_stay, (treadle.Event(),), timeout=0.05)
        assert pool.apply(tasks.square, (3,)) == 9
        results = pool.imap(tasks.stay_if, [False, True, False], timeout=0.5)
        assert next(results) is False
        with pytest.raises(treadle.TaskTimeoutError):
            next(results)
        assert list(results) == [False]


def test_with_treadle_an_executor_has_one_for_all() -> None:
    with new_executor("fork", timeout=0.05) as executor:
        future = executor.submit(tasks.begin_and_stay, treadle.Event())
        assert isinstance(future.exception(), treadle.TaskTimeoutError)
        assert executor.submit(tasks.square, 3).result() == 9
