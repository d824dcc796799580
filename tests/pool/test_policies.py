"""What a pool does for a task beside running it: timeouts, retries with backoff, priorities."""

from __future__ import annotations

import gc
import itertools
import os
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import treadle
from tests.pool import tasks
from tests.pool.kinds import new_pool, over
from tests.sync.threads import until

pytestmark = pytest.mark.slow

each_pool = over("thread", "fork")
a_pool_of_processes = over("fork")


def occupy(pool: treadle.Pool) -> tuple[treadle.Event, list[treadle.AsyncResult[Any]]]:
    """Have all workers wait for the event."""
    go, results = treadle.Event(), []
    for _ in range(pool.statistics().workers):
        began = treadle.Event()
        results.append(pool.apply_async(tasks.begin_and_wait, (began, go), priority=100))
        began.wait()
    return go, results


# ---- timeout


@each_pool
def test_a_task_that_takes_too_long_is_stopped(pool: treadle.Pool) -> None:
    with pytest.raises(
        treadle.TaskTimeoutError,
        match=r"begin_and_stay\(\) ran for longer than its timeout of 0.05 s",
    ) as caught:
        pool.apply(tasks.begin_and_stay, (treadle.Event(),), timeout=0.05)
    assert isinstance(caught.value, TimeoutError)
    assert pool.map(tasks.square, range(4)) == [0, 1, 4, 9]


@each_pool
def test_a_task_in_time_is_left_alone(pool: treadle.Pool) -> None:
    pids = set(pool.statistics().pids)
    assert pool.apply(tasks.square, (3,), timeout=1000) == 9
    assert pool.map(tasks.square, range(100), timeout=1000) == [x * x for x in range(100)]
    assert list(pool.imap(tasks.square, range(3), timeout=1000)) == [0, 1, 4]
    assert set(pool.statistics().pids) == pids


@each_pool
def test_waiting_for_a_worker_is_no_part_of_a_timeout(pool: treadle.Pool) -> None:
    go, waiting = occupy(pool)
    result = pool.apply_async(tasks.square, (3,), timeout=0.05)
    with new_pool("thread") as clock, pytest.raises(treadle.TaskTimeoutError):
        clock.apply(
            tasks.begin_and_stay, (treadle.Event(),), timeout=0.1
        )  # which has run meanwhile
    assert not result.ready()
    go.set()
    assert result.get() == 9
    for each in waiting:
        each.get()


@each_pool
@pytest.mark.parametrize("chunksize", [1, 4, 100])
def test_a_timeout_of_a_map_is_each_items(pool: treadle.Pool, chunksize: int) -> None:
    done: treadle.Queue[int] = treadle.Queue()

    def stay_at_five(x: int) -> int:
        if x == 5:
            tasks.begin_and_stay(treadle.Event())
        done.put(x)
        return x

    results = pool.imap(stay_at_five, range(10), chunksize, timeout=0.1)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(treadle.TaskTimeoutError):
        next(results)
    assert list(results) == [6, 7, 8, 9]
    with pytest.raises(treadle.TaskTimeoutError):
        pool.map(stay_at_five, range(10), chunksize, timeout=0.1)


@a_pool_of_processes
def test_a_process_that_is_deaf_to_signals_is_stopped(pool: treadle.Pool) -> None:
    with pytest.raises(treadle.TaskTimeoutError):
        pool.apply(deaf, timeout=0.05)
    assert pool.apply(tasks.square, (3,)) == 9


def deaf() -> None:
    import signal

    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        signal.pause()


def test_a_pool_has_timeouts_and_a_call_another_one() -> None:
    with new_pool("thread", timeout=0.02) as pool:
        with pytest.raises(treadle.TaskTimeoutError, match=r"0\.02 s"):
            pool.apply(tasks.begin_and_stay, (treadle.Event(),))
        with pytest.raises(treadle.TaskTimeoutError, match=r"0\.03 s"):
            pool.apply(tasks.begin_and_stay, (treadle.Event(),), timeout=0.03)
        assert pool.apply(time.sleep, (0.05,), timeout=1000) is None


