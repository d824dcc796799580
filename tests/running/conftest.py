"""What the tests of threads, processes and groups share."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import pytest

from tests.sync.conftest import other

__all__ = ["other"]


@pytest.fixture(params=["fork", "spawn", "forkserver"])
def start_method(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each start method in turn, set as a program sets it."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(request.param, force=True)
    yield request.param
    multiprocessing.set_start_method(before, force=True)
