"""What goes to a worker and what comes back: functions, arrays, and what cannot make the way."""

from __future__ import annotations

import functools
import operator
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import treadle
from tests.pool import tasks
from tests.pool.kinds import over

pytestmark = [pytest.mark.slow, over("fork", "spawn")]


class Adder:
    def __init__(self, n: int) -> None:
        self.n = n

    def add(self, m: int) -> int:
        return self.n + m

    def __call__(self, m: int) -> int:
        return self.n + m


# ---- Functions


@pytest.mark.parametrize("what", ["lambda", "closure", "partial", "method", "object", "built-in"])
def test_whatever_can_be_called_can_be_sent(pool: treadle.Pool, what: str) -> None:
    n = 40

    def closure(m: int) -> int:
        return n + m

    function: Callable[[int], int] = {
        "lambda": lambda m: n + m,
        "closure": closure,
        "partial": functools.partial(operator.add, n),
        "method": Adder(n).add,
        "object": Adder(n),
        "built-in": n.__add__,
    }[what]
    assert pool.apply(function, (2,)) == 42
    assert pool.map(function, [1, 2]) == [41, 42]
    assert list(pool.imap(function, [1, 2])) == [41, 42]


def test_a_closure_is_sent_as_it_is_at_the_call(pool: treadle.Pool) -> None:
    numbers = [1, 2]
    first = pool.apply_async(lambda: sum(numbers))
    numbers.append(3)
    assert pool.apply(lambda: sum(numbers)) == 6
    assert first.get() == 3


def test_a_function_may_return_a_function(pool: treadle.Pool) -> None:
    def make(n: int) -> Callable[[int], int]:
        return lambda m: n + m

    assert pool.apply(make, (40,))(2) == 42


def test_shared_objects_are_the_same_ones_there(pool: treadle.Pool) -> None:
    lock, queue = treadle.Lock(), treadle.Queue()

    def count(_: int) -> None:
        with lock:
            queue.put(queue.qsize())

    pool.map(count, range(100), 1)
    assert queue.get_many(100) == list(range(100))


# ---- Arrays


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_arrays_go_there_and_back(pool: treadle.Pool, size: int) -> None:
    array = np.arange(size)
    assert np.array_equal(pool.apply(np.negative, (array,)), -array)
    for result in pool.map(np.negative, [array] * 5):
        assert np.array_equal(result, -array)
    assert pool.starmap(np.vdot, [(array[:5], array[:5])]) == [30]


