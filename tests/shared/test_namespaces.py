"""A Namespace: a Dict's keys as attributes."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from typing import Any

import pytest

import treadle

_fork = multiprocessing.get_context("fork")


def test_attributes_are_the_keys_of_its_dict() -> None:
    shared = treadle.Dict[str, Any](a=1)
    space = treadle.Namespace(shared, name="bob", label="any", lock=None)
    assert shared == {"a": 1, "name": "bob", "label": "any", "lock": None}
    space.a += 1
    shared["b"] = [1]
    del space.lock
    assert repr(space) == "Namespace(a=2, name='bob', label='any', b=[1])"
    assert {"a", "b", "name", "label"} <= set(dir(space))
    assert space == treadle.Namespace(a=2, name="bob", label="any", b=[1])
    assert space != treadle.Namespace()
    assert space != shared


def test_what_is_not_there_is_an_attribute_error() -> None:
    space = treadle.Namespace()
    for use in (lambda: space.a, lambda: delattr(space, "a"), lambda: space._a):
        with pytest.raises(AttributeError, match=r"no '_?a'"):
            use()
    with pytest.raises(AttributeError, match="underscore"):
        space._a = 1
    with pytest.raises(AttributeError):
        del space._dict
    with pytest.raises(TypeError, match="Dict"):
        treadle.Namespace({})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unhashable"):
        hash(space)


def test_processes_and_copies_share_it() -> None:
    space = treadle.Namespace(n=1)
    again = pickle.loads(pickle.dumps(space))
    also = copy.copy(space)

    def change() -> None:
        space.n += 1
        space.inner = treadle.Namespace(deep=True)

    worker = _fork.Process(target=change)
    worker.start()
    worker.join()
    assert again.n == also.n == space.n == 2
    assert again.inner.deep is True
    again.inner.deep = False
    assert space.inner.deep is False
