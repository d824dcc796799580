"""The rounds, with measurements that are looked up instead of made."""

from collections.abc import Iterator

from treadle.benchmarks.case import Case, Measure
from treadle.benchmarks.isolation import Kind, Trouble
from treadle.benchmarks.runner import Effort, run_cases
from treadle.benchmarks.units import Unit

EFFORT = Effort(rounds=3, seconds=0.5, limit=1.0)
HUNG = Trouble(Kind.HUNG, "no result")


def contender(outcomes: Iterator[object]) -> Measure:
    return lambda _seconds: next(outcomes)  # type: ignore[return-value]


def case(name: str, outcomes: dict[str, list[object]], rounds: int | None = None) -> Case:
    contenders = {contestant: contender(iter(each)) for contestant, each in outcomes.items()}
    return Case(name, name, Unit.SECONDS, contenders, (), rounds)


def test_contenders_take_turns() -> None:
    work = case("work", {"a": [1.0, 2.0, 3.0], "b": [10.0, 20.0, 30.0]})
    order: list[tuple[str, float]] = []

    def measured(measure: Measure, seconds: float) -> float:
        name = next(name for name, each in work.contenders.items() if each is measure)
        order.append((name, seconds))
        return measure(seconds)

    (result,) = run_cases([work], EFFORT, measured=measured)
    assert order == [("a", 0.5), ("b", 0.5)] * 3
    assert result.figures["a"].samples == (1.0, 2.0, 3.0)
    assert result.figures["b"].median == 20.0


def test_what_hangs_once_is_not_tried_again() -> None:
    work = case("work", {"a": [1.0, HUNG], "b": [10.0, 20.0, 30.0]})
    (result,) = run_cases([work], EFFORT, measured=lambda measure, s: measure(s))
    assert result.figures["a"].trouble is HUNG
    assert result.figures["a"].median is None
    assert result.figures["b"].samples == (10.0, 20.0, 30.0)


def test_a_case_can_ask_for_fewer_rounds_but_not_for_more() -> None:
    few = case("few", {"a": [1.0]}, rounds=1)
    many = case("many", {"a": [1.0, 2.0, 3.0]}, rounds=9)
    results = list(run_cases([few, many], EFFORT, measured=lambda measure, s: measure(s)))
    assert [len(result.figures["a"].samples) for result in results] == [1, 3]


def test_a_result_comes_as_soon_as_its_case_is_over() -> None:
    first, second = case("first", {"a": [1.0] * 3}), case("second", {"a": []})
    results = run_cases([first, second], EFFORT, measured=lambda measure, s: measure(s))
    assert next(results).case is first
