"""What a shared PriorityQueue is given comes out in Python's order, and equals as they came."""

from __future__ import annotations

import enum
import functools
import math
import sys
from collections import namedtuple
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import treadle
from tests.queue.values import unhurried

HALF_AN_ULP = 2**970  # of the largest doubles
LARGEST_INT = 2**1024 - HALF_AN_ULP - 1  # that rounds to one of them

# Between these every mistake of a rounding, a sign or a length shows.
EXACT_NUMBERS = sorted(
    {
        sign * (base + delta)
        for sign in (1, -1)
        for base in (0, 2**7, 2**8, 2**52, 2**53, 2**54, 2**62, 2**63, 2**64, 2**100, 2**900)
        for delta in (-257, -256, -3, -2, -1, 0, 1, 2, 3, 255, 256)
    }
    | {sign * number for sign in (1, -1) for number in (LARGEST_INT, int(sys.float_info.max))}
)
EXACT_FLOATS = [
    sign * number
    for sign in (1.0, -1.0)
    for number in (
        *(0.0, 5e-324, sys.float_info.min, 0.1, 0.5, 1.0, 2.0**53, 2.0**53 + 2, 2.0**63, 2.0**64),
        *(2.0**100, math.nextafter(2.0**100, math.inf), 1e308, sys.float_info.max, math.inf),
    )
]

numbers = st.one_of(
    st.integers(),
    st.integers(-LARGEST_INT, LARGEST_INT),
    st.floats(allow_nan=False),
    st.booleans(),
    st.sampled_from(EXACT_NUMBERS),
    st.sampled_from(EXACT_FLOATS),
    st.floats(2.0**50, 2.0**70).map(int),
)
texts = st.text(st.characters() | st.sampled_from("\0\x01\xff\ud800\udfff\uffff\U00010000"))
data = st.binary(max_size=20) | st.lists(st.sampled_from(b"\0\1\xff")).map(bytes)
scalars = st.one_of(st.none(), numbers, data, texts)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=8)

_RANKS = {type(None): 0, bool: 1, int: 1, float: 1, bytes: 2, str: 3, tuple: 4}


def compare(one: Any, other: Any) -> int:
    """Python's order; and between what it cannot compare, the one that is documented."""
    ranks = (_RANKS[type(one)], _RANKS[type(other)])
    if ranks[0] != ranks[1]:
        return ranks[0] - ranks[1]
    if isinstance(one, tuple):
        for mine, its in zip(one, other, strict=False):
            if order := compare(mine, its):
                return order
        return len(one) - len(other)
    return 0 if one is None else (one > other) - (one < other)


def in_order(items: list[Any]) -> list[Any]:
    return sorted(items, key=functools.cmp_to_key(compare))  # stable


def through_a_queue(items: list[Any]) -> list[Any]:
    queue = treadle.PriorityQueue()
    queue.put_many(items)
    return queue.get_many(len(items)) if items else []


def same(some: list[Any], others: list[Any]) -> bool:
    """Are they the same, down to what == does not see (1 and True, 0.0 and -0.0)?"""
    return [*map(repr, some)] == [*map(repr, others)]


@given(st.lists(values, max_size=30))
@unhurried(max_examples=300)
@example([(1,), (1, 0), (), (0,), ((),), ((), ()), (((),),)])
@example(["a", "a\0", "a\0b", "ab", "", "\0", "\0\0", "\ud800", "\ue000", "\U00010000", "\uffff"])
@example([b"a", b"a\0", b"a\0\xff", b"a\xff", b"", b"\0", b"\0\xff", b"\xff"])
@example([("a", 1), ("a\0", 0), ("a",), (b"a", 2), (b"a\0", 1), ("", "")])
def test_any_values_come_out_in_order(items: list[Any]) -> None:
    assert same(through_a_queue(items), in_order(items))


@given(st.lists(numbers, max_size=30))
@unhurried(max_examples=300)
@example([1, True, 1.0, 0, False, -0.0, 0.0])
@example([2**53 + 1, float(2**53), 2**53, 2.0**53 + 2, 2**53 + 2])
@example([math.inf, LARGEST_INT, sys.float_info.max, -math.inf, -LARGEST_INT])
def test_numbers_of_all_types_are_compared_exactly(items: list[Any]) -> None:
    got = through_a_queue(items)
    assert got == sorted(items)
    assert same(got, in_order(items))


