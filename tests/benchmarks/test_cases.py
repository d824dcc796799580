"""The real cases: well-formed, and each contender measures something."""

from collections import Counter

import pytest

from treadle.benchmarks.case import Case, Comparison
from treadle.benchmarks.cases import all_cases
from treadle.benchmarks.isolation import Kind, Trouble, measure_in_child

CASES = all_cases()


def test_names_are_unique() -> None:
    assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_contender_is_shown(case: Case) -> None:
    shown = {row.subject for row in case.rows}
    shown |= {row.rival for row in case.rows if isinstance(row, Comparison)}
    assert shown == set(case.contenders)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "contender"),
    [
        pytest.param(case, contender, id=f"{case.name}-{contender}")
        for case in CASES
        for contender in case.contenders
    ],
)
def test_every_contender_measures_itself(case: Case, contender: str) -> None:
    outcome = measure_in_child(case.contenders[contender], 0.002, limit=45.0)
    if isinstance(outcome, Trouble):
        assert outcome.kind is Kind.UNAVAILABLE, f"{outcome.detail}\n{outcome.log}"
        assert not contender.startswith("treadle"), outcome.detail
        pytest.skip(outcome.detail)
    # A cost this small may come out below zero, since the cost of the loop is taken off.
    assert outcome > 0 or not case.unit.higher_is_better
