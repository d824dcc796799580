"""A manager's dict takes tens of microseconds an operation: a message to a server, and a wait."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable
from typing import Any

import pytest

import treadle
from tests.pains.programs import seen_in_this_version

pytestmark = pytest.mark.slow

_fork = multiprocessing.get_context("fork")
OPERATIONS = 500


def waits(of: Callable[[], object]) -> int:
    """How often this thread gave up the processor by itself meanwhile."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    of()
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before


def use(shared: Any) -> None:
    for n in range(OPERATIONS // 2):
        shared[n] = n
        assert shared[n] == n


@seen_in_this_version
def test_each_operation_on_a_managers_dict_waits_for_the_server() -> None:
    with _fork.Manager() as manager:
        shared = manager.dict()
        use(shared)
        assert waits(lambda: use(shared)) > OPERATIONS / 4


def test_here_nobody_is_asked() -> None:
    shared = treadle.Dict[int, int]()
    use(shared)
    assert waits(lambda: use(shared)) < OPERATIONS / 20
    worker = _fork.Process(target=use, args=(shared,))
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    assert len(shared) == OPERATIONS // 2
