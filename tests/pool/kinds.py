"""The kinds of workers that pools and executors are tested with."""

from __future__ import annotations

from typing import Any

import pytest

import treadle

PROCESSES = ("fork", "spawn", "forkserver")
KINDS = ("thread", *PROCESSES)


def options(kind: str) -> dict[str, Any]:
    """What a pool or an executor is told to have workers of that kind."""
    if kind == "thread":
        return {"kind": "thread"}
    return {"kind": "process", "start_method": kind}


def new_pool(kind: str, workers: int = 1, **others: Any) -> treadle.Pool:
    return treadle.Pool(workers, **options(kind), **others)


def new_executor(kind: str, workers: int = 1, **others: Any) -> treadle.Executor:
    return treadle.Executor(workers, **options(kind), **others)


def over(*kinds: str) -> pytest.MarkDecorator:
    """Runs tests with the ``pool`` of these kinds alone."""
    return pytest.mark.parametrize("pool", kinds, indirect=True, scope="module")


each_kind = pytest.mark.parametrize("kind", KINDS)
# Those that differ in what runs a task; the start methods only differ in how that has come to be.
thread_or_process = pytest.mark.parametrize("kind", ["thread", "fork"])
