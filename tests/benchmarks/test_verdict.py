"""Medians, spreads, ratios, and what is met or missed."""

import pytest

from treadle.benchmarks.case import Case, Comparison, Limit, against
from treadle.benchmarks.isolation import Kind, Trouble
from treadle.benchmarks.units import Unit
from treadle.benchmarks.verdict import CaseResult, Figure, Judged, Verdict

HUNG = Figure((1.0,), Trouble(Kind.HUNG, "no result after 30 s"))
ABSENT = Figure((), Trouble(Kind.UNAVAILABLE, "no module"))


def judge(unit: Unit, row: Comparison | Limit, subject: Figure, rival: Figure) -> Judged:
    case = Case("work", "Work", unit, {"treadle": float, "rival": float}, (row,))
    (judged,) = CaseResult(case, {"treadle": subject, "rival": rival}).judged()
    return judged


def test_the_figure_is_the_median() -> None:
    assert Figure((9.0, 1.0, 2.0)).median == 2.0
    assert Figure((1.0, 2.0, 4.0, 100.0)).median == 3.0


def test_trouble_in_any_round_leaves_no_figure() -> None:
    assert HUNG.median is None
    assert HUNG.spread is None


def test_spread_is_half_the_distance_of_the_quartiles() -> None:
    assert Figure((8.0, 9.0, 10.0, 11.0, 12.0)).spread == pytest.approx(0.1)
    assert Figure((5.0, 5.0, 5.0)).spread == 0.0


def test_one_sample_or_a_median_of_zero_has_no_spread() -> None:
    assert Figure((5.0,)).spread is None
    assert Figure((-1.0, 0.0, 1.0)).spread is None


@pytest.mark.parametrize(
    ("unit", "treadle", "rival", "target", "verdict"),
    [
        (Unit.SECONDS, 7.0, 10.0, 0.7, Verdict.MET),
        (Unit.SECONDS, 7.1, 10.0, 0.7, Verdict.MISSED),
        (Unit.SECONDS, 99.0, 10.0, None, Verdict.NO_TARGET),
        (Unit.PER_SECOND, 150.0, 10.0, 15, Verdict.MET),
        (Unit.PER_SECOND, 149.0, 10.0, 15, Verdict.MISSED),
        (Unit.BYTES_PER_SECOND, 1.0, 10.0, 8, Verdict.MISSED),
    ],
)
def test_a_ratio_is_held_against_its_target(
    unit: Unit, treadle: float, rival: float, target: float | None, verdict: Verdict
) -> None:
    row = Comparison("treadle", "rival", target)
    judged = judge(unit, row, Figure((treadle,)), Figure((rival,)))
    assert judged.ratio == pytest.approx(treadle / rival)
    assert judged.verdict is verdict


@pytest.mark.parametrize(
    ("unit", "value", "verdict"),
    [
        (Unit.BYTES, 128.0, Verdict.MET),
        (Unit.BYTES, 129.0, Verdict.MISSED),
        (Unit.PER_SECOND, 127.0, Verdict.MISSED),
        (Unit.PER_SECOND, 128.0, Verdict.MET),
    ],
)
def test_a_limit_is_held_against_the_figure_itself(
    unit: Unit, value: float, verdict: Verdict
) -> None:
    judged = judge(unit, Limit("treadle", 128), Figure((value,)), ABSENT)
    assert judged.ratio is None
    assert judged.verdict is verdict


def test_a_hang_of_treadle_is_no_met_target() -> None:
    judged = judge(Unit.SECONDS, Comparison("treadle", "rival", 0.7), HUNG, Figure((1.0,)))
    assert judged.verdict is Verdict.HUNG


@pytest.mark.parametrize("rival", [HUNG, ABSENT, Figure((0.0,))])
def test_without_a_rivals_figure_there_is_no_ratio(rival: Figure) -> None:
    judged = judge(Unit.SECONDS, Comparison("treadle", "rival", 0.7), Figure((1.0,)), rival)
    assert judged.ratio is None
    assert judged.verdict is Verdict.UNAVAILABLE


def test_a_case_cannot_compare_what_it_does_not_measure() -> None:
    with pytest.raises(ValueError, match="'rvial'"):
        Case("work", "Work", Unit.SECONDS, {"treadle": float}, against(["treadle"], {"rvial": 1}))
