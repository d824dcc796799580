"""Whatever is done in whatever order, a Dict does what a dict does."""

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
from treadle._core import forget_pickled

pytestmark = [pytest.mark.slow, pytest.mark.watchdog(300)]  # a failure is simplified at length

plain = (
    st.integers(-2, 3)
    | st.sampled_from([0.0, -0.0, 1.0, 2.5, True, False, None, 2**70, float(2**70), 1 + 0j])
    | st.text(max_size=2)
    | st.binary(max_size=2)
)
keys = st.recursive(
    plain, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=2), max_leaves=3
)
values = st.one_of(
    plain,
    st.integers(),
    st.sampled_from([8_180, 8_190, 8_191, 8_192, 9_000, 70_000]).map(bytes),
    st.lists(st.integers(), max_size=3),
)
batches = st.dictionaries(keys, values, max_size=4)


def outcome(call: Callable[[], Any]) -> Any:
    """What it returns, or the kind of its error."""
    try:
        return call()
    except (KeyError, TypeError) as error:
        return type(error)


class DictMachine(RuleBasedStateMachine):
    """The model is a dict. Two handles of one Dict are used in turn."""

    @initialize(start=batches)
    def make(self, start: dict[Any, Any]) -> None:
        shared = treadle.Dict[Any, Any](start)
        self.handles = [shared, pickle.loads(pickle.dumps(shared))]
        self.model = dict(start)

    @property
    def shared(self) -> treadle.Dict[Any, Any]:
        self.handles.reverse()
        return self.handles[0]

    def both(self, call: Callable[[Any], Any]) -> None:
        mine, theirs = outcome(lambda: call(self.shared)), outcome(lambda: call(self.model))
        assert mine == theirs
        assert type(mine) is type(theirs)

    @rule(key=keys, value=values)
    def put(self, key: Any, value: Any) -> None:
        self.both(lambda it: it.__setitem__(key, value))

    @rule(key=keys)
    def get(self, key: Any) -> None:
        self.both(lambda it: it[key])
        self.both(lambda it: it.get(key, "none"))
        self.both(lambda it: key in it)

    @rule(key=keys)
    def delete(self, key: Any) -> None:
        self.both(lambda it: it.__delitem__(key))

    @rule(key=keys, value=values)
    def put_default(self, key: Any, value: Any) -> None:
        self.both(lambda it: it.setdefault(key, value))

    @rule(key=keys)
    def pop(self, key: Any) -> None:
        self.both(lambda it: it.pop(key))
        self.both(lambda it: it.pop(key, 7))

    @rule()
    def pop_the_last(self) -> None:
        self.both(lambda it: it.popitem())

    @rule(batch=batches)
    def update(self, batch: dict[Any, Any]) -> None:
        self.both(lambda it: it.update(batch, word=1))
        self.both(lambda it: it.update(list(batch.items())))
        self.both(lambda it: it.__ior__(batch) is it)

    @rule(batch=batches)
    def join(self, batch: dict[Any, Any]) -> None:
        self.both(lambda it: list((it | batch).items()))
        self.both(lambda it: list((batch | it).items()))
        self.both(lambda it: it == batch)

    @rule(others=st.sets(keys, max_size=4))
    def take_keys_as_a_set(self, others: set[Any]) -> None:
        self.both(lambda it: it.keys() & others)
        self.both(lambda it: others | it.keys())
        self.both(lambda it: it.keys() - others)
        self.both(lambda it: it.keys() ^ others)
        self.both(lambda it: (it.keys() <= others, it.keys() > others, it.keys() == others))
        self.both(lambda it: it.keys().isdisjoint(others))

    @rule(batch=batches, key=keys, value=values)
    def look_at_items(self, batch: dict[Any, Any], key: Any, value: Any) -> None:
        self.both(lambda it: it.items() == batch.items())
        self.both(lambda it: it.items() >= batch.items())
        self.both(lambda it: (key, value) in it.items())
        self.both(lambda it: value in it.values())
        self.both(lambda it: it.items() & {(key, 1)})

    @rule()
    def clear(self) -> None:
        self.both(lambda it: it.clear())

    @invariant()
    def it_is_the_same(self) -> None:
        shared = self.shared
        assert shared == self.model
        assert list(shared) == list(self.model)
        for mine, theirs in zip(shared, self.model, strict=True):  # which of its equals it is, too
            assert type(mine) is type(theirs)
            assert isinstance(mine, (tuple, frozenset)) or repr(mine) == repr(theirs)
        assert list(reversed(shared)) == list(reversed(self.model))
        assert list(shared.values()) == list(self.model.values())
        assert list(shared.items()) == list(self.model.items())
        assert len(shared) == len(self.model)


TestDict = DictMachine.TestCase
TestDict.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)


def test_nothing_is_left_of_what_was_in_a_dict() -> None:
    shared = treadle.Dict[Any, Any]()
    gc.collect()
    before = treadle.arena_statistics().blocks
    for _ in range(3):
        shared.update({n: "x" * n for n in range(100)})
        shared.update(large=bytes(9000), lock=treadle.Lock(), flat={"a": 1})
        shared[bytes(9000)] = shared[frozenset([bytes(9000)])] = shared[1.0] = bytes(9001)
        shared["large"] = bytes(9002)
        shared.pop("large")
        del shared["lock"]
        list(shared.items()), list(shared), list(shared.values())
        iter(shared.items()).__next__()  # and the rest is let go of
        shared.popitem()
        shared.clear()
    forget_pickled()
    treadle.sweep()
    assert treadle.arena_statistics().blocks <= before + 2
