"""The check finds every kind of wrong report, and holds no change of the files against it."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.demo.accounts import done, job_for, results_for, run_with, write_report
from treadle.demo.check import SerialRun, faults_of, next_file_time, run_serially
from treadle.demo.display import SilentDisplay
from treadle.demo.messages import Died, Done, Refused
from treadle.demo.run import Job, Killed


class Checked:
    """A tree, the results of a run over it, and a check of whatever they are made into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "tree"
        for name in ("a", "b", "c/d"):
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name * 100)
        os.mkfifo(self.root / "e")
        self.job = job_for(self.root)
        self.since = next_file_time()
        self.results = results_for(self.job)

    def check(self) -> SerialRun:
        report = write_report(self.folder / "report", self.results)
        return run_serially(self.job, report, self.since, SilentDisplay())

    def index(self, name: str) -> int:
        return [os.path.relpath(each.path, self.root) for each in self.results].index(name)


@pytest.fixture
def checked(tmp_path: Path) -> Checked:
    return Checked(tmp_path)


def test_a_right_report_has_no_faults(checked: Checked) -> None:
    serial = checked.check()
    assert (serial.faults, serial.notes) == ([], [])
    assert (serial.files, serial.bytes) == (3, 500)


def test_a_missing_file(checked: Checked) -> None:
    del checked.results[checked.index("b")]
    assert checked.check().faults == ["b is missing in the report"]


def test_a_missing_refusal(checked: Checked) -> None:
    del checked.results[checked.index("e")]
    assert checked.check().faults == ["e is missing in the report"]


def test_a_file_that_is_there_twice(checked: Checked) -> None:
    checked.results.append(checked.results[checked.index("b")])
    assert checked.check().faults == ["b is in the report more than once"]


@pytest.mark.parametrize("wrong", [{"size": 1}, {"sha256": "0" * 64}, {"compressed": 1}])
def test_a_wrong_result(checked: Checked, wrong: dict[str, object]) -> None:
    at = checked.index("c/d")
    checked.results[at] = replace(checked.results[at], **wrong)  # type: ignore[arg-type]
    (fault,) = checked.check().faults
    assert fault.startswith("c/d differs: ")


def test_a_file_refused_for_nothing(checked: Checked) -> None:
    at = checked.index("a")
    checked.results[at] = Refused(checked.results[at].path, "it is gone", 1, 1)
    assert checked.check().faults == ["a is refused in the report, and the serial run reads it"]


def test_a_result_for_what_cannot_be_read(checked: Checked) -> None:
    at = checked.index("e")
    checked.results[at] = done(checked.results[at].path)
    assert checked.check().faults == [
        "e is done in the report; the serial run: it is a FIFO, not a file"
    ]


def test_a_path_that_is_not_of_the_tree(checked: Checked) -> None:
    outside = checked.folder / "outside"
    outside.write_text("x")
    checked.since = next_file_time()
    checked.results.append(done(str(outside)))
    (fault,) = checked.check().faults
    assert fault.endswith("outside is in the report, and the serial run does not find it")


def test_a_path_that_never_was(checked: Checked) -> None:
    checked.results.append(done(str(checked.root / "c" / "x" / "y")))
    assert checked.check().faults == ["c/x/y is in the report, and the serial run does not find it"]


def test_a_file_changed_since_is_no_fault(checked: Checked) -> None:
    (checked.root / "a").write_text("b" * 100)
    serial = checked.check()
    assert (serial.faults, serial.notes) == ([], ["a was changed during the run"])


def test_a_file_gone_since_is_no_fault(checked: Checked) -> None:
    (checked.root / "a").unlink()
    shutil.rmtree(checked.root / "c")
    serial = checked.check()
    assert serial.faults == []
    assert serial.notes == ["a vanished during the run", "c/d vanished during the run"]


def test_a_file_made_since_is_no_fault(checked: Checked) -> None:
    (checked.root / "new").touch()
    serial = checked.check()
    assert serial.faults == []
    assert serial.notes == ["new appeared during the run and is not in it"]


def test_a_directory_renamed_since_is_no_fault(checked: Checked) -> None:
    (checked.root / "c").rename(checked.root / "moved")
    serial = checked.check()
    assert serial.faults == []
    assert serial.notes == [
        "c/d vanished during the run",
        "moved/d appeared during the run and is not in it",
    ]


def test_a_file_turned_into_a_fifo_since_is_no_fault(checked: Checked) -> None:
    (checked.root / "a").unlink()
    os.mkfifo(checked.root / "a")
    serial = checked.check()
    assert serial.faults == []
    assert serial.notes == [
        "a could no longer be read after the run: it is a FIFO, not a file",
    ]


def test_a_file_that_came_back_is_no_fault(checked: Checked) -> None:
    at = checked.index("a")
    (checked.root / "a").write_text("again")
    checked.results[at] = Refused(checked.results[at].path, "it is gone", 1, 1)
    serial = checked.check()
    assert (serial.faults, serial.notes) == ([], ["a could be read only after the run"])


def test_a_file_without_a_lasting_content_is_no_fault(tmp_path: Path) -> None:
    job = Job("/proc/self/stat", 1, 0)
    (result,) = results_for(job)
    assert isinstance(result, Done)
    wrong = replace(result, sha256="0" * 64)
    report = write_report(tmp_path / "report", [wrong])
    serial = run_serially(job, report, next_file_time(), SilentDisplay())
    assert serial.faults == []
    assert len(serial.notes) == 1


def test_a_limited_run_is_compared_with_as_many_files(checked: Checked) -> None:
    checked.job = replace(checked.job, limit=2)
    del checked.results[2:]
    serial = checked.check()
    assert (serial.faults, serial.notes, serial.files) == ([], [], 2)


def test_a_limited_run_that_lacks_one_is_caught(checked: Checked) -> None:
    checked.job = replace(checked.job, limit=3)
    del checked.results[2:]
    assert len(checked.check().faults) == 1


def faults(**changes: object) -> list[str]:
    changes = {"found": ("/r/a", "/r/b"), "files": 2, **changes}
    return faults_of(Job("/r", 2, changes.pop("kills", 0)), run_with(**changes))  # type: ignore[arg-type]


KILL = {"kills": 1, "killed": (Killed(7, "/r/a"),), "deaths": (Died(7, -9, 9),)}


def test_an_account_that_balances() -> None:
    assert faults() == []
    assert faults(**KILL, again=(done("/r/a", pid=8, deliveries=2),)) == []


def test_an_account_that_lacks_a_file() -> None:
    assert faults(lost=("/r/a",)) == ["1 of 2 files have no result, among them a"]


def test_an_account_of_a_run_that_failed() -> None:
    assert faults(failure="no sign of life") == ["no sign of life"]


def test_an_account_that_lacks_a_kill() -> None:
    assert faults(kills=1) == ["0 of 1 workers to be killed were killed"]


def test_a_killed_worker_s_file_that_did_not_come_again() -> None:
    assert faults(**KILL) == ["a, held by the killed worker 7, was not delivered again"]


def test_a_result_by_a_worker_that_was_killed_before() -> None:
    again = (done("/r/a", pid=7, deliveries=2),)
    assert faults(**KILL, again=again) == ["a has a result by worker 7, which was killed before it"]


def test_more_deliveries_than_deaths() -> None:
    again = (done("/r/a", pid=8, deliveries=3),)
    assert faults(**KILL, again=again) == ["2 deliveries came again, but only 1 workers died"]
    assert faults(duplicates=("/r/b",)) == ["1 deliveries came again, but only 0 workers died"]
