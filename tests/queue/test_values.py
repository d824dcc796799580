"""What is got is what was put: value and type, at any size and depth."""

from __future__ import annotations

import functools
import math
import operator
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import treadle
from tests.queue.values import SUBCLASSED, Int, Job, Point, same, unhurried, values

LARGEST_FRAME = 8192  # what is larger does not lie in the ring
LARGE_BUFFER = 1 << 20

here = treadle.Queue(label="here")  # for tests that leave nothing in it


def passed(item: object) -> Any:
    here.put(item)
    return here.get()


@pytest.mark.slow
@unhurried(max_examples=200)
@given(values)
@example(())
@example(float("nan"))
@example(-0.0)
@example((True, 1, 1.0, Int(1)))
@example([()])
def test_any_value_comes_back(value: object) -> None:
    assert same(passed(value), value)


@pytest.mark.slow
@unhurried(max_examples=50)
@given(st.lists(values, max_size=30), st.integers(1, 30))
def test_any_batch_comes_back(items: list[object], at_most: int) -> None:
    here.put_many(items)
    got: list[object] = []
    while len(got) < len(items):
        got += here.get_many(at_most)
    assert same(got, items)


@pytest.mark.slow
@unhurried(max_examples=50)
@given(values)
def test_any_value_can_be_leased_returned_and_leased_again(value: object) -> None:
    here.put(value)
    here.lease().nack()
    with here.lease() as lease:
        assert same(lease.item, value)
        assert lease.deliveries == 2


@pytest.mark.parametrize("value", SUBCLASSED, ids=lambda value: type(value).__name__)
def test_subclasses_keep_their_type(value: object) -> None:
    assert same(passed(value), value)
    assert same(passed((value, (value,))), (value, (value,)))


@pytest.mark.parametrize("bits", [0, 1, 8, 31, 32, 62, 63, 64, 65, 127, 1000, 100_000])
def test_integers_of_any_size(bits: int) -> None:
    for number in (1 << bits, (1 << bits) - 1, -(1 << bits), -(1 << bits) - 1):
        assert same(passed(number), number)


@pytest.mark.parametrize(
    "number",
    [0.0, -0.0, math.inf, -math.inf, math.nan, -math.nan, 5e-324, sys.float_info.max, 0.1],
)
def test_floats_bit_by_bit(number: float) -> None:
    assert same(passed(number), number)
    assert same(passed((number,)), (number,))


# Around every size at which an item travels otherwise.
SIZES = [
    size + near
    for size in (8, LARGEST_FRAME, 65_536, LARGE_BUFFER)
    for near in range(-18, 3)
    if size + near >= 0
]


def test_bytes_of_any_size() -> None:
    for size in SIZES:
        data = bytes([size % 251]) * size
        for item in (data, bytearray(data), (data,), [data], (1, data)):
            assert same(passed(item), item), size


@pytest.mark.parametrize("letter", ["a", "é", "€", "𝄞", "\udc80"])
def test_strings_of_any_size(letter: str) -> None:
    per_letter = len(letter.encode("utf-8", "surrogatepass"))
    for size in (s // per_letter for s in SIZES if s < 100_000):
        text = letter * size
        assert passed(text) == text
        assert passed((text, size)) == (text, size)
    assert passed(letter * (1 << 20)) == letter * (1 << 20)


@pytest.mark.parametrize("length", [0, 1, 900, 909, 910, 911, 1000, 1638, 1639, 100_000])
def test_tuples_of_any_length(length: int) -> None:
    for item in (tuple(range(length)), (None,) * length, ("",) * length):
        assert same(passed(item), item)


@pytest.mark.parametrize("depth", [1, 30, 31, 32, 33, 34, 200])
def test_deep_nesting(depth: int) -> None:
    tuples = functools.reduce(lambda inner, n: (inner, n), range(depth), ())
    lists = functools.reduce(lambda inner, n: [inner, n], range(depth), [])
    assert same(passed(tuples), tuples)
    assert same(passed(lists), lists)
    assert same(passed((lists, tuples)), (lists, tuples))


@pytest.mark.parametrize("wrap", [lambda inner: (inner,), lambda inner: [inner]])
def test_nesting_too_deep_for_pickle_is_the_caller_s_error(wrap: Any) -> None:
    item: Any = ()
    for _ in range(50_000):
        item = wrap(item)
    with pytest.raises(RecursionError):
        here.put(item)
    assert here.empty()
    while item:  # taken apart by hand: its destruction would recurse
        item = item[0]


def test_a_value_may_contain_itself() -> None:
    loop: list[Any] = []
    loop.append((loop,))
    got = passed(loop)
    assert got[0][0] is got


def test_an_object_met_twice_is_one_object_still() -> None:
    part = ["part"]
    one, two = passed([part, part])
    assert one is two


def test_functions_that_pickle_cannot_name_cross_as_well() -> None:
    offset = 5
    assert passed(lambda number: number + offset)(2) == 7
    assert passed({"add": functools.partial(operator.add, 1)})["add"](2) == 3

    class Local:
        value = offset

    assert passed(Local()).value == 5


@pytest.mark.parametrize(
    "item",
    [
        ValueError("with", "arguments"),
        {1, 2, 3},
        frozenset({"a"}),
        complex(1, -2),
        range(10),
        ...,
        Job("job", ({"a": [1]},)),
        int,
        len,
        Point,
    ],
    ids=repr,
)
def test_whatever_can_be_pickled_crosses(item: Any) -> None:
    got = passed(item)
    assert type(got) is type(item)
    assert got.args == item.args if isinstance(item, Exception) else got == item
