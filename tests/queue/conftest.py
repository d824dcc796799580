"""What the tests of the queue share."""

from collections.abc import Callable, Iterator

import pytest

import treadle
from tests.queue.workers import Start, Worker
from tests.sync.threads import OtherThread


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> treadle.Queue:
    """A Queue, or one of the kinds that a test is run over (kinds.py)."""
    kind: type[treadle.Queue] = getattr(request, "param", treadle.Queue)
    return kind()


@pytest.fixture
def other() -> Iterator[OtherThread]:
    """A second thread, which does what it is told."""
    thread = OtherThread("other")
    yield thread
    thread.dismiss()


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts workers; none outlives the test."""
    workers: list[Worker] = []

    def begin(kind: str, function: Callable[..., object], *arguments: object) -> Worker:
        workers.append(Worker(kind, function, *arguments))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.dispose()
