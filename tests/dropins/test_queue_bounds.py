"""Bounds and timeouts that are no plain numbers: as the running version's own queues take them."""

from __future__ import annotations

import asyncio
import math
import queue
from types import ModuleType
from typing import Any

import pytest

import treadle.asyncio
import treadle.queue

BOUNDS = [math.inf, -math.inf, math.nan, 2.5, 0.5, -0.5, -1, True, 2**64, 10**400]
KINDS = ["Queue", "LifoQueue", "PriorityQueue"]
THREADS = (queue, treadle.queue)
TASKS = (asyncio, treadle.asyncio)

every_kind = pytest.mark.parametrize("kind", KINDS)
every_bound = pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: f"{bound!r:.12}")
both_bases = pytest.mark.parametrize("hooks", [False, True], ids=["native", "with hooks"])


def _class(module: ModuleType, kind: str, hooks: bool) -> Any:
    of: Any = getattr(module, kind)
    if not hooks:
        return of

    class WithHooks(of):
        def _put(self, item: object) -> None:
            super()._put(item)

    return WithHooks


def _fill(jobs: Any) -> tuple[object, list[bool]]:
    """What it says its bound is, and whether it is full with each number of items."""
    full = [jobs.full()]
    try:
        for item in range(4):
            jobs.put_nowait(item)
            full.append(jobs.full())
    except (queue.Full, asyncio.QueueFull):
        pass
    return repr(jobs.maxsize), full


@every_kind
@every_bound
@both_bases
@pytest.mark.parametrize("modules", [THREADS, TASKS], ids=["queue", "asyncio"])
def test_a_queue_of_such_a_size(
    modules: tuple[ModuleType, ModuleType], kind: str, bound: float, hooks: bool
) -> None:
    theirs, ours = (_fill(_class(module, kind, hooks)(bound)) for module in modules)
    assert ours == theirs


@every_bound
def test_a_bound_that_is_set_later(bound: float) -> None:
    filled = []
    for module in THREADS:
        jobs = module.Queue(1)
        jobs.maxsize = bound  # type: ignore[assignment]
        filled.append(_fill(jobs))
    assert filled[0] == filled[1]


@pytest.mark.parametrize("modules", [THREADS, TASKS], ids=["queue", "asyncio"])
def test_what_is_no_number_is_refused(modules: tuple[ModuleType, ModuleType]) -> None:
    """At once; the standard library's own raises the same with the first item."""
    theirs, ours = modules
    for bound in (None, "8"):
        with pytest.raises(TypeError):
            ours.Queue(bound)
        with pytest.raises(TypeError):
            theirs.Queue(bound).put_nowait(1)


@every_kind
@both_bases
@pytest.mark.parametrize("timeout", [-1, -0.5, math.nan, math.inf, "soon"])
def test_a_queue_without_a_bound_takes_no_notice_of_the_timeout(
    kind: str, hooks: bool, timeout: Any
) -> None:
    for module in THREADS:
        jobs = _class(module, kind, hooks)()
        jobs.put(1, timeout=timeout)
        assert jobs.get() == 1


@both_bases
def test_a_queue_with_a_bound_does(hooks: bool) -> None:
    for module in THREADS:
        jobs = _class(module, "Queue", hooks)(1)
        with pytest.raises(ValueError, match="non-negative"):
            jobs.put(1, timeout=-1)
        assert jobs.empty()
