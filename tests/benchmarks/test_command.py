"""`treadle bench` from the command line, with cases that cost nothing."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from treadle import cli
from treadle.benchmarks import cases as catalogue
from treadle.benchmarks import runner
from treadle.benchmarks.case import Case, Comparison, Measure
from treadle.benchmarks.units import Unit
from treadle.benchmarks.verdict import CaseResult


def case(name: str, treadle: Measure, rival: Measure = lambda _: 2.0) -> Case:
    contenders = {"treadle": treadle, "rival": rival}
    return Case(name, f"the {name}", Unit.SECONDS, contenders, (Comparison("treadle", "rival", 1),))


def fail(_seconds: float) -> float:
    raise RuntimeError("no such luck")


Offer = Callable[..., None]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Puts the given cases in the place of the real ones."""

    def install(*cases: Case) -> None:
        monkeypatch.setattr(catalogue, "all_cases", lambda: list(cases))

    return install


def test_json_and_table_hold_what_was_measured(
    offer: Offer, tmp_path: Path, capsys: Capture
) -> None:
    offer(case("lock", lambda _: 1.0))
    file = tmp_path / "figures.json"
    assert cli.main(["bench", "--repeats", "2", "--json", str(file)]) == 0
    (measured,) = json.loads(file.read_text())["cases"]
    assert measured["contenders"]["rival"]["samples"] == [2.0, 2.0]
    assert measured["rows"][0]["ratio"] == 0.5
    table = capsys.readouterr().out
    assert "the lock (lock)" in table
    assert "met" in table


def test_a_missed_target_is_a_result_and_not_an_error(offer: Offer, capsys: Capture) -> None:
    offer(case("lock", lambda _: 3.0))
    assert cli.main(["bench", "--repeats", "1"]) == 0
    assert "missed" in capsys.readouterr().out


def test_a_failing_treadle_is_an_error_and_a_failing_rival_is_not(
    offer: Offer, capsys: Capture
) -> None:
    offer(case("lock", fail), case("queue", lambda _: 1.0))
    assert cli.main(["bench", "--repeats", "1"]) == 1
    assert "queue" in capsys.readouterr().out  # the case after it was measured all the same
    offer(case("lock", lambda _: 1.0, rival=fail))
    assert cli.main(["bench", "--repeats", "1"]) == 0


@pytest.mark.parametrize("pattern", ["que", "q*e", "*queue", "queu?"])
def test_only_selects_by_name(offer: Offer, capsys: Capture, pattern: str) -> None:
    offer(case("lock", lambda _: 1.0), case("queue", lambda _: 1.0))
    assert cli.main(["bench", "--list", "--only", pattern]) == 0
    out = capsys.readouterr().out
    assert "queue" in out
    assert "lock" not in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "nothing"], "no case is named like 'nothing'; see treadle bench --list"),
        (["--repeats", "0"], "must be a number of 1 or more, not '0'"),
        (["--repeats", "many"], "must be a number of 1 or more, not 'many'"),
        (["--json", "no/such/folder/file"], "cannot write no/such/folder/file"),
    ],
)
def test_bad_arguments_are_one_sentence(
    offer: Offer, capsys: Capture, arguments: list[str], words: str
) -> None:
    offer(case("lock", lambda _: 1.0))
    assert cli.main(["bench", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_interrupted_it_prints_what_it_has(
    offer: Offer, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = next(iter(runner.run_cases([case("lock", lambda _: 1.0)], runner.QUICK)))

    def interrupted(*_: object) -> Iterator[CaseResult]:
        yield finished
        raise KeyboardInterrupt

    offer(case("lock", lambda _: 1.0))
    monkeypatch.setattr(runner, "run_cases", interrupted)
    assert cli.main(["bench"]) == 130
    assert "the lock (lock)" in capsys.readouterr().out


def test_progress_goes_to_standard_error(offer: Offer, capsys: Capture) -> None:
    offer(case("lock", lambda _: 1.0))
    cli.main(["bench", "--repeats", "1"])
    captured = capsys.readouterr()
    assert captured.err == "[1/1] lock\n"
    assert "[1/1]" not in captured.out
