"""Pool.apply and apply_async: values, errors, callbacks, and what an AsyncResult tells."""

from __future__ import annotations

import multiprocessing
import threading
import traceback
from typing import Any

import pytest

import treadle
from tests.pool import tasks

pytestmark = pytest.mark.slow  # of spawned workers


# ---- apply


def test_a_call_is_made_with_its_arguments(pool: treadle.Pool) -> None:
    assert pool.apply(divmod, (7, 2)) == (3, 1)
    assert pool.apply(int, ("ff",), {"base": 16}) == 255
    assert pool.apply(dict, kwds={"a": 1}) == {"a": 1}
    assert pool.apply(int) == 0
    assert pool.apply(divmod, [7, 2]) == (3, 1)
    assert pool.apply(sum, iter([(1, 2)])) == 3


def test_functions_need_no_name(pool: treadle.Pool) -> None:
    n = 40

    def closure(m: int) -> int:
        return n + m

    assert pool.apply(lambda: n) == 40
    assert pool.apply(closure, (2,)) == 42
    assert pool.apply("".join, (["a", "b"],)) == "ab"
    assert pool.apply(lambda make: make(), (lambda: n,)) == 40


def test_an_error_is_raised_where_the_result_is_asked_for(pool: treadle.Pool) -> None:
    with pytest.raises(LookupError, match="no such thing") as caught:
        pool.apply(tasks.fail, ("no such thing",))
    assert "in fail" in "".join(traceback.format_exception(caught.value))
    assert pool.apply(tasks.square, (3,)) == 9


def test_an_error_of_a_process_has_the_traceback_there_as_its_cause(pool: treadle.Pool) -> None:
    with pytest.raises(LookupError) as caught:
        pool.apply(tasks.fail)
    if pool.statistics().kind == "process":
        assert isinstance(caught.value.__cause__, treadle.RemoteTraceback)
        assert "in fail" in str(caught.value.__cause__)


def test_a_task_that_ends_itself_has_no_result(pool: treadle.Pool) -> None:
    with pytest.raises(treadle.TaskError, match=r"exit.* ended itself by SystemExit\(3\)"):
        pool.apply(exit_with, (3,))
    assert pool.apply(tasks.square, (3,)) == 9


def exit_with(code: int) -> None:
    raise SystemExit(code)


def test_a_task_may_raise_what_is_no_exception_proper(pool: treadle.Pool) -> None:
    for kind in (KeyboardInterrupt, GeneratorExit, StopIteration, Unusual):
        with pytest.raises(kind):
            pool.apply(raise_one, (kind,))
    assert pool.apply(tasks.square, (3,)) == 9


class Unusual(BaseException):
    pass


def raise_one(kind: type[BaseException]) -> None:
    raise kind


def test_a_task_may_raise_a_group(pool: treadle.Pool) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        pool.apply(raise_a_group)
    assert [type(error) for error in caught.value.exceptions] == [KeyError, ValueError]


def raise_a_group() -> None:
    raise ExceptionGroup("both", [KeyError(1), ValueError(2)])


# ---- apply_async


def test_a_result_is_asked_for_as_in_the_standard_library(pool: treadle.Pool) -> None:
    began, go = treadle.Event(), treadle.Event()
    result = pool.apply_async(tasks.begin_and_wait, (began, go, "value"))
    began.wait()
    assert not result.ready()
    result.wait(timeout=0.001)
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(timeout=0.001)
    with pytest.raises(TimeoutError, match=r"no result after 0 s: ask again"):
        result.get(0)
    go.set()
    assert result.get() == "value"
    assert result.get(timeout=0) == "value"  # as often as one likes
    assert result.ready()
    assert result.successful()


def test_a_failed_result_says_so_each_time(pool: treadle.Pool) -> None:
    result = pool.apply_async(tasks.fail, ("no",))
    result.wait()
    assert result.ready()
    assert not result.successful()
    for _ in range(2):
        with pytest.raises(LookupError, match="no"):
            result.get()


def test_several_threads_may_wait_for_a_result(pool: treadle.Pool, other: Any) -> None:
    began, go = treadle.Event(), treadle.Event()
    result = pool.apply_async(tasks.begin_and_wait, (began, go, "value"))
    began.wait()
    asked = other.start(result.get)
    go.set()
    assert result.get() == asked.result() == "value"


def test_results_come_as_they_are_done(pool: treadle.Pool) -> None:
    """Not in the order of the calls: one waits for what is asked for later."""
    go = treadle.Event()
    first = pool.apply_async(tasks.wait_for, (go, 1))
    second = pool.apply_async(tasks.square, (2,))
    assert second.get() == 4
    assert not first.ready()
    go.set()
    assert first.get() == 1


def test_many_calls(pool: treadle.Pool) -> None:
    results = [pool.apply_async(tasks.square, (x,)) for x in range(1000)]
    assert [result.get() for result in results] == [x * x for x in range(1000)]


def test_a_result_can_be_annotated_with_its_type() -> None:
    assert treadle.AsyncResult[int].__args__ == (int,)
    assert treadle.MapResult[int].__args__ == (int,)
    assert treadle.ImapIterator[int].__args__ == (int,)


# ---- Callbacks


def test_a_callback_gets_the_value(pool: treadle.Pool) -> None:
    called: treadle.Queue[Any] = treadle.Queue(shared=False)
    pool.apply_async(tasks.square, (3,), None, called.put, called.shutdown)
    assert called.get() == 9
    pool.apply_async(tasks.square, (4,), callback=called.put)
    assert called.get() == 16


def test_an_error_callback_gets_the_error(pool: treadle.Pool) -> None:
    called: treadle.Queue[Any] = treadle.Queue(shared=False)
    result = pool.apply_async(
        tasks.fail, ("no",), callback=called.shutdown, error_callback=called.put
    )
    error = called.get()
    assert isinstance(error, LookupError)
    with pytest.raises(LookupError) as caught:
        result.get()
    assert caught.value is error


def test_a_callback_may_ask_for_the_result_and_make_calls(pool: treadle.Pool) -> None:
    """It is there before the callback is called, which may not wait for another one."""
    there, called = treadle.Event(shared=False), treadle.Queue(shared=False)

    def go_on(value: int) -> None:
        there.wait()
        called.put((result.get(), pool.apply_async(tasks.square, (value,))))

    result = pool.apply_async(tasks.square, (3,), callback=go_on)
    there.set()
    value, following = called.get()
    assert (value, following.get()) == (9, 81)


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_what_a_callback_raises_is_reported_and_harms_nobody(
    pool: treadle.Pool, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: treadle.Queue[Any] = treadle.Queue(shared=False)
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.put(args.exc_type))

    def complain(value: object) -> None:
        raise kind

    assert pool.apply_async(tasks.square, (3,), callback=complain).get() == 9
    assert reported.get() is kind
    with pytest.raises(LookupError):
        pool.apply_async(tasks.fail, error_callback=complain).get()
    assert reported.get() is kind
    assert pool.apply(tasks.square, (4,)) == 16
