"""The timing loops, on a clock that moves only when it is told to."""

import gc
import itertools

import pytest

from treadle.benchmarks.clock import lasting, rate, seconds_per_operation


class FakeClock:
    """Every look at it costs `look` seconds, and work costs what `work` is told."""

    def __init__(self, look: float = 0.0) -> None:
        self.now = 0.0
        self.look = look

    def __call__(self) -> float:
        self.now += self.look
        return self.now

    def work(self, seconds: float) -> None:
        self.now += seconds


def test_the_empty_loop_is_subtracted() -> None:
    clock = FakeClock(look=1.0)  # dwarfs the work, and is in both loops
    duration = seconds_per_operation(
        "clock.work(0.25)", {"clock": clock}, seconds=100.0, timer=clock
    )
    assert duration == 0.25


def test_a_statement_that_costs_nothing_costs_nothing() -> None:
    clock = FakeClock(look=1.0)
    assert seconds_per_operation("pass", {}, seconds=1.0, timer=clock) == 0.0


def test_an_interruption_of_one_chunk_does_not_move_the_figure() -> None:
    clock = FakeClock()
    calls = 0

    def work() -> None:
        nonlocal calls
        calls += 1
        clock.work(0.001 if calls != 1_000 else 60.0)

    duration = seconds_per_operation("work()", {"work": work}, seconds=5.0, timer=clock)
    assert duration == pytest.approx(0.001)
    assert calls > 1_000


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_off_meanwhile_and_then_as_before(enabled: bool) -> None:
    clock = FakeClock()
    seen: list[bool] = []

    def work() -> None:
        seen.append(gc.isenabled())
        clock.work(1.0)

    was_enabled = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        seconds_per_operation("work()", {"work": work}, seconds=1.0, timer=clock)
        assert gc.isenabled() is enabled
    finally:
        gc.enable() if was_enabled else gc.disable()
    assert set(seen) == {False}


def test_a_failing_statement_leaves_the_garbage_collector_on() -> None:
    with pytest.raises(ZeroDivisionError):
        seconds_per_operation("1 / zero", {"zero": 0}, seconds=1.0, timer=FakeClock())
    assert gc.isenabled()


@pytest.mark.parametrize("cost", [1e-9, 1e-6, 1e-3, 0.4])
def test_runs_grow_until_one_lasts_long_enough(cost: float) -> None:
    numbers: list[int] = []

    def run(number: int) -> float:
        numbers.append(number)
        return number * cost

    number, elapsed = lasting(run, 0.5, start=1)
    assert number == numbers[-1]
    assert elapsed == number * cost
    assert elapsed >= 0.25
    assert all(shorter * cost < 0.25 for shorter in numbers[:-1])
    assert all(2 * a <= b <= 16 * a for a, b in itertools.pairwise(numbers))


def test_a_run_too_short_for_the_clock_grows_too() -> None:
    number, _ = lasting(lambda n: 0.0 if n < 1_000 else 1.0, 1.0, start=10)
    assert number == 2_560


def test_rate_counts_the_last_run_alone() -> None:
    first = True

    def run(number: int) -> float:
        nonlocal first
        cold, first = first, False
        return number * (0.010 if cold else 0.001)

    assert rate(run, 1.0, start=1) == pytest.approx(1_000)
