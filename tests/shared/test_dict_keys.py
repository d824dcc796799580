"""Which keys of a Dict are one, and what comes back of them."""

from __future__ import annotations

import collections
import datetime
import enum
import uuid
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pytest

import treadle


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Point(NamedTuple):
    x: int
    y: int


@dataclass(frozen=True)
class Place:
    street: str
    number: int


class Text(str):
    pass


class Loud(str):
    """Equal to what is not equal to it."""

    def __eq__(self, other: object) -> bool:
        return str(self).upper() == str(other).upper()

    __hash__ = str.__hash__


class Slotted:
    __slots__ = ("a",)

    def __init__(self, a: Any) -> None:
        self.a = a


_ONE = [
    [1, 1.0, True, Size.SMALL, Fraction(1), Decimal("1.0"), 1 + 0j],
    [1, np.int64(1), np.float32(1), 1.0],
    [True, np.True_, 1],
    [0, -0.0, False, Fraction(0), Decimal("-0")],
    [0.5, Fraction(1, 2), Decimal("0.50"), 0.5 + 0j],
    [0.5, np.float64(0.5), np.float16(0.5)],
    [2**70, float(2**70), Fraction(2**70), Decimal(2**70)],
    [-(2**63), -float(2**63)],
    [2**63, float(2**63)],
    [Fraction(1, 3), Fraction(2, 6)],
    [Decimal("0.1"), Fraction(1, 10)],
    [float("inf"), Decimal("inf"), np.float64("inf")],
    ["a", Text("a"), np.str_("a")],
    [(1, 2), (1.0, True + 1), Point(1, 2)],
    [frozenset([1, "a", (2,)]), frozenset([(2.0,), "a", True])],
    [b"a", np.bytes_(b"a")],
    [1e300, int(1e300)],
]  # fmt: skip


@pytest.mark.parametrize("same", _ONE, ids=lambda same: repr(same[0])[:20])
def test_equal_keys_are_one_key_and_the_first_comes_back(same: list[Any]) -> None:
    for first in same:
        shared, model = treadle.Dict[Any, int](), {}
        for at, key in enumerate([first, *same]):
            assert hash(key) == hash(first)
            shared[key] = model[key] = at
        assert len(model) == 1
        assert shared == model
        (back,) = shared
        assert type(back) is type(first)
        assert repr(back) == repr(first)


_OTHERS: list[Any] = [
    1, 2, 0.1, Decimal("0.1"), "1", b"1", "", b"", (), (1,), ((1,),), (1, 1), None, "None",
    frozenset(), frozenset([1]), frozenset([()]), 1j, -1j, complex(1, 1), float("inf"),
    float("-inf"), 2**64, -(2**64), 2**53, 2**53 + 1, "\ud800", "\0", "a\0", Color.RED,
    Color.BLUE, Place("a", 1), Place("a", 2), int, str, len, uuid.UUID(int=1), uuid.UUID(int=2),
    PurePosixPath("a"), datetime.date(2024, 1, 1), Slotted(1), Slotted([1, {"a": 2}, {3}]),
    Slotted({3}), Loud("a"), "a", range(3), ("a", "b"), ("ab",), ("a", b"b"), Fraction(1, 3),
    object(), collections.OrderedDict.fromkeys, float("nan"),
]  # fmt: skip


def test_what_is_not_equal_is_another_key_and_all_come_back() -> None:
    shared = treadle.Dict[Any, int]((key, at) for at, key in enumerate(_OTHERS))
    assert list(shared.values()) == list(range(len(_OTHERS)))
    for at, key in enumerate(_OTHERS):
        assert shared[key] == at
    for key, back in zip(_OTHERS, shared, strict=True):
        assert type(back) is type(key)
        if type(key) not in (object, Slotted) and key == key:
            assert back == key


def test_objects_are_the_same_key_by_their_class_and_state() -> None:
    shared = treadle.Dict[Any, int]({Slotted([1, {"a": {1, 2}, "b": 0}]): 1})
    assert shared[Slotted([1.0, {"b": False, "a": {2, True}}])] == 1
    assert Slotted([1]) not in shared
    shared[float("nan")] = 2
    assert shared[-float("nan")] == shared[np.float64("nan")] == 2


def test_a_deep_key_comes_back_and_an_endless_one_is_refused() -> None:
    deep: Any = 1
    for _ in range(100):
        deep = (deep,)
    shared = treadle.Dict({deep: 1})
    assert list(shared) == [deep]
    endless = Slotted(None)
    endless.a = endless
    with pytest.raises(RecursionError):
        shared[endless] = 1
    assert len(shared) == 1


def test_only_a_form_that_is_needed_takes_memory() -> None:
    plain, formed = treadle.Dict({2: 1}), treadle.Dict({2.0: 1})
    assert plain.statistics().bytes < formed.statistics().bytes
