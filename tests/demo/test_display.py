"""The displays: plain lines with a measure, a bar on a terminal, nothing for programs."""

import sys
from collections.abc import Callable

import pytest

from treadle.demo import display
from treadle.demo.display import (
    PlainDisplay,
    Progress,
    SilentDisplay,
    display_for,
    shown,
)

HALF = Progress(done=1000, found=2000, walking=True, bytes=3_000_000, seconds=2.0)
ALL = Progress(done=2000, found=2000, walking=False, bytes=6_000_000, seconds=3.0)


def test_plain_lines_hold_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainDisplay("treadle") as plain:
        plain.INTERVAL = 0.0
        plain._next = 0.0
        plain.show(HALF)
        plain.show(ALL)
    assert capsys.readouterr().out.splitlines() == [
        "treadle: 1,000 of 2,000+ files, 3.0 MB, 1.5 MB/s",
        "treadle: 2,000 of 2,000 files, 6.0 MB, 2.0 MB/s",
    ]


def test_plain_lines_come_once_an_interval_and_the_last_one_always(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(display.time, "monotonic", lambda: now)
    with PlainDisplay("treadle") as plain:
        for step in range(35):
            now = 100.0 + step / 10
            plain.show(Progress(step, 35, False, 0, 1.0))
    printed = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert printed == ["10", "20", "30", "34"]


def test_events_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainDisplay("treadle") as plain:
        plain.note("worker 7 ended by SIGKILL")
        assert capsys.readouterr().out == "treadle: worker 7 ended by SIGKILL\n"


def test_a_stage_that_showed_nothing_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainDisplay("treadle"):
        pass
    assert capsys.readouterr().out == ""


def test_programs_are_shown_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with display_for("treadle", silent=True) as silent:
        silent.show(ALL)
        silent.note("x")
    assert isinstance(silent, SilentDisplay)
    assert capsys.readouterr().out == ""


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """To be called in the test: pytest replaces standard output after the fixtures are made."""

    def claim() -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        monkeypatch.setenv("TERM", "xterm")

    return claim


def test_a_pipe_gets_plain_lines() -> None:
    assert isinstance(display_for("treadle"), PlainDisplay)


def test_a_terminal_gets_a_bar(
    on_terminal: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    on_terminal()
    from treadle.demo.bar import BarDisplay

    bar = display_for("[treadle]")
    assert isinstance(bar, BarDisplay)
    with bar:
        bar.note("worker 7 [in the middle of a[b].py]")
        bar.show(HALF)
        bar.show(ALL)
    out = capsys.readouterr().out
    assert "worker 7 [in the middle of a[b].py]" in out
    assert "2000/2000" in out
    assert "6.0 MB" in out


def test_a_terminal_gets_plain_lines_when_asked_for(on_terminal: Callable[[], None]) -> None:
    on_terminal()
    assert isinstance(display_for("treadle", plain=True), PlainDisplay)


def test_a_dumb_terminal_gets_plain_lines(
    on_terminal: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_terminal()
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(display_for("treadle"), PlainDisplay)


def test_a_terminal_without_rich_gets_plain_lines(
    on_terminal: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_terminal()
    monkeypatch.delitem(sys.modules, "treadle.demo.bar", raising=False)
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    assert isinstance(display_for("treadle"), PlainDisplay)


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        ("/data/a/b", "/data", "a/b"),
        ("/b", "/", "b"),
        ("/data/only", "/data/only", "/data/only"),
        ("/database/a", "/data", "/database/a"),
        ("/data/é ü", "/data", "é ü"),
        ("/data/a\nb\x1b[2J", "/data", r"a\nb\x1b[2J"),
        ("/data/caf\udce9", "/data", r"caf\udce9"),
    ],
)
def test_paths_are_shown_short_and_harmless(path: str, root: str, expected: str) -> None:
    assert shown(path, root) == expected
