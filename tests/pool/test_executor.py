"""Executor: the interface of concurrent.futures, and what asyncio makes of its futures."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest

import treadle
from tests.aio import loops
from tests.pool import tasks
from tests.pool.kinds import new_executor, options, thread_or_process
from tests.sync.threads import until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["thread", "fork"])
def executor(request: pytest.FixtureRequest) -> Iterator[treadle.Executor]:
    with treadle.Executor(2, **options(request.param)) as executor:
        yield executor


# ---- submit


def test_it_is_an_executor_of_the_standard_library(executor: treadle.Executor) -> None:
    assert isinstance(executor, concurrent.futures.Executor)
    future = executor.submit(divmod, 7, 2)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result() == (3, 1)
    assert future.done()
    assert future.exception() is None
    assert repr(executor).startswith("<treadle.Executor 'Executor-")


def test_arguments_by_place_and_by_name(executor: treadle.Executor) -> None:
    def collect(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    assert executor.submit(collect).result() == ((), {})
    named = {"self": 1, "fn": 2, "timeout": 3}
    assert executor.submit(collect, 1, None, **named).result() == ((1, None), named)


def test_an_error_is_the_futures(executor: treadle.Executor) -> None:
    future = executor.submit(tasks.fail, "no")
    assert isinstance(future.exception(), LookupError)
    with pytest.raises(LookupError, match="no"):
        future.result()


def test_what_cannot_be_sent_is_an_error_of_the_future() -> None:
    with new_executor("fork") as executor:
        lock = threading.Lock()
        for future in (executor.submit(lambda: lock), executor.submit(repr, lock)):
            with pytest.raises(treadle.TaskError, match="cannot be sent"):
                future.result()
        assert executor.submit(tasks.square, 3).result() == 9


def test_a_death_costs_one_future(executor: treadle.Executor) -> None:
    if executor.statistics().kind == "thread":
        pytest.skip("threads are not killed")
    dying = executor.submit(tasks.kill_self)
    others = [executor.submit(tasks.square, x) for x in range(20)]
    with pytest.raises(treadle.WorkerDiedError, match="killed by SIGKILL"):
        dying.result()
    assert [future.result() for future in others] == [x * x for x in range(20)]


def test_the_functions_of_the_module(executor: treadle.Executor) -> None:
    go = treadle.Event()
    waiting = executor.submit(tasks.wait_for, go, -1)
    others = {executor.submit(tasks.square, x) for x in range(20)}
    done, pending = concurrent.futures.wait([waiting, *others], return_when="FIRST_COMPLETED")
    assert waiting in pending
    assert done
    early = concurrent.futures.as_completed([waiting, *others])
    assert {next(early) for _ in others} == others
    with pytest.raises(TimeoutError):
        waiting.result(timeout=0.001)
    go.set()
    assert next(early).result() == -1
    assert concurrent.futures.wait([waiting, *others]).not_done == set()


def test_done_callbacks(executor: treadle.Executor) -> None:
    called: treadle.Queue[Any] = treadle.Queue(shared=False)
    for function in (int, tasks.fail):
        future = executor.submit(function)
        future.add_done_callback(called.put)
        assert called.get() is future


# ---- map


@pytest.mark.parametrize("chunksize", [1, 7, None])
@pytest.mark.parametrize("buffersize", [None, 1, 100])
def test_map_gives_the_values_in_order(
    executor: treadle.Executor, chunksize: int | None, buffersize: int | None
) -> None:
    how: Any = {"chunksize": chunksize, "buffersize": buffersize}
    assert list(executor.map(tasks.square, range(100), **how)) == [x * x for x in range(100)]
    assert list(executor.map(pow, [2, 3, 4], [3, 2], **how)) == [8, 9]
    assert list(executor.map(tasks.square, [], **how)) == []


def test_map_draws_all_at_once_unless_it_is_told_otherwise(executor: treadle.Executor) -> None:
    items = iter(range(100))
    results = executor.map(tasks.square, items)
    assert list(items) == []
    assert list(results) == [x * x for x in range(100)]
    numbers = itertools.count()
    some = executor.map(tasks.square, numbers, buffersize=5)
    assert [next(some) for _ in range(50)] == [x * x for x in range(50)]
    some.close()
    assert next(numbers) <= 55


def test_map_begins_before_it_is_asked(executor: treadle.Executor) -> None:
    done: treadle.Queue[int] = treadle.Queue()
    results = executor.map(lambda x: tasks.note(done, x), range(3))
    assert sorted(done.get() for _ in range(3)) == [0, 1, 2]
    del results


def test_map_may_be_told_how_long_it_may_take(executor: treadle.Executor) -> None:
    go = treadle.Event()
    results = executor.map(tasks.wait_for, [go], timeout=0.01)
    with pytest.raises(TimeoutError):
        next(results)
    go.set()


def test_an_error_ends_a_map(executor: treadle.Executor) -> None:
    results = executor.map(tasks.positive_square, [1, -2, 3])
    assert next(results) == 1
    with pytest.raises(ValueError, match="-2 is negative"):
        next(results)
    assert list(results) == []


def test_map_refuses_what_makes_no_sense(executor: treadle.Executor) -> None:
    with pytest.raises(ValueError, match="chunksize"):
        executor.map(abs, [1], chunksize=0)
    with pytest.raises(ValueError, match="buffersize must be None or > 0"):
        executor.map(abs, [1], buffersize=0)


# ---- cancel


def test_a_running_future_can_be_cancelled(executor: treadle.Executor) -> None:
    began = treadle.Event()
    future = executor.submit(tasks.begin_and_stay, began)
    began.wait()
    assert future.running()
    assert future.cancel()
    assert future.cancelled()
    assert not future.running()
    with pytest.raises(CancelledError):
        future.result()
    barrier = treadle.Barrier(2)
    both = [executor.submit(barrier.wait) for _ in range(2)]
    assert {each.result() for each in both} == {0, 1}


def test_cancelling_twice_and_late(
    executor: treadle.Executor, caplog: pytest.LogCaptureFixture
) -> None:
    began = treadle.Event()
    future = executor.submit(tasks.begin_and_stay, began)
    with caplog.at_level(logging.DEBUG):
        assert future.cancel()
        assert future.cancel()
    assert not caplog.records
    done = executor.submit(int)
    done.result()
    assert not done.cancel()


def test_who_waits_for_a_cancelled_future_is_told(executor: treadle.Executor, other: Any) -> None:
    began = treadle.Event()
    future = executor.submit(tasks.begin_and_stay, began)
    began.wait()
    asked = other.start(lambda: next(concurrent.futures.as_completed([future])))
    future.cancel()
    assert asked.result() is future


def test_a_future_is_running_in_its_further_attempts_as_well() -> None:
    attempts, second = treadle.Queue(), treadle.Event()

    def fail_and_then_stay() -> None:
        attempts.put(0)
        if attempts.qsize() == 1:
            raise LookupError
        tasks.begin_and_stay(second)

    with new_executor("fork", retries=1) as executor:
        future = executor.submit(fail_and_then_stay)
        second.wait()
        assert future.running()
        assert future.cancel()
        assert executor.submit(tasks.square, 3).result() == 9


# ---- shutdown


@thread_or_process
def test_shutdown_waits_for_what_was_submitted(kind: str) -> None:
    executor = new_executor(kind, 2)
    futures = [executor.submit(tasks.square, x) for x in range(20)]
    results = executor.map(tasks.square, range(20))
    executor.shutdown()
    executor.shutdown()
    assert all(future.done() for future in futures)
    assert list(results) == [x * x for x in range(20)]
    for call in (executor.submit, executor.map):
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            call(int)


@thread_or_process
def test_shutdown_need_not_wait(kind: str) -> None:
    go = treadle.Event()
    executor = new_executor(kind)
    future = executor.submit(tasks.wait_for, go, "done")
    executor.shutdown(wait=False)
    assert not future.done()
    go.set()
    assert future.result() == "done"
    executor.shutdown()


@thread_or_process
def test_shutdown_cancels_what_has_not_begun(kind: str) -> None:
    began, go = treadle.Event(), treadle.Event()
    executor = new_executor(kind)
    running = executor.submit(tasks.begin_and_wait, began, go, "done")
    began.wait()
    waiting = [executor.submit(tasks.square, x) for x in range(20)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in waiting)
    go.set()
    assert running.result() == "done"
    executor.shutdown()


@thread_or_process
@pytest.mark.parametrize("buffersize", [None, 4])
def test_shutdown_cancels_the_items_of_a_map(kind: str, buffersize: int | None) -> None:
    began, go = treadle.Event(), treadle.Event()
    executor = new_executor(kind)
    running = executor.submit(tasks.begin_and_wait, began, go, "done")
    began.wait()
    results = executor.map(tasks.square, range(100), buffersize=buffersize)
    executor.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(CancelledError):
        next(results)
    go.set()
    assert running.result() == "done"
    executor.shutdown()


@thread_or_process
def test_an_executor_that_is_dropped_does_its_work_first(kind: str) -> None:
    go = treadle.Event()
    executor = new_executor(kind)
    engine = executor._engine
    futures = [executor.submit(tasks.wait_for, go, x) for x in range(5)]
    del executor
    until(lambda: engine.closed)
    go.set()
    assert [future.result() for future in futures] == list(range(5))
    engine.over.wait()


# ---- asyncio


def test_an_event_loop_runs_its_calls_in_it(executor: treadle.Executor) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(executor, tasks.square, 3) == 9
        many = [loop.run_in_executor(executor, tasks.square, x) for x in range(50)]
        assert await asyncio.gather(*many) == [x * x for x in range(50)]
        with pytest.raises(LookupError, match="no"):
            await loop.run_in_executor(executor, tasks.fail, "no")
        assert await asyncio.wrap_future(executor.submit(tasks.square, 4)) == 16

    asyncio.run(main())


def test_a_task_that_is_cancelled_stops_the_call(executor: treadle.Executor) -> None:
    async def main() -> None:
        began = treadle.Event()
        future = executor.submit(tasks.begin_and_stay, began)
        waiting = asyncio.ensure_future(asyncio.wrap_future(future))
        await began.aio.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await loops.until(future.cancelled)

    asyncio.run(main())
    barrier = treadle.Barrier(2)
    both = [executor.submit(barrier.wait) for _ in range(2)]
    assert {each.result() for each in both} == {0, 1}
