"""Whatever is done in whatever order, a List does what a list does."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import treadle

pytestmark = [pytest.mark.slow, pytest.mark.watchdog(300)]  # a failure is simplified at length

items = st.one_of(
    st.integers(-5, 5),
    st.integers(),
    st.floats(allow_nan=False),
    st.booleans() | st.none(),
    st.text(max_size=12),
    st.binary(max_size=12),
    st.sampled_from([7_000, 8_190, 8_191, 8_192, 9_000, 70_000]).map(bytes),
    st.tuples(st.integers(), st.text(max_size=3)),
    st.lists(st.integers(), max_size=3),
)
indexes = st.integers(-8, 8)
bounds = st.none() | indexes
slices = st.builds(slice, bounds, bounds, st.sampled_from([None, 1, 1, 2, 3, -1, -2]))
batches = st.lists(items, max_size=6)


def outcome(call: Callable[[], Any]) -> Any:
    """What it returns, or the kind of its error."""
    try:
        return call()
    except (IndexError, ValueError, TypeError) as error:
        return type(error)


class ListMachine(RuleBasedStateMachine):
    """The model is a list. Two handles of one List are used in turn."""

    @initialize(start=batches)
    def make(self, start: list[Any]) -> None:
        shared = treadle.List[Any](start)
        self.handles = [shared, pickle.loads(pickle.dumps(shared))]
        self.model = list(start)

    @property
    def shared(self) -> treadle.List[Any]:
        self.handles.reverse()
        return self.handles[0]

    def both(self, call: Callable[[Any], Any]) -> None:
        mine, theirs = outcome(lambda: call(self.shared)), outcome(lambda: call(self.model))
        assert mine == theirs
        assert type(mine) is type(theirs)

    @rule(item=items)
    def append(self, item: Any) -> None:
        self.both(lambda it: it.append(item))

    @rule(batch=batches)
    def extend(self, batch: list[Any]) -> None:
        self.both(lambda it: it.extend(batch))

    @rule(index=indexes, item=items)
    def insert(self, index: int, item: Any) -> None:
        self.both(lambda it: it.insert(index, item))

    @rule(index=indexes)
    def pop(self, index: int) -> None:
        self.both(lambda it: it.pop(index))

    @rule(item=items)
    def remove(self, item: Any) -> None:
        self.both(lambda it: it.remove(item))

    @rule(index=indexes)
    def remove_what_is_there(self, index: int) -> None:
        self.both(lambda it: it.remove(it[index]))

    @rule(item=items, start=indexes, stop=indexes)
    def look_for(self, item: Any, start: int, stop: int) -> None:
        self.both(lambda it: it.index(item, start, stop))
        self.both(lambda it: it.count(item))
        self.both(lambda it: item in it)

    @rule(index=indexes)
    def get(self, index: int) -> None:
        self.both(lambda it: it[index])

    @rule(index=indexes, item=items)
    def set(self, index: int, item: Any) -> None:
        self.both(lambda it: it.__setitem__(index, item))

    @rule(index=indexes)
    def delete(self, index: int) -> None:
        self.both(lambda it: it.__delitem__(index))

    @rule(part=slices)
    def get_slice(self, part: slice) -> None:
        self.both(lambda it: it[part])

    @rule(part=slices, batch=batches)
    def set_slice(self, part: slice, batch: list[Any]) -> None:
        self.both(lambda it: it.__setitem__(part, batch))

    @rule(part=slices)
    def set_slice_as_long(self, part: slice) -> None:
        batch = self.model[part][::-1]
        self.both(lambda it: it.__setitem__(part, batch))

    @rule(part=slices)
    def delete_slice(self, part: slice) -> None:
        self.both(lambda it: it.__delitem__(part))

    @rule()
    def reverse(self) -> None:
        self.both(lambda it: it.reverse())

    @rule(reverse=st.booleans())
    def sort(self, reverse: bool) -> None:
        self.both(lambda it: it.sort(key=lambda item: len(repr(item)), reverse=reverse))

    @rule()
    def sort_what_may_not_compare(self) -> None:
        if outcome(lambda: sorted(self.model)) is not TypeError:
            self.both(lambda it: it.sort())
        else:
            assert outcome(self.shared.sort) is TypeError  # and it is as it was

    @rule(times=st.integers(-1, 3))
    def multiply(self, times: int) -> None:
        if len(self.model) * times > 40:
            return
        self.both(lambda it: it * times)
        self.both(lambda it: it.__imul__(times) is it)

    @rule(batch=batches)
    def add(self, batch: list[Any]) -> None:
        self.both(lambda it: it + batch)
        self.both(lambda it: batch + it)
        self.both(lambda it: it.__iadd__(tuple(batch)) is it)

    @rule(batch=batches)
    def compare(self, batch: list[Any]) -> None:
        self.both(lambda it: it < batch)
        self.both(lambda it: it >= batch)
        self.both(lambda it: it == batch)

    @rule()
    def clear(self) -> None:
        self.both(lambda it: it.clear())

    @invariant()
    def it_is_the_same(self) -> None:
        shared = self.shared
        assert list(shared) == self.model
        assert shared.copy() == self.model
        assert list(reversed(shared)) == self.model[::-1]
        assert len(shared) == len(self.model)
        assert repr(shared) == f"List({self.model!r})"


TestList = ListMachine.TestCase
TestList.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_nothing_is_left_of_what_was_in_a_list() -> None:
    shared = treadle.List[Any]()
    gc.collect()
    before = treadle.arena_statistics().blocks
    for _ in range(3):
        shared.extend([b"x" * 100, bytes(9000), {"a": 1}, treadle.Lock(), "x" * 30])
        shared.insert(1, shared[0])
        shared[::2] = [bytes(9001), "y" * 40, None]
        del shared[1:3]
        shared.sort(key=repr)
        shared *= 2
        shared.clear()
    treadle.sweep()
    from treadle._core import forget_pickled

    forget_pickled()
    assert treadle.arena_statistics().blocks <= before + 2
