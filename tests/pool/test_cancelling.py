"""Cancelling what waits for a worker, what a worker is at, and what is between two attempts."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import Any

import pytest

import treadle
from tests.pool import tasks
from tests.pool.kinds import over

pytestmark = [pytest.mark.slow, over("thread", "fork")]


def occupy(pool: treadle.Pool) -> tuple[treadle.Event, list[treadle.AsyncResult[Any]]]:
    """Have all workers wait for the event."""
    go, results = treadle.Event(), []
    for _ in range(pool.statistics().workers):
        began = treadle.Event()
        results.append(pool.apply_async(tasks.begin_and_wait, (began, go)))
        began.wait()
    return go, results


def check_is_whole(pool: treadle.Pool) -> None:
    """Both workers are there, and free."""
    barrier = treadle.Barrier(2)
    indices = pool.map(lambda _: (barrier.wait(), treadle.current_worker().index), range(2), 1)
    assert {index for _, index in indices} == {0, 1}


def test_a_call_that_waits_is_never_made(pool: treadle.Pool) -> None:
    go, waiting = occupy(pool)
    done: treadle.Queue[int] = treadle.Queue()
    results = [pool.apply_async(tasks.note, (done, x)) for x in range(20)]
    for result in results[::2]:
        assert result.cancel()
        assert not result.cancel()  # it is over
        assert result.ready()
        assert not result.successful()
        with pytest.raises(CancelledError, match="the call was cancelled"):
            result.get()
    go.set()
    assert [result.get() for result in results[1::2]] == list(range(1, 20, 2))
    for each in waiting:
        each.get()
    check_is_whole(pool)
    assert sorted(done.get_many(100)) == list(range(1, 20, 2))


def test_a_call_that_runs_is_stopped(pool: treadle.Pool) -> None:
    for _ in range(3):
        began = treadle.Event()
        result = pool.apply_async(tasks.begin_and_stay, (began,))
        began.wait()
        assert result.cancel()
        with pytest.raises(CancelledError):
            result.get()
    check_is_whole(pool)


def test_all_that_runs_is_stopped_at_once(pool: treadle.Pool) -> None:
    begun: treadle.Queue[int] = treadle.Queue()
    results = [pool.apply_async(tasks.put_and_stay, (begun,)) for _ in range(4)]
    for _ in range(2):
        begun.get()
    for result in results:
        assert result.cancel()
    check_is_whole(pool)


def test_what_is_over_cannot_be_cancelled(pool: treadle.Pool) -> None:
    result = pool.apply_async(tasks.square, (3,))
    assert result.get() == 9
    assert not result.cancel()
    assert result.get() == 9
    mapped = pool.map_async(tasks.square, [3])
    mapped.wait()
    assert not mapped.cancel()


def test_a_cancelled_call_calls_back_with_its_error(pool: treadle.Pool) -> None:
    called: treadle.Queue[Any] = treadle.Queue(shared=False)
    began = treadle.Event()
    result = pool.apply_async(tasks.begin_and_stay, (began,), None, called.shutdown, called.put)
    began.wait()
    result.cancel()
    assert isinstance(called.get(), CancelledError)


@pytest.mark.parametrize("chunksize", [None, 1, 5, 1000])
def test_a_map_is_cancelled_with_all_its_items(pool: treadle.Pool, chunksize: int | None) -> None:
    begun: treadle.Queue[int] = treadle.Queue()
    result = pool.map_async(lambda x: tasks.put_and_stay(begun, x), range(1000), chunksize)
    begun.get()
    assert result.cancel()
    with pytest.raises(CancelledError):
        result.get()
    check_is_whole(pool)
    assert begun.qsize() < 10


def test_cancelling_costs_nobody_else_anything(pool: treadle.Pool) -> None:
    """However late the signal comes: it is for that task alone."""
    kept, cancelled = [], []
    for x in range(300):
        (cancelled if x % 3 == 0 else kept).append((x, pool.apply_async(tasks.square, (x,))))
        if x % 3 == 0:
            cancelled[-1][1].cancel()
    assert [result.get() for _, result in kept] == [x * x for x, _ in kept]
    for x, result in cancelled:
        try:
            assert result.get() == x * x
        except CancelledError:
            pass
    check_is_whole(pool)


# ---- Amid retries


def test_a_call_that_waits_for_its_next_attempt(pool: treadle.Pool) -> None:
    attempts: treadle.Queue[float] = treadle.Queue()
    result = pool.apply_async(tasks.fail_until, (attempts, 100), retries=5, backoff=0.02)
    attempts.get()
    assert result.cancel()
    made = attempts.qsize()
    check_is_whole(pool)
    clock = pool.apply_async(tasks.fail_until, (treadle.Queue(), 3), retries=5, backoff=0.02)
    clock.get()  # as long as a pause and more
    assert attempts.qsize() <= made + 1


def test_a_further_attempt_that_runs_is_stopped(pool: treadle.Pool) -> None:
    began: treadle.Queue[int] = treadle.Queue()

    def fail_and_then_stay(number: int) -> None:
        began.put(number)
        if began.qsize() < 2:
            raise LookupError
        tasks.begin_and_stay(second)

    second = treadle.Event()
    result = pool.apply_async(fail_and_then_stay, (1,), retries=1)
    second.wait()
    assert result.cancel()
    check_is_whole(pool)


def test_a_map_whose_items_are_at_further_attempts(pool: treadle.Pool) -> None:
    attempts: treadle.Queue[int] = treadle.Queue()
    second = treadle.Event()

    def fail_and_then_stay(x: int) -> None:
        attempts.put(x)
        if attempts.qsize() == 1:
            raise LookupError
        tasks.begin_and_stay(second)

    result = pool.map_async(fail_and_then_stay, range(1), retries=1)
    second.wait()
    assert result.cancel()
    check_is_whole(pool)
