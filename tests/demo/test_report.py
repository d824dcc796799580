"""The report: a line a file, read back as written; what cannot be written is one sentence."""

import json
import os
import resource
from pathlib import Path

import pytest

from treadle.demo.messages import Done, Refused
from treadle.demo.report import ReportWriter, read_report
from treadle.demo.run import DemoError

DONE = Done("/a/caf\udce9\n", 3, "ab" * 32, 11, 7, 8, 9, 1234, 2, 0.5)
REFUSED = Refused("/b", "it is a FIFO, not a file", 1234, 1)


def test_lines_come_back_as_written_whatever_the_name(tmp_path: Path) -> None:
    path = str(tmp_path / "report.jsonl")
    with ReportWriter(path) as report:
        report.write(DONE)
        report.write(REFUSED)
    assert list(read_report(path)) == [DONE, REFUSED]


def test_each_line_is_an_object_with_the_promised_names(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    with ReportWriter(str(path)) as report:
        report.write(DONE)
    (line,) = path.read_text().splitlines()
    assert {"path", "size", "sha256", "compressed", "pid", "deliveries"} <= json.loads(line).keys()


def test_what_was_in_the_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    path.write_text("x" * 10_000)
    with ReportWriter(str(path)) as report:
        report.write(REFUSED)
    assert list(read_report(str(path))) == [REFUSED]


def test_a_report_in_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="cannot be written: No such file or directory") as error:
        ReportWriter(str(tmp_path / "no" / "report"))
    assert error.value.exit_code == 2


def test_a_report_that_is_a_directory(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="cannot be written: Is a directory"):
        ReportWriter(str(tmp_path))


def test_a_report_that_is_a_device() -> None:
    with pytest.raises(DemoError, match="it is a character device, and is read again"):
        ReportWriter("/dev/null")


def test_a_report_that_is_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(DemoError, match="cannot be written"):
        ReportWriter(str(tmp_path / "fifo"))


def test_a_disk_that_is_full_in_mid_run_is_one_sentence(tmp_path: Path) -> None:
    """A limit on the size of files fails writes as a full disk does, with another error."""
    path = str(tmp_path / "report.jsonl")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    report = ReportWriter(path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(DemoError, match=r"report\.jsonl cannot be written: File too large"):
            for _ in range(10_000):
                report.write(DONE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    report.__exit__(None, None, None)