# ---- retries


@each_pool
def test_a_call_is_made_again_after_an_error(pool: treadle.Pool) -> None:
    attempts: treadle.Queue[float] = treadle.Queue()
    before = pool.statistics()
    assert pool.apply(tasks.fail_until, (attempts, 3), retries=2) == 3
    assert pool.statistics().retried - before.retried == 2
    assert pool.statistics().failed == before.failed


@each_pool
def test_the_last_error_is_raised_when_no_retries_are_left(pool: treadle.Pool) -> None:
    attempts: treadle.Queue[float] = treadle.Queue()
    with pytest.raises(LookupError, match="attempt 3"):
        pool.apply(tasks.fail_until, (attempts, 100), retries=2)
    assert attempts.qsize() == 3


@each_pool
@pytest.mark.parametrize("chunksize", [1, 3, 20])
def test_an_item_is_done_again_and_its_neighbours_are_not(
    pool: treadle.Pool, chunksize: int
) -> None:
    attempts: treadle.Queue[int] = treadle.Queue()
    second = treadle.Event()

    def fail_at_five_once(x: int) -> int:
        attempts.put(x)
        if x == 5 and not second.is_set():
            second.set()
            raise LookupError("once")
        return x

    assert pool.map(fail_at_five_once, range(10), chunksize, retries=1) == list(range(10))
    assert sorted(attempts.get_many(100)) == sorted([*range(10), 5])


@each_pool
def test_a_call_is_made_again_after_a_timeout(pool: treadle.Pool) -> None:
    attempts: treadle.Queue[int] = treadle.Queue()

    def stay_once() -> int:
        attempts.put(0)
        if attempts.qsize() == 1:
            tasks.begin_and_stay(treadle.Event())
        return attempts.qsize()

    assert pool.apply(stay_once, timeout=0.1, retries=1) == 2


@a_pool_of_processes
@pytest.mark.parametrize("end", [tasks.kill_self, lambda: os._exit(0)])
def test_a_call_is_made_again_after_a_death(pool: treadle.Pool, end: Callable[[], object]) -> None:
    attempts: treadle.Queue[int] = treadle.Queue()
    assert pool.apply(tasks.die_until, (attempts, 3, end), retries=2) == 3
    assert len(set(attempts.get_many(10))) == 3  # a process each
    with pytest.raises(treadle.WorkerDiedError):
        pool.apply(tasks.die_until, (attempts, 100, end), retries=1)
    assert attempts.qsize() == 2


@each_pool
def test_retries_are_made_after_a_pause_that_doubles(pool: treadle.Pool) -> None:
    attempts: treadle.Queue[float] = treadle.Queue()
    assert pool.apply(tasks.fail_until, (attempts, 4), retries=3, backoff=0.02) == 4
    times = attempts.get_many(4)
    pauses = [after - before for before, after in itertools.pairwise(times)]
    for pause, least in zip(pauses, (0.02, 0.04, 0.08), strict=True):
        assert pause >= least


@each_pool
def test_others_are_served_during_the_pause(pool: treadle.Pool) -> None:
    attempts: treadle.Queue[float] = treadle.Queue()
    result = pool.apply_async(tasks.fail_until, (attempts, 100), retries=1, backoff=1000)
    attempts.get()
    assert pool.map(tasks.square, range(10)) == [x * x for x in range(10)]
    assert not result.ready()
    assert result.cancel()


def test_a_pool_is_not_closed_during_a_pause() -> None:
    attempts: treadle.Queue[float] = treadle.Queue()
    pool = new_pool("fork", retries=1, backoff=0.1)
    result = pool.apply_async(tasks.fail_until, (attempts, 2))
    pool.close()
    assert result.get() == 2
    pool.join()