@pytest.mark.slow
def test_the_numbers_where_rounding_matters() -> None:
    items = [*EXACT_NUMBERS, *EXACT_FLOATS, *map(int, filter(math.isfinite, EXACT_FLOATS))]
    assert same(through_a_queue(items[::-1]), in_order(items[::-1]))
    assert through_a_queue(items) == sorted(items)


@given(st.lists(texts, max_size=30))
@unhurried(max_examples=200)
def test_strings_are_ordered_by_code_points(items: list[str]) -> None:
    assert through_a_queue(items) == sorted(items)


@given(st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(), max_size=3)), max_size=30))
@unhurried(max_examples=100)
def test_equal_priorities_come_out_as_they_came_whatever_is_behind(items: list[Any]) -> None:
    assert through_a_queue(items) == sorted(items, key=lambda item: item[0])


def test_an_item_goes_by_as_many_elements_as_can_be_ordered() -> None:
    queue = treadle.PriorityQueue()
    queue.put_many([(1, "b", {}), (1, "a", [], 0), (1, "a", {}, -1), (1, [2]), (0, {}, "z")])
    assert queue.get_many(10) == [
        (0, {}, "z"),
        (1, [2]),
        (1, "a", [], 0),
        (1, "a", {}, -1),
        (1, "b", {}),
    ]


class Reversed(int):
    def __lt__(self, other: int) -> bool:
        return int(self) > int(other)


class Level(enum.IntEnum):
    HIGH = 1
    LOW = 2


Job = namedtuple("Job", "priority name")


@pytest.mark.parametrize(
    "item",
    [
        {},
        [],
        object(),
        1j,
        bytearray(b"a"),
        math.nan,
        Reversed(1),
        ({}, 1),
        (math.nan, 1),
        ((1, {}), 2),
        ([1], 2),
        (Reversed(1), "job"),
        range(3),
    ],
    ids=repr,
)
def test_what_has_no_order_is_refused_and_nothing_is_put(item: Any) -> None:
    queue = treadle.PriorityQueue()
    for put in (queue.put, queue.put_nowait, lambda it: queue.put_many([1, it])):
        with pytest.raises(TypeError, match=r"put \(priority, item\)"):
            put(item)
    assert queue.statistics().puts == 0
    queue.put((1, item))
    assert queue.qsize() == 1


@pytest.mark.parametrize("number", [2**1024, -(2**1024), LARGEST_INT + 1, 10**400])
def test_an_int_beyond_all_doubles_is_refused(number: int) -> None:
    queue = treadle.PriorityQueue()
    for item in (number, (number, 1), (1, number), ((number,),)):
        with pytest.raises(OverflowError, match="1023 bits"):
            queue.put(item)
    assert queue.empty()


def test_subclasses_that_compare_as_their_base_are_ordered() -> None:
    queue = treadle.PriorityQueue()
    queue.put_many([(2, "b"), Job(1, "late"), Job(0, "soon"), (1, "early")])
    assert queue.get_many(4) == [(0, "soon"), (1, "early"), (1, "late"), (2, "b")]
    queue.put_many([(Level.LOW, []), (Level.HIGH, {}), (1, ())])
    assert queue.get_many(3) == [(1, {}), (1, ()), (2, [])]


def test_long_keys_are_compared_to_their_end() -> None:
    items: list[Any] = ["x" * length for length in (5000, 300, 20_000, 256, 257, 100_000)]
    items += [b"\0" * length for length in (5000, 300, 70_000)]
    items += ["x" * 5000 + "a", "x" * 5000 + "b", ("y" * 9000, 1), ("y" * 9000, 0)]
    items += [(*range(1000), last) for last in (3, 1, 2)]
    assert through_a_queue(items) == in_order(items)


def test_tuples_may_be_deep() -> None:
    def nested(depth: int, core: Any) -> Any:
        for _ in range(depth):
            core = (core,)
        return core

    items = [nested(90, number) for number in (3, 1, 2)]
    assert through_a_queue(items) == [nested(90, number) for number in (1, 2, 3)]
    with pytest.raises(TypeError, match="cannot be ordered"):
        treadle.PriorityQueue().put(nested(200, 1))
