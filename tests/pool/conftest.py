"""What the tests of pools share: pools of every kind of workers, one for each module of tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import treadle
from tests.pool.kinds import KINDS, new_pool
from tests.sync.conftest import other
from tests.sync.threads import until

__all__ = ["other"]


@pytest.fixture(scope="module", autouse=True)
def nothing_left() -> Iterator[None]:
    """What tests of other modules count in the arena is not to change amid them."""
    yield
    until(lambda: not any(each.name == "treadle-pool" for each in threading.enumerate()))


@pytest.fixture(scope="module", params=KINDS)
def pool(request: pytest.FixtureRequest) -> Iterator[treadle.Pool]:
    """Two workers of each kind in turn, or of those kinds that a module names by ``over``."""
    with new_pool(request.param, 2) as pool:
        yield pool
    pool.join()
