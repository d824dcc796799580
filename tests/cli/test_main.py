"""The `treadle` command itself: help, version, errors in one sentence, Ctrl-C, closed output."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

import treadle
from treadle import cli


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException | int], None]:
    """Puts a `demo` in place whose run raises, or returns, what it is told."""

    def install(outcome: BaseException | int) -> None:
        module = ModuleType("treadle.cli.demo")

        def run(_args: object) -> int:
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        module.add_arguments = lambda parser: parser.add_argument("--files", type=int)  # type: ignore[attr-defined]
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "treadle.cli.demo", module)

    return install


Demo = Callable[[BaseException | int], None]


@pytest.mark.parametrize("code", [0, 1])
def test_exit_code_is_what_the_command_returns(code: int, demo: Demo) -> None:
    demo(code)
    assert cli.main(["demo"]) == code


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"treadle {treadle.__version__}\n"


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "demo" in out and "bench" in out


def test_help_of_a_command_names_its_arguments(
    demo: Demo, capsys: pytest.CaptureFixture[str]
) -> None:
    demo(0)
    assert cli.main(["demo", "--help"]) == 0
    assert "--files" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "start"),
    [
        ([], "treadle: the following arguments are required: COMMAND"),
        (["weave"], "treadle: argument COMMAND: invalid choice: 'weave'"),
        (["--fast"], "treadle: the following arguments are required: COMMAND"),
        (["demo", "--fast"], "treadle demo: unrecognized arguments: --fast; see treadle demo"),
        (["demo", "--files", "many"], "treadle demo: argument --files: invalid int value: 'many'"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(
    argv: list[str], start: str, demo: Demo, capsys: pytest.CaptureFixture[str]
) -> None:
    demo(0)
    assert cli.main(argv) == 2
    assert_one_sentence(*capsys.readouterr(), start)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (cli.CommandError("no such tree"), "treadle demo: no such tree"),
        (cli.CommandError("two\nlines"), "treadle demo: two lines"),
        (FileNotFoundError(2, "No such file", "a.txt"), "No such file: 'a.txt'"),
        (BrokenPipeError(32, "Broken pipe"), "treadle demo: [Errno 32] Broken pipe"),
        (KeyError("x"), "treadle demo: unexpected KeyError: 'x'; run python -X dev -m treadle"),
        (AssertionError(), "treadle demo: unexpected AssertionError; run"),
    ],
)
def test_an_error_is_one_sentence(
    error: Exception, sentence: str, demo: Demo, capsys: pytest.CaptureFixture[str]
) -> None:
    demo(error)
    assert cli.main(["demo"]) == 2
    assert_one_sentence(*capsys.readouterr(), sentence)


def test_ctrl_c_ends_with_130_and_no_word(demo: Demo, capsys: pytest.CaptureFixture[str]) -> None:
    demo(KeyboardInterrupt())
    assert cli.main(["demo"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_ctrl_c_while_the_interpreter_ends_is_not_heard() -> None:
    code = (
        "import atexit, signal, sys; from treadle import cli;"
        "atexit.register(signal.raise_signal, signal.SIGINT);"
        "sys.argv[1:] = ['--version']; sys.exit(cli.main())"
    )
    done = run("-c", code)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_caller_s_ctrl_c_stays_as_it_was() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert cli.main(["--version"]) == 0
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
@pytest.mark.parametrize("module", ["treadle", "treadle.cli"])
def test_runs_as_a_module(module: str) -> None:
    done = run("-m", module, "--version")
    assert (done.returncode, done.stdout) == (0, f"treadle {treadle.__version__}\n")


@pytest.mark.slow
@pytest.mark.parametrize("buffering", ["", "1"])
def test_a_closed_standard_output_is_no_error(buffering: str) -> None:
    # The pipe's reader is gone before the command writes.
    code = (
        "import os, sys; from treadle import cli; r, w = os.pipe(); os.close(r); os.dup2(w, 1);"
        "sys.exit(cli.main(['--version']))"
    )
    done = run("-c", code, PYTHONUNBUFFERED=buffering)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.slow
def test_no_command_is_imported_before_it_is_asked_for() -> None:
    code = (
        "import sys; from treadle import cli; cli.main(['--help']);"
        "sys.exit('treadle.cli.demo' in sys.modules or 'treadle.cli.bench' in sys.modules)"
    )
    assert run("-c", code).returncode == 0


def assert_one_sentence(out: str, err: str, part: str) -> None:
    assert out == ""
    assert part in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
