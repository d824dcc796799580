"""Values of every kind that a queue carries, and what it means that one arrives as it was sent."""

from __future__ import annotations

import enum
import functools
import struct
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# A machine that is busy with other tests is no failure.
unhurried = functools.partial(settings, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Int(int): ...


class Float(float): ...


class Str(str): ...


class Bytes(bytes): ...


class Tuple(tuple): ...


class Colour(enum.IntEnum):
    RED = 1
    GREEN = 2


class Flavour(enum.StrEnum):
    SWEET = "sweet"


Point = namedtuple("Point", "x y")


@dataclass(frozen=True)
class Job:
    name: str
    arguments: tuple[object, ...]


SUBCLASSED = [
    Int(5),
    Int(1 << 80),
    Float(0.5),
    Str("text"),
    Str("\udcff"),
    Bytes(b"bytes"),
    Tuple((1, 2)),
    Colour.GREEN,
    Flavour.SWEET,
    Point(1, Point(2.0, "y")),
    Job("name", (1, "a")),
]


def same(one: Any, other: Any) -> bool:
    """Equal, of equal types all the way down; floats bit by bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, Job):
        return same((one.name, one.arguments), (other.name, other.arguments))
    return bool(one == other)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(1 << 63) - 2, -(1 << 63) + 2),
    st.integers((1 << 63) - 2, (1 << 63) + 2),
    st.floats(width=64),
    st.text(),
    st.text(st.characters(exclude_categories=())),  # lone surrogates as well
    st.binary(),
    st.sampled_from(SUBCLASSED),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.tuples(inner, inner),
        st.lists(inner).map(tuple),
        st.lists(inner),
        st.dictionaries(st.text(), inner, max_size=4),
    ),
    max_leaves=20,
)
