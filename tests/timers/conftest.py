from collections.abc import Callable, Iterator

import pytest

from tests.timers.hand_clock import HandClock
from treadle import _timers


@pytest.fixture
def schedule(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., _timers.Scheduler]]:
    """Makes the scheduler of the test's timers, with a clock of the test's own."""
    made = []

    def make(**options: float) -> _timers.Scheduler:
        scheduler = _timers.Scheduler(HandClock(), **options)  # type: ignore[arg-type]
        monkeypatch.setattr(_timers, "_scheduler", scheduler)
        made.append(scheduler)
        return scheduler

    yield make
    for scheduler in made:
        for timer in list(scheduler.pending.values()):
            timer.cancel()


@pytest.fixture
def clock(schedule: Callable[..., _timers.Scheduler]) -> HandClock:
    """The clock of a scheduler with the usual pool."""
    clock = schedule().clock
    assert isinstance(clock, HandClock)
    return clock
