"""What the tests of ``.aio`` share."""

from collections.abc import Iterator

import pytest

from tests.aio.loops import OtherLoop
from tests.queue.conftest import other, start

__all__ = ["other", "start"]


@pytest.fixture
def other_loop() -> Iterator[OtherLoop]:
    """An event loop in another thread."""
    loop = OtherLoop()
    yield loop
    loop.end()
