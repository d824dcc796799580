"""Progress: what the bars of a pool's calls show, when they end, and where there are none."""

from __future__ import annotations

import io
import itertools
import sys
import threading
from collections.abc import Iterator

import pytest
from rich.console import Console

import treadle
from tests.sync.threads import until
from treadle._pool import progress


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a terminal got that was stderr."""
    file = io.StringIO()
    monkeypatch.setattr(
        progress,
        "_console",
        lambda: Console(file=file, force_terminal=True, width=120, color_system=None),
    )
    yield file
    assert progress._screen._live is None, "a bar has not ended"


def shown() -> str:
    """The bars as they stand at this instant."""
    console = Console(file=io.StringIO(), width=120)
    with console.capture() as captured:
        console.print(progress._table(progress._screen._bars))
    return captured.get()


def odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError(number)
    return number


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_a_map_shows_items_rate_and_failures(kind: str, terminal: io.StringIO) -> None:
    method = "fork" if kind == "process" else None
    with treadle.Pool(2, kind=kind, start_method=method, progress=True) as pool:
        with pytest.raises(ValueError):
            pool.map(odd, range(1, 1001))
        told = terminal.getvalue()  # it has ended before map raises
    last = told.rpartition("\r")[2]
    assert f"{odd.__module__}.odd()" in told
    assert "1,000/1,000" in told
    assert "/s" in last
    assert "in 0:0" in last
    assert "500 failed" in last


def test_a_label_is_what_the_bars_are_called(terminal: io.StringIO) -> None:
    with treadle.Pool(1, kind="thread", progress="[squares]") as pool:
        assert pool.starmap(pow, [(2, 2), (3, 2)]) == [4, 9]
        assert list(pool.imap_unordered(abs, [-1])) == [1]
    assert "[squares]" in terminal.getvalue()
    assert "2/2" in terminal.getvalue()
    assert "1/1" in terminal.getvalue()
    assert "()" not in terminal.getvalue()


def test_it_shows_busy_workers_and_the_time_left(terminal: io.StringIO) -> None:
    first, rest = threading.Event(), threading.Event()

    def work(number: int) -> int:
        if number > 0:
            first.set()
            rest.wait()
        return number

    with treadle.Pool(2, kind="thread", progress=True) as pool:
        result = pool.map_async(work, [0, 0, 0, 1], chunksize=3)
        first.wait()
        while "3/4" not in (now := shown()):
            assert "busy" in now
        assert "1/2 busy" in now
        assert " left" in now
        rest.set()
        result.get()


def test_the_number_of_an_iterators_items_is_shown_when_it_is_known(terminal: io.StringIO) -> None:
    more = threading.Event()

    def numbers() -> Iterator[int]:
        yield -1
        more.wait()
        yield -2

    with treadle.Pool(1, kind="thread", progress=True) as pool:
        results = pool.imap(abs, numbers())
        assert next(results) == 1
        assert "/2" not in shown()
        more.set()
        assert list(results) == [2]
    assert "2/2" in terminal.getvalue()


def test_calls_at_once_have_a_bar_each(terminal: io.StringIO) -> None:
    go_on = threading.Event()
    with treadle.Pool(2, kind="thread", progress=True) as pool:
        slow = pool.map_async(lambda _: go_on.wait(), [0])
        assert pool.map(abs, [-1, -2, -3]) == [1, 2, 3]
        assert "0/1" in shown()
        assert "3/3" not in shown()
        go_on.set()
        slow.get()
    assert "3/3" in terminal.getvalue()
    assert "1/1" in terminal.getvalue()


def test_a_bar_ends_with_what_is_cancelled_closed_or_terminated(terminal: io.StringIO) -> None:
    stuck = threading.Event()
    with treadle.Pool(1, kind="thread", progress=True) as pool:
        results = pool.imap(abs, itertools.count())
        next(results)
        results.close()
        assert shown().strip() == ""
        cancelled = pool.map_async(abs, range(1_000_000))
        cancelled.cancel()
        assert shown().strip() == ""
        del results
        pool.imap(abs, itertools.count())  # and dropped
        until(lambda: shown().strip() == "")
        pool.map_async(lambda _: stuck.wait(), [0, 0])
        assert "0/2" in shown()
    assert shown().strip() == ""
    stuck.set()


def test_an_input_that_raises_ends_the_bar(terminal: io.StringIO) -> None:
    def numbers() -> Iterator[int]:
        yield -1
        raise KeyError("input")

    with treadle.Pool(1, kind="thread", progress=True) as pool:
        results = pool.imap(abs, numbers())
        assert next(results) == 1
        with pytest.raises(KeyError, match="input"):
            next(results)
        assert list(results) == []
    assert "1 failed" in terminal.getvalue()


def test_where_stderr_is_no_terminal_nothing_is_shown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    with treadle.Pool(1, kind="thread", progress=True) as pool:
        assert pool.map(abs, [-1]) == [1]
        assert list(pool.imap(abs, [-1])) == [1]
    assert capfd.readouterr() == ("", "")


def test_no_items_no_bar(terminal: io.StringIO) -> None:
    with treadle.Pool(1, kind="thread", progress=True) as pool:
        assert pool.map(abs, []) == []
    assert terminal.getvalue() == ""


def test_without_rich_a_pool_with_bars_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.live", None)
    before = threading.active_count()
    with pytest.raises(ImportError, match=r"progress needs rich: pip install 'treadle\[ui\]'"):
        treadle.Pool(1, kind="thread", progress=True)
    assert threading.active_count() == before
