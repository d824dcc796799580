"""Which locks a condition takes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import treadle
from tests.sync.kinds import both_storages


@pytest.mark.parametrize("of", [treadle.Lock, treadle.RLock])
def test_a_shared_condition_takes_no_private_lock(of: Callable[..., Any]) -> None:
    lock = of(shared=False, label="mine")
    with pytest.raises(ValueError, match="'mine' is private"):
        treadle.Condition(lock)
    with treadle.Condition(lock, shared=False) as held:
        assert held


@both_storages
@pytest.mark.parametrize("of", [threading.Lock, threading.RLock])
def test_any_other_lock_is_its_owner_s_affair(of: Callable[..., Any], shared: bool) -> None:
    condition = treadle.Condition(of(), shared=shared)
    with condition:
        assert not condition.wait(timeout=0.001)
    with pytest.raises(RuntimeError):
        condition.notify()
