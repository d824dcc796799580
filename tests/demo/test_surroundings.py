"""The demo where things are scarce or strange: closed streams, tiny arenas, links of /proc."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.demo.processes import of_session, pidfds, wait_until_gone
from tests.demo.trees import plant

pytestmark = pytest.mark.slow

PASSED = "passed: every file exactly once, every digest equal to the serial run's"


def demo(
    *arguments: str | Path, shell: str = '"$@"', **environment: str
) -> subprocess.CompletedProcess[str]:
    """The demo as a shell starts it; ``shell`` says with which streams."""
    command = [sys.executable, "-m", "treadle", "demo", *map(str, arguments)]
    return subprocess.run(
        ["sh", "-c", shell, "sh", *command],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ | environment,
    )


@pytest.fixture(autouse=True)
def reports_go_with_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    plant(tmp_path / "tree")
    return tmp_path / "tree"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_harm(tree: Path, tmp_path: Path, closed: str) -> None:
    ended = demo(tree, "--report", tmp_path / "report", shell=f'"$@" {closed}')
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "" if ">&-" in closed.split() else PASSED in ended.stdout
    assert len((tmp_path / "report").read_text().splitlines()) == 44


def test_an_error_is_not_printed_in_the_place_of_results() -> None:
    ended = demo("no/such", shell='"$@" 2>&-')
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", "")


def test_an_output_that_is_full_is_one_sentence(tree: Path, tmp_path: Path) -> None:
    ended = demo(tree, "--report", tmp_path / "report", shell='"$@" >/dev/full')
    assert ended.returncode == 2
    assert ended.stderr == "treadle demo: [Errno 28] No space left on device\n"


def test_a_locale_without_letters_is_no_harm(tree: Path, tmp_path: Path) -> None:
    (tree / "ä").write_text("named by a letter that ASCII has not")
    os.rename(tree / "ä", os.fsencode(tree) + b"/\xff")
    ended = demo(
        tree, "--report", tmp_path / "r", LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii"
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "45 files, " in ended.stdout


def test_an_empty_path_is_not_the_current_directory() -> None:
    ended = demo("")
    assert ended.returncode == 2
    assert ended.stderr.startswith("treadle demo: '' cannot be used: No such file or directory;")


def test_a_name_that_a_terminal_would_obey_is_harmless_in_errors() -> None:
    ended = demo(__file__, "--report", "/no/such/\x1b[2J")
    assert ended.stderr.startswith(r"treadle demo: the report /no/such/\x1b[2J cannot be written: ")


def test_a_path_that_differs_between_processes_is_the_one_of_the_demo(
    tree: Path, tmp_path: Path
) -> None:
    """In a worker /proc/self is the worker; its descriptor 9 is not open."""
    ended = demo(
        "/proc/self/fd/9",
        "--report",
        tmp_path / "report",
        "--json",
        shell=f'"$@" 9<{tree}/0/large-0',
    )
    document = json.loads(ended.stdout)
    assert (ended.returncode, document["faults"]) == (0, [])
    assert document["path"] == f"{tree}/0/large-0"


def test_a_pipe_under_the_name_of_a_file_is_refused() -> None:
    ended = demo("/dev/stdin", shell='echo text | "$@"')
    assert ended.returncode == 2
    assert ended.stderr == "treadle demo: /dev/stdin is a FIFO; give a file or a directory\n"


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ("0", "the arena's limit must be at least 1 MiB (1048576), not 0"),
        ("half", "TREADLE_ARENA_LIMIT must be a number of bytes, not 'half'"),
    ],
)
def test_a_limit_of_the_arena_that_makes_no_sense(limit: str, sentence: str) -> None:
    ended = demo(TREADLE_ARENA_LIMIT=limit)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"treadle demo: {sentence}\n"


def test_the_smallest_arena_suffices_for_the_longest_paths(tmp_path: Path) -> None:
    """The queues are limited in bytes, not only in items."""
    deep = tmp_path / "/".join(["d" * 200] * 14)
    deep.mkdir(parents=True)
    for number in range(600):
        (deep / f"{'f' * 200}{number}").write_text(str(number))
    ended = demo(
        tmp_path, "--report", tmp_path / "report", "--json", TREADLE_ARENA_LIMIT=str(1 << 20)
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)["treadle"]["files"] == 600


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV])
def test_whatever_ends_the_demo_ends_its_workers(tmp_path: Path, end: signal.Signals) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "treadle", "demo", "--report", tmp_path / "report"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=partial(signal.signal, end, signal.SIG_DFL),  # nohup has SIGHUP ignored
    )
    assert demo.stdout is not None
    with demo.stdout:
        demo.stdout.readline()  # a worker was killed, and others live
        members = pidfds(of_session(demo.pid))
        assert len(members) > 1
        demo.send_signal(end)
        assert demo.wait() == -end
        wait_until_gone(members)
    assert of_session(demo.pid) == []
