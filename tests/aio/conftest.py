"""What the tests of ``.aio`` share."""

from collections.abc import Iterator

import pytest

from tests.aio.loops import NAMES, Loop, OtherLoop, loop_named
from tests.queue.conftest import other, start

__all__ = ["other", "start"]


@pytest.fixture(params=NAMES)
def loop(request: pytest.FixtureRequest) -> Loop:
    """The kind of event loop that the test runs in: each in turn."""
    return loop_named(request.param)


@pytest.fixture(params=["asyncio", "uvloop"])
def closable_loop(request: pytest.FixtureRequest) -> Loop:
    """One that can be closed while tasks wait in it; a run of trio's cancels them first."""
    return loop_named(request.param)


@pytest.fixture(params=["beside-asyncio", "beside-trio"])
def other_loop(request: pytest.FixtureRequest) -> Iterator[OtherLoop]:
    """An event loop in another thread, of either library."""
    loop = OtherLoop(loop_named(request.param.removeprefix("beside-")))
    yield loop
    loop.end()
