"""Atomic operations on integers: exact beside others, modulo 2**bits, and for integers alone."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import treadle
from tests.queue.workers import Start
from tests.sync.children import forked
from tests.values import work
from tests.values.test_values import CODES, TYPES

_TIMES = 3000


def test_nothing_is_lost_between_threads_and_processes(start: Start) -> None:
    value, array = treadle.Value("H"), treadle.Array("q", 4)
    kinds = ["thread", "thread", "fork", "fork"]
    for worker in [start(kind, work.count, value, array, _TIMES) for kind in kinds]:
        worker.join()
    total = len(kinds) * _TIMES
    assert (value.value, array[:]) == (total % 2**16, [0, 2 * total, 3 * total, total])


def wrapped(code: str, number: int) -> int:
    kept: int = TYPES[code](number).value
    return kept


_numbers = st.integers(-(2**66), 2**66) | st.integers(-3, 3)


@pytest.mark.slow
@given(code=st.sampled_from(CODES), numbers=st.lists(_numbers, min_size=3, max_size=3))
def test_each_operation_does_what_its_steps_would(code: str, numbers: list[int]) -> None:
    first, second, third = numbers
    value, array = treadle.Value(code), treadle.Array(code, 3)
    value.store(first)
    array.store(1, first)
    now = wrapped(code, first)
    assert value.load() == array.load(1) == array.load(-2) == value.value == now
    assert value.fetch_add(second) == array.fetch_add(1, second) == now
    now = wrapped(code, now + second)
    assert value.exchange(third) == array.exchange(-2, third) == now
    now = wrapped(code, third)
    fits = now == first
    assert value.compare_exchange(first, second) is array.compare_exchange(1, first, second) is fits
    now = wrapped(code, second) if fits else now
    assert value.compare_exchange(now, first) is array.compare_exchange(1, now, first) is True
    assert value.value == array[1] == wrapped(code, first)
    assert (array[0], array[2]) == (0, 0)


class Small(ctypes.c_int):
    pass


@pytest.mark.parametrize("of", ["f", "d", "c", "u", ctypes.c_bool, Small])
def test_what_is_no_plain_integer_says_so(of: Any) -> None:
    value, array = treadle.Value(of), treadle.Array(of, 1)
    for call in (
        value.load,
        lambda: value.fetch_add(1),
        lambda: value.compare_exchange(0, 1),
        lambda: array.load(0),
        lambda: array.store(0, 1),
    ):
        with pytest.raises(TypeError, match="no integer of a fixed size"):
            call()


def test_wrong_arguments_change_nothing() -> None:
    value, array = treadle.Value("i", 5), treadle.Array("i", [5, 6])
    for wrong in (1.0, "1", None):
        with pytest.raises(TypeError):
            value.fetch_add(wrong)
        with pytest.raises(TypeError):
            value.compare_exchange(5, wrong)
        with pytest.raises(TypeError):
            value.compare_exchange(wrong, 5)
        with pytest.raises(TypeError):
            array.store(wrong, 1)
    for index in (2, -3, 2**70):
        with pytest.raises(IndexError):
            array.fetch_add(index, 1)
    with pytest.raises(IndexError):
        treadle.Array("i", 0).load(0)
    assert (value.value, array[:]) == (5, [5, 6])


def _count_for_ever(line: Any, value: treadle.Synchronized, array: Any) -> None:
    line.send("counting")
    while True:
        array[value.fetch_add(1) % 2] = 2**40 + 1


@pytest.mark.slow
def test_whoever_is_killed_leaves_a_whole_number() -> None:
    value, array = treadle.Value("Q"), treadle.RawArray("q", 2)
    for _ in range(10):
        with forked(_count_for_ever, value, array) as child:
            child.expect("counting")
            before = value.load()
            while value.load() < before + 100:
                pass
            child.kill()
        assert set(array) == {2**40 + 1}
        now = value.load()
        assert value.fetch_add(1) == now
