"""Cancelling does not stop the work, and the end of the program waits for it for ever
(python/cpython#107505, #111358)."""

from __future__ import annotations

from concurrent.futures import CancelledError

import pytest

import treadle
from tests.pains.programs import hangs, output_of, seen_in_this_version
from tests.pool import tasks
from tests.pool.kinds import new_executor, new_pool, thread_or_process

pytestmark = pytest.mark.slow


@seen_in_this_version
@pytest.mark.parametrize("executor", ["ProcessPoolExecutor", "ThreadPoolExecutor"])
def test_the_standard_librarys_goes_on_and_keeps_the_program(executor: str) -> None:
    assert hangs(
        f"""
import concurrent.futures, time
executor = concurrent.futures.{executor}(1)
future = executor.submit(time.sleep, 1000)
while not future.running():
    time.sleep(0.001)
assert not future.cancel()
executor.shutdown(wait=False, cancel_futures=True)
print("cancelled, as far as it goes", flush=True)
"""
    )


@thread_or_process
def test_with_treadle_a_cancelled_call_stops(kind: str) -> None:
    with new_executor(kind) as executor:
        began = treadle.Event()
        future = executor.submit(tasks.begin_and_stay, began)
        began.wait()
        assert future.running()
        assert future.cancel()
        with pytest.raises(CancelledError):
            future.result()
        assert executor.submit(tasks.square, 3).result() == 9
    with new_pool(kind) as pool:
        began = treadle.Event()
        result = pool.apply_async(tasks.begin_and_stay, (began,))
        began.wait()
        assert result.cancel()
        assert pool.apply(tasks.square, (3,)) == 9


@thread_or_process
def test_with_treadle_the_program_ends(kind: str) -> None:
    said = output_of(
        f"""
import treadle
from tests.pool import tasks
from tests.pool.kinds import new_executor, new_pool
executor, began = new_executor({kind!r}), treadle.Event()
future = executor.submit(tasks.begin_and_stay, began)
began.wait()
future.cancel()
pool, began = new_pool({kind!r}), treadle.Event()
result = pool.apply_async(tasks.begin_and_stay, (began,))
began.wait()
print("the end")
"""
    )
    assert said == "the end\n"