@pytest.mark.parametrize("kind", ["thread", "fork"])
def test_a_call_that_is_cancelled_during_a_pause_keeps_no_pool(kind: str) -> None:
    attempts: treadle.Queue[float] = treadle.Queue()
    pool = new_pool(kind)
    result = pool.apply_async(tasks.fail_until, (attempts, 9), retries=1, backoff=1000)
    until(lambda: pool.statistics().retried)
    assert result.cancel()
    pool.close()
    pool.join()


def test_a_pool_is_terminated_during_a_pause_and_nothing_keeps_it() -> None:
    def terminated() -> weakref.ref[Any]:
        attempts: treadle.Queue[float] = treadle.Queue()
        with new_pool("fork", retries=1, backoff=1000) as pool:
            result = pool.apply_async(tasks.fail_until, (attempts, 2))
            until(lambda: pool.statistics().retried)
        with pytest.raises(BaseException, match="was terminated"):
            result.get()
        pool.join()
        return weakref.ref(pool._engine)

    engine = terminated()
    until(lambda: gc.collect() is not None and engine() is None)


# ---- priority


@pytest.mark.parametrize("kind", ["thread", "fork"])
def test_higher_priorities_are_taken_first_and_equal_ones_in_turn(kind: str) -> None:
    begun: treadle.Queue[tuple[int, int]] = treadle.Queue()
    priorities = [3, 1, 2, 3, 1, 2, -5, 1000, 0]
    with new_pool(kind) as pool:
        go, _ = occupy(pool)
        calls = [(priority, number) for number, priority in enumerate(priorities)]
        results = [pool.apply_async(begun.put, (each,), priority=each[0]) for each in calls]
        mapped = pool.map_async(begun.put, [(500, 100), (500, 101)], 1, priority=500)
        go.set()
        for result in results:
            result.get()
        mapped.get()
    calls += [(500, 100), (500, 101)]
    assert begun.get_many(100) == sorted(calls, key=lambda each: -each[0])


# ---- What is refused


@each_pool
@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"timeout": 0}, "timeout must be more than 0 seconds, not 0"),
        ({"timeout": -1}, "timeout must be more than 0"),
        ({"timeout": float("nan")}, "timeout must be more than 0"),
        ({"retries": -1}, "must not be negative"),
        ({"backoff": -0.1}, "must not be negative"),
    ],
)
def test_settings_that_make_no_sense(
    pool: treadle.Pool, setting: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        pool.apply(int, **setting)
    for method in (pool.map, pool.imap, pool.imap_unordered, pool.starmap):
        with pytest.raises(ValueError, match=told):
            method(int, [], **setting)
    with pytest.raises(ValueError, match=told):
        treadle.Pool(1, kind="thread", **setting)
    with pytest.raises(ValueError, match=told):
        treadle.Executor(1, kind="thread", **setting)


def test_a_retry_that_finds_no_memory_fails() -> None:
    """Its pause is over in a thread that has nobody to tell but the task."""
    with new_pool("fork") as pool:
        crew = pool._workers.crew
        put = crew.send
        sent: list[object] = []

        def full(batch: Any) -> None:
            sent.append(batch)
            if len(sent) > 1:
                raise treadle.ArenaFullError("no more")
            put(batch)

        crew.send = full  # type: ignore[method-assign]
        result = pool.apply_async(divmod, (1, 0), retries=1, backoff=0.001)
        with pytest.raises(treadle.ArenaFullError, match="no more"):
            result.get()


def test_a_result_that_cannot_be_handled_breaks_the_pool_and_hangs_nobody() -> None:
    with new_pool("fork") as pool:

        def fail(*_: object) -> None:
            raise RuntimeError("a bug")

        result = pool.apply_async(abs, (-1,))
        assert result.get() == 1
        pool._workers.engine.delivered = fail  # type: ignore[method-assign]
        with pytest.raises(RuntimeError, match="a bug"):
            pool.apply_async(abs, (-1,)).get()