def test_arrays_can_be_written_to_at_both_ends(pool: treadle.Pool) -> None:
    def double(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        array *= 2
        return array

    array = np.ones(1 << 18)
    result = pool.apply(double, (array,))
    result += 1
    assert (result == 3).all()
    assert (array == 1).all()  # the caller's own stays


@pytest.mark.parametrize("view", ["strided", "transposed", "reversed", "empty", "of objects"])
def test_arrays_that_are_not_in_one_piece(pool: treadle.Pool, view: str) -> None:
    base = np.arange(1 << 16).reshape(256, 256)
    array = {
        "strided": base[::2, ::3],
        "transposed": base.T,
        "reversed": base[::-1],
        "empty": base[:0],
        "of objects": base.astype(object),
    }[view]
    assert np.array_equal(pool.apply(np.copy, (array,)), array)


def test_large_bytes(pool: treadle.Pool) -> None:
    data = bytes(range(256)) * (1 << 14)
    assert pool.apply(bytes.upper, (data,)) == data.upper()
    assert pool.apply(len, (memoryview(data).tobytes(),)) == len(data)
    assert pool.map(len, [data] * 20) == [len(data)] * 20


# ---- What cannot be sent


def check_goes_on(pool: treadle.Pool) -> None:
    assert pool.map(tasks.square, range(4)) == [0, 1, 4, 9]


def test_a_function_that_cannot_be_pickled(pool: treadle.Pool) -> None:
    lock = threading.Lock()
    for call in (
        lambda: pool.apply(lambda: lock),
        lambda: pool.map(lambda _: lock, [1, 2]),
        lambda: list(pool.imap(lambda _: lock, [1, 2])),
    ):
        with pytest.raises(treadle.TaskError, match=r"the function .*<lambda>\(\) cannot be sent"):
            call()
    check_goes_on(pool)


def test_arguments_that_cannot_be_pickled(pool: treadle.Pool) -> None:
    with pytest.raises(
        treadle.TaskError, match=r"the arguments of repr\(\) cannot be sent \(TypeError: .*lock"
    ) as caught:
        pool.apply(repr, (threading.Lock(),))
    assert isinstance(caught.value.__cause__, TypeError)
    with pytest.raises(treadle.TaskError, match="the arguments of"):
        pool.apply(dict, kwds={"lock": threading.Lock()})
    check_goes_on(pool)


class Fragile:
    """Pickles, and cannot be rebuilt."""

    def __reduce__(self) -> Any:
        return int, ("not a number",)


def make_fragile(*ignored: object) -> Fragile:
    return Fragile()


def test_arguments_that_cannot_be_rebuilt(pool: treadle.Pool) -> None:
    with pytest.raises(
        treadle.TaskError,
        match=r"the arguments of repr\(\) cannot be rebuilt in a worker.*not a number",
    ):
        pool.apply(repr, (Fragile(),))
    check_goes_on(pool)


def test_a_function_that_cannot_be_rebuilt(pool: treadle.Pool) -> None:
    fragile = Fragile()
    with pytest.raises(treadle.TaskError, match=r"function of this task cannot be rebuilt"):
        pool.apply(lambda: fragile)
    with pytest.raises(treadle.TaskError, match=r"function of this task cannot be rebuilt"):
        pool.map(lambda _: fragile, range(20))
    check_goes_on(pool)


def test_a_result_that_cannot_be_pickled(pool: treadle.Pool) -> None:
    with pytest.raises(treadle.TaskError, match=r"the result of .*lock\(\) cannot be sent"):
        pool.apply(threading.Lock)
    check_goes_on(pool)


def test_a_result_that_cannot_be_rebuilt(pool: treadle.Pool) -> None:
    with pytest.raises(
        treadle.TaskError, match=r"the result of .*make_fragile\(\) cannot be rebuilt here"
    ):
        pool.apply(make_fragile)
    check_goes_on(pool)


@pytest.mark.parametrize("chunksize", [1, 3, 5, 100])
@pytest.mark.parametrize("bad", ["argument", "argument there", "result", "result here"])
def test_only_the_item_fails_that_cannot_make_the_way(
    pool: treadle.Pool, bad: str, chunksize: int
) -> None:
    def pass_on(item: Any) -> Any:
        if item == 2:
            if bad == "result":
                return threading.Lock()
            if bad == "result here":
                return Fragile()
        return [item]

    items: list[Any] = [0, 1, 2, 3, 4]
    if bad == "argument":
        items[2] = threading.Lock()
    elif bad == "argument there":
        items[2] = Fragile()
    results = pool.imap(pass_on, items, chunksize)
    got: list[Any] = []
    for _ in items:
        try:
            got.append(next(results))
        except treadle.TaskError:
            got.append("bad")
    assert got == [[0], [1], "bad", [3], [4]]
    assert list(results) == []
    with pytest.raises(treadle.TaskError):
        pool.map(pass_on, items, chunksize)
    check_goes_on(pool)


# ---- Exceptions


class Demanding(Exception):
    """Pickles, and cannot be rebuilt: its arguments are not those of its constructor."""

    def __init__(self, what: str, *, why: str) -> None:
        super().__init__(f"{what}: {why}")


class Own(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code


def _raise(make: Callable[[], BaseException]) -> None:
    raise make()


@pytest.mark.parametrize(
    "make",
    [lambda: Demanding("a", why="b"), lambda: ValueError(threading.Lock())],
    ids=["cannot be rebuilt", "cannot be pickled"],
)
def test_an_exception_that_cannot_travel_is_told_as_a_text(
    pool: treadle.Pool, make: Callable[[], BaseException]
) -> None:
    with pytest.raises(
        treadle.TaskError,
        match=r"worker \d \(pid \d+\) raised an exception that cannot be pickled and rebuilt",
    ) as caught:
        pool.apply(_raise, (make,))
    assert type(make()).__name__ in str(caught.value)
    assert "in _raise" in str(caught.value.__cause__)
    with pytest.raises(treadle.TaskError):
        pool.map(_raise, [make] * 20)
    check_goes_on(pool)


def test_an_exception_keeps_what_it_has(pool: treadle.Pool) -> None:
    with pytest.raises(Own) as caught:
        pool.apply(_raise, (lambda: Own(7, "seven"),))
    assert (caught.value.code, caught.value.args) == (7, (7, "seven"))


def test_an_exception_of_a_class_that_only_this_program_knows(pool: treadle.Pool) -> None:
    class Local(Exception):
        pass

    with pytest.raises(Local, match="mine"):
        pool.apply(_raise, (lambda: Local("mine"),))
