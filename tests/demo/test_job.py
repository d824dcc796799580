"""The whole demo as a user meets it: exit codes, sentences, Ctrl-C, and nobody left behind."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import treadle
from tests.demo.processes import of_session, pidfds, wait_until_gone
from tests.demo.trees import plant
from treadle.demo import job
from treadle.demo.check import SerialRun
from treadle.demo.display import Display
from treadle.demo.job import Wishes, run_demo
from treadle.demo.messages import Done, Refused
from treadle.demo.pipeline import run_on_treadle
from treadle.demo.run import Job, Run

pytestmark = pytest.mark.slow

PASSED = "passed: every file exactly once, every digest equal to the serial run's"
COMMAND = [sys.executable, "-m", "treadle", "demo"]


def demo(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    plant(tmp_path / "tree")
    return tmp_path / "tree"


def test_the_standard_library_passes_by_default(tmp_path: Path) -> None:
    report = tmp_path / "report"
    ended = demo("--limit", "150", "--report", report)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert lines[-2:] == [f"report: {report}", PASSED]
    assert any(line.startswith("  killed: worker ") for line in lines)
    assert any(line.startswith("  delivered again: ") for line in lines)
    paths = [json.loads(line)["path"] for line in report.read_text().splitlines()]
    assert len(set(paths)) == len(paths) == 150
    assert os.path.dirname(os.__file__) == os.path.commonpath(paths)
    assert not any("__pycache__" in path or "site-packages" in path for path in paths)


def test_nothing_is_left_behind_if_no_report_is_wanted(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    ended = demo(tree)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert PASSED in ended.stdout and "report:" not in ended.stdout
    assert json.loads(demo(tree, "--json", "--no-kill").stdout)["report"] is None
    assert os.listdir(tmp_path) == ["tree"]


def test_json_is_one_document_and_nothing_else(tree: Path, tmp_path: Path) -> None:
    ended = demo(tree, "--json", "--kills", "2", "--report", tmp_path / "report")
    document = json.loads(ended.stdout)
    assert (ended.returncode, ended.stderr, document["passed"]) == (0, "", True)
    assert document["treadle"]["files"] == document["serial"]["files"] == 44
    assert document["treadle"]["bytes"] == document["serial"]["bytes"]
    assert len(document["treadle"]["killed"]) == len(document["treadle"]["again"]) == 2
    assert document["multiprocessing"] is None


def test_nobody_is_killed_when_nobody_should_be(tree: Path, tmp_path: Path) -> None:
    ended = demo(tree, "--no-kill", "--workers", "3", "--report", tmp_path / "report")
    assert ended.returncode == 0
    assert not any(
        line.startswith(("  killed:", "  delivered again:")) for line in ended.stdout.splitlines()
    )


def test_compare_shows_both_and_who_lost_what(tree: Path, tmp_path: Path) -> None:
    ended = demo(tree, "--compare", "--report", tmp_path / "report")
    assert ended.returncode == 0
    rows = {
        line[2:22].strip(): line[22:].split()
        for line in ended.stdout.splitlines()
        if line.startswith("  ")
    }
    assert rows[""] == ["treadle", "multiprocessing"]
    assert rows["files lost"][0] == "0"
    assert int(rows["files lost"][1]) > 0
    assert rows["ended by itself"] == ["yes", "no"]
    assert "  multiprocessing was ended by the watchdog: no sign of life" in ended.stdout


def test_compare_without_a_kill_is_a_race_between_two_that_arrive(
    tree: Path, tmp_path: Path
) -> None:
    ended = demo(tree, "--compare", "--no-kill", "--json", "--report", tmp_path / "report")
    document = json.loads(ended.stdout)
    assert document["multiprocessing"]["files"] == document["treadle"]["files"] == 44
    assert document["multiprocessing"]["failure"] is None
    assert document["multiprocessing"]["lost"] == []


def test_a_single_file(tree: Path, tmp_path: Path) -> None:
    ended = demo(tree / "0" / "large-0", "--report", tmp_path / "report")
    assert ended.returncode == 0
    assert "1 file, 0.2 MB, under " in ended.stdout
    assert ended.stdout.endswith(PASSED + "\n")


def test_what_cannot_be_read_is_said_and_the_rest_is_done(tree: Path, tmp_path: Path) -> None:
    os.mkfifo(tree / "fifo")
    (tree / "dangling").symlink_to("nowhere")
    ended = demo(tree, "--report", tmp_path / "report")
    assert ended.returncode == 0
    lines = ended.stdout.splitlines()
    at = lines.index("  left out: 2 paths")
    assert sorted(lines[at + 1 : at + 3]) == [
        "    dangling: it is a link to something that is not there",
        "    fifo: it is a FIFO, not a file",
    ]
    assert any(line.startswith("44 files, ") for line in lines)


def test_a_report_inside_the_tree_is_not_part_of_it(tree: Path) -> None:
    ended = demo(tree, "--report", tree / "report", "--json")
    document = json.loads(ended.stdout)
    assert document["passed"]
    assert document["treadle"]["found"] == 44


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["no/such"], "no/such cannot be used: No such file or directory; give a file or"),
        (["empty"], "{cwd}/empty holds no file; there is nothing to do"),
        (["fifo"], "fifo is a FIFO; give a file or a directory"),
        (["/dev/null"], "/dev/null is a character device; give a file or a directory"),
        (["file", "--report", "file"], "file is what is to be read; give another --report FILE"),
        (["file", "--report", "/no/such/x"], "the report /no/such/x cannot be written: No such"),
        (["--workers", "0"], "argument --workers: '0' is not a whole number from 1 up"),
        (["--kills", "-1"], "argument --kills: '-1' is not a whole number from 0 up"),
        (["--limit", "many"], "argument --limit: 'many' is not a whole number from 1 up"),
        (["--patience", "nan"], "argument --patience: 'nan' is not a number of seconds above 0"),
        (["--kills", "2", "--no-kill"], "argument --no-kill: not allowed with argument --kills"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty" / "too").mkdir(parents=True)
    (tmp_path / "file").write_text("precious")
    os.mkfifo(tmp_path / "fifo")
    ended = demo(*arguments)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("treadle demo: " + sentence.format(cwd=tmp_path))
    assert ended.stderr.count("\n") == 1
    assert (tmp_path / "file").read_text() == "precious"


def test_two_demos_at_once_do_not_disturb_each_other(tree: Path, tmp_path: Path) -> None:
    both = [
        subprocess.Popen(
            [*COMMAND, tree, "--report", tmp_path / name], stdout=subprocess.PIPE, text=True
        )
        for name in ("one", "two")
    ]
    for each in both:
        out, _ = each.communicate()
        assert each.returncode == 0
        assert out.endswith(PASSED + "\n")


def test_a_terminal_sees_a_bar(tree: Path, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    received: list[bytes] = []

    def read() -> None:
        try:
            while chunk := os.read(master, 65536):
                received.append(chunk)
        except OSError:  # what Linux says when the last writer has closed a terminal
            pass

    reader = threading.Thread(target=read)
    reader.start()
    ended = subprocess.run(
        [*COMMAND, tree, "--report", tmp_path / "report"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
    )
    os.close(slave)
    reader.join()
    os.close(master)
    screen = b"".join(received).decode()
    assert ended.returncode == 0, screen
    assert "━" in screen
    assert "SIGKILL to worker" in screen
    assert PASSED in screen


class Session:
    """A demo in a session of its own, stopped in the middle, and what it leaves behind."""

    def __init__(self, *arguments: str | Path, until: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(until):
                break
        self.members = pidfds(of_session(self.process.pid))
        assert len(self.members) > 1  # the demo and at least one worker

    def end(self) -> tuple[int, str]:
        _, err = self.process.communicate()
        wait_until_gone(self.members)
        assert of_session(self.process.pid) == []
        return self.process.returncode, err


@pytest.mark.parametrize("stage", ["treadle", "multiprocessing"])
@pytest.mark.parametrize("whom", ["the demo", "everyone"])
def test_ctrl_c_ends_it_with_one_line_and_no_workers(tmp_path: Path, stage: str, whom: str) -> None:
    report = tmp_path / "report"
    session = Session(
        "--compare", "--limit", "150", "--report", report, until=f"{stage}: SIGKILL to worker"
    )
    send: Callable[[int, int], None] = os.kill if whom == "the demo" else os.killpg
    send(session.process.pid, signal.SIGINT)
    code, err = session.end()
    assert code == 130
    assert err == (
        f"treadle demo: interrupted; its workers are gone; the report so far is {report}\n"
    )


def test_workers_do_not_outlive_a_killed_demo(tmp_path: Path) -> None:
    session = Session("--report", tmp_path / "report", until="treadle: worker")
    session.process.kill()
    code, _ = session.end()
    assert code == -signal.SIGKILL


def test_an_output_that_is_closed_ends_it(tmp_path: Path) -> None:
    session = Session(
        "--compare", "--limit", "150", "--report", tmp_path / "report", until="treadle: SIGKILL"
    )
    assert session.process.stdout is not None
    session.process.stdout.close()
    session.process.stdout = None
    code, err = session.end()
    assert (code, err) == (141, "")


def test_ctrl_c_in_the_serial_run(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> SerialRun:
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "run_serially", interrupted)
    assert run_demo(Wishes(path=str(tree), report=str(tmp_path / "report"))) == 130
    assert capsys.readouterr().err.startswith("treadle demo: interrupted; ")


def test_a_second_ctrl_c_does_not_cut_the_line_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def say(sentence: str) -> None:
        signal.raise_signal(signal.SIGINT)
        print(sentence)

    def interrupted(_: Wishes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "_say", say)
    monkeypatch.setattr(job, "_root_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_demo(Wishes())
    assert capsys.readouterr().out == "interrupted; its workers are gone\n"


def test_an_error_of_treadle_is_one_sentence(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_memory(*_: object) -> Run:
        raise treadle.ArenaFullError("the arena is full; raise its limit")

    monkeypatch.setattr(job, "run_on_treadle", no_memory)
    assert run_demo(Wishes(path=str(tree), report=str(tmp_path / "report"))) == 1
    assert capsys.readouterr().err == "treadle demo: the arena is full; raise its limit\n"


def spoilt(
    spoil: Callable[[Done], Done | Refused | None],
) -> Callable[[Job, Display, Callable[[Done | Refused], object]], Run]:
    """`run_on_treadle` with its first result made into something else, or dropped."""

    def run(job: Job, display: Display, write: Callable[[Done | Refused], object]) -> Run:
        first = True

        def spoil_first(result: Done | Refused) -> None:
            nonlocal first
            if first and isinstance(result, Done):
                first = False
                spoiled = spoil(result)
                if spoiled is not None:
                    write(spoiled)
            else:
                write(result)

        return run_on_treadle(job, display, spoil_first)

    return run


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda result: replace(result, sha256="0" * 64), " differs: "),
        (lambda result: replace(result, path=result.path + "?"), " is missing in the report"),
        (lambda result: None, " is missing in the report"),
    ],
)
def test_a_demo_that_went_wrong_says_so_and_fails(
    tree: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Done], Done | Refused | None],
    fault: str,
) -> None:
    monkeypatch.setattr(job, "run_on_treadle", spoilt(spoil))
    assert run_demo(Wishes(path=str(tree), report=str(tmp_path / "report"))) == 1
    out = capsys.readouterr().out
    assert PASSED not in out
    _, faults = out.split("FAILED:\n")
    assert fault in faults
