"""What is printed: losses, hangs and absences as plainly as the rest."""

import json

from treadle.benchmarks.case import Case, Comparison, Limit, against
from treadle.benchmarks.environment import Environment, this_environment
from treadle.benchmarks.isolation import Kind, Trouble
from treadle.benchmarks.report import as_json, plain_report
from treadle.benchmarks.units import Unit
from treadle.benchmarks.verdict import CaseResult, Figure

ENVIRONMENT = Environment(
    machine="Loom 3 (x86_64)",
    processors=2,
    kernel="Linux 6.1",
    python="CPython 3.13.0",
    packages={"treadle": "1.0", "faster-fifo": "absent"},
    load=0.25,
    date="2030-01-01T00:00:00+00:00",
    command="treadle bench --quick",
)

TIMES = CaseResult(
    Case(
        "lock",
        "Lock acquire + release",
        Unit.SECONDS,
        {"treadle": float, "winner": float, "loser": float, "stuck": float, "absent": float},
        (
            *against(["treadle"], {"loser": 0.7, "winner": 0.9, "stuck": 0.5, "absent": None}),
            Limit("treadle", 1e-6),
        ),
    ),
    {
        "treadle": Figure((4e-8, 5e-8, 6e-8)),
        "loser": Figure((1e-7, 1e-7, 1e-7)),
        "winner": Figure((2.5e-8,)),
        "stuck": Figure((), Trouble(Kind.HUNG, "no result after 90 s", "the stacks")),
        "absent": Figure((), Trouble(Kind.UNAVAILABLE, "not installed")),
    },
)


def lines() -> list[str]:
    return [" ".join(line.split()) for line in plain_report(ENVIRONMENT, [TIMES]).splitlines()]


def test_the_head_says_where_when_and_how() -> None:
    head = "\n".join(lines()[:6])
    for fact in ("Loom 3", "2 processors", "Linux 6.1", "CPython 3.13.0", "faster-fifo absent"):
        assert fact in head
    assert "2030-01-01" in head
    assert "treadle bench --quick" in head


def test_a_row_holds_figures_ratio_target_and_verdict() -> None:
    assert "treadle 50.0 ns ±10% loser 100 ns ± 0% 0.500 x <= 0.700 x met" in lines()


def test_a_lost_case_is_shown_as_such() -> None:
    assert "winner 25.0 ns 2.00 x <= 0.900 x missed" in lines()


def test_a_limit_stands_in_the_target_column() -> None:
    assert "<= 1.00 µs met" in lines()


def test_hangs_and_absences_are_told_in_the_row_and_below() -> None:
    assert "stuck hung <= 0.500 x n/a" in lines()
    assert "hung: no result after 90 s (stuck in lock)" in lines()
    assert "n/a: not installed (absent in lock)" in lines()


def test_targets_are_counted() -> None:
    assert "Targets: 2 met, 1 missed, 1 n/a." in lines()


def test_columns_are_aligned() -> None:
    table = [line for line in plain_report(ENVIRONMENT, [TIMES]).splitlines() if " ns" in line]
    assert len({line.index(" x") for line in table if " x" in line}) == 1


def test_a_case_that_measured_nothing_can_be_printed() -> None:
    case = Case("w", "Work", Unit.SECONDS, {"treadle": float}, (Limit("treadle", 1.0),))
    assert "n/a" in plain_report(ENVIRONMENT, [CaseResult(case, {"treadle": Figure()})])
    assert "Targets: none." in plain_report(ENVIRONMENT, [])


def test_json_holds_every_sample_in_base_units() -> None:
    document = json.loads(json.dumps(as_json(ENVIRONMENT, [TIMES])))
    assert document["environment"]["command"] == "treadle bench --quick"
    (case,) = document["cases"]
    assert (case["name"], case["unit"], case["better"]) == ("lock", "s", "lower")
    assert case["contenders"]["treadle"]["samples"] == [4e-8, 5e-8, 6e-8]
    assert case["contenders"]["stuck"]["trouble"]["log"] == "the stacks"
    assert case["rows"][0] == {
        "subject": "treadle",
        "rival": "loser",
        "ratio": 0.5,
        "target": 0.7,
        "verdict": "met",
    }
    assert case["rows"][-1]["rival"] is None


def test_this_machine_has_a_description() -> None:
    environment = this_environment("treadle bench")
    assert environment.processors >= 1
    assert environment.kernel.startswith("Linux ")
    assert environment.python.startswith("CPython 3.")
    rivals = {"faster-fifo", "janus", "culsans", "loky", "mpire", "joblib"}
    assert set(environment.packages) == {"treadle", *rivals, "numpy"}


def test_comparisons_are_every_subject_with_every_rival() -> None:
    assert against(["a", "b"], {"x": 1.0, "y": None}) == (
        Comparison("a", "x", 1.0),
        Comparison("a", "y", None),
        Comparison("b", "x", 1.0),
        Comparison("b", "y", None),
    )
