"""Progress of a pool's map calls: a bar for each, on stderr, drawn by rich.

Prior art: tqdm, which counts in the loop that takes the results, and knows nothing of the workers.
Here jobs count what comes to them, by a few integers, and one thread looks at these several times a
second, so that drawing costs results nothing. All bars of a process share one display, since only
one can own the last lines of a terminal. Nothing is redirected: a worker that is forked meanwhile
would have the redirection, and perhaps its lock.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from treadle._core import RLock
from treadle._pool.calls import WHOLE, task_name
from treadle._pool.engine import Part
from treadle._pool.imap import ImapJob
from treadle._pool.results import MapResult
from treadle._pool.workers import Workers
from treadle._running.outcomes import Outcome

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

__all__ = ["Bar", "Bars"]

T = TypeVar("T")

_A_SECOND = 8  # times that the bars are drawn
_WINDOW = 10.0  # seconds back that the rate is measured over
_WIDTH = 30  # of the bar, in characters
_LABEL = 32  # characters of its label that are shown


class Bars:
    """What makes the bars of a pool. label: what they are called; by default, the function."""

    def __init__(self, label: str | None) -> None:
        try:
            import rich.live  # noqa: F401
        except ImportError as error:
            raise ImportError("progress needs rich: pip install 'treadle[ui]'") from error
        self._label = label

    def bar(self, function: Callable[..., Any], total: int | None, workers: Workers) -> Bar | None:
        """A bar for a call, shown from now on until it ends; None where there is no terminal."""
        console = _console()
        if not console.is_terminal:
            return None
        bar = Bar(self._label or task_name(function), total, workers)
        _screen.show(bar, console)
        return bar


def _console() -> Console:
    from rich.console import Console

    return Console(stderr=True)


class Bar:
    """What has become of the items of a call. Counted by any thread, drawn by another."""

    def __init__(self, label: str, total: int | None, workers: Workers) -> None:
        self.done = self.failed = 0
        self._label = label
        self._total = total
        self._workers = workers
        self._counting = RLock(shared=False)  # a finalizer may end it amid a count
        self._begun = time.monotonic()
        self._samples = deque([(self._begun, 0)])
        self._ended: float | None = None

    def count(self, done: int, failed: int = 0) -> None:
        """So many more have come to their ends, of which so many failed."""
        with self._counting:
            self.done += done
            self.failed += failed
            over = self.done == self._total
        if over:
            self.end()

    def set_total(self, total: int) -> None:
        """There will be so many items."""
        with self._counting:
            self._total = total
            over = self.done == total
        if over:
            self.end()

    def end(self) -> None:
        """Nothing more will come. May be called again."""
        with self._counting:
            if self._ended is not None:
                return
            self._ended = time.monotonic()
        _screen.drop(self)

    def map_result(self, *args: Any) -> MapResult[Any]:
        """The job, which counts; args: those of MapResult."""
        return _WatchedMap(self, *args)

    def imap_job(self, *args: Any, ordered: bool) -> ImapJob:
        """The job, which counts; args: those of ImapJob."""
        return _WatchedImap(self, *args, ordered=ordered)

    def cells(self) -> list[Any]:
        """What its line shows."""
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        total, done, failed = self._total, self.done, self.failed
        rate = self._rate(done)
        if self._ended is not None:
            clock, at_work = f"in {_clock(self._ended - self._begun)}", ""
        else:
            left = (total - done) / rate if total is not None and rate else None
            clock = "" if left is None else f"{_clock(left)} left"
            busy = sum(serial != 0 for serial in self._workers.crew.at_work())
            at_work = f"{busy}/{self._workers.count} busy"
        shown = total or (done if self._ended is not None else None)
        return [
            Text(self._label if len(self._label) <= _LABEL else f"…{self._label[1 - _LABEL :]}"),
            ProgressBar(shown, done, width=_WIDTH, pulse=shown is None),
            Text(f"{done:,}" if total is None else f"{done:,}/{total:,}"),
            Text(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:,.1f}/s"),
            Text(clock),
            Text(f"{failed:,} failed" if failed else "", style="bold red"),
            Text(at_work, style="dim"),
        ]

    def _rate(self, done: int) -> float:
        """Items a second: lately, and over all when it has ended."""
        if self._ended is not None:
            return done / max(self._ended - self._begun, 1e-9)
        now, samples = time.monotonic(), self._samples
        samples.append((now, done))
        while len(samples) > 2 and samples[1][0] < now - _WINDOW:
            samples.popleft()
        since, before = samples[0]
        return (done - before) / max(now - since, 1e-9)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class _Screen:
    """The last lines of a terminal: the bars that have not ended. Those that have stay above.

    Drawn under one lock, by a thread that lasts as long as there are bars: rich's own would draw
    between two steps of another thread's.
    """

    def __init__(self) -> None:
        self._bars: list[Bar] = []
        self._live: Live | None = None
        self._drawing = RLock(shared=False)  # a finalizer may end a bar amid the drawing

    def show(self, bar: Bar, console: Console) -> None:
        with self._drawing:
            self._bars.append(bar)
            if self._live is not None:
                return
            from rich.live import Live

            self._live = Live(
                get_renderable=lambda: _table(self._bars),
                console=console,
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start(refresh=True)
            threading.Thread(
                target=self._draw, args=(self._live,), name="treadle-progress", daemon=True
            ).start()

    def drop(self, bar: Bar) -> None:
        with self._drawing:
            if bar not in self._bars or self._live is None:
                return
            if len(self._bars) == 1:  # it is drawn once more, and stays
                self._live.stop()
                self._live = None
                self._bars.clear()
            else:
                self._bars.remove(bar)
                self._live.refresh()
                self._live.console.print(_table([bar]))

    def _draw(self, live: Live) -> None:
        while True:
            time.sleep(1 / _A_SECOND)
            with self._drawing:
                if self._live is not live:
                    return
                live.refresh()


def _table(bars: Sequence[Bar]) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis")
    for justify in ("left", "right", "right", "left", "left", "left"):
        table.add_column(no_wrap=True, justify=justify)
    for bar in bars:
        table.add_row(*bar.cells())
    return table


_screen = _Screen()


def _renew_screen() -> None:
    global _screen
    _screen = _Screen()


os.register_at_fork(after_in_child=_renew_screen)  # the display, and its thread, are the parent's


# ---- The jobs that count. A bar has ended before whoever waits for the job goes on, and prints.


class _WatchedMap(MapResult[T]):
    """A MapResult with a bar."""

    def __init__(self, bar: Bar, *args: Any) -> None:
        self._bar = bar
        super().__init__(*args)

    def _deliver(self, parts: Sequence[Part]) -> None:
        self._bar.count(sum(len(values) for _, values, _ in parts))
        super()._deliver(parts)

    def _fail(self, index: int, outcome: Outcome) -> None:
        if index != WHOLE:
            self._bar.count(1, 1)
        super()._fail(index, outcome)

    def _settle(self, outcome: Outcome) -> bool:
        self._bar.end()
        return super()._settle(outcome)


class _WatchedImap(ImapJob):
    """An ImapJob with a bar, whose total is known when the input has ended."""

    def __init__(self, bar: Bar, *args: Any, ordered: bool) -> None:
        self._bar = bar
        super().__init__(*args, ordered=ordered)

    def close(self) -> None:
        self._bar.end()
        super().close()

    def _deliver(self, parts: Sequence[Part]) -> None:
        self._bar.count(sum(len(values) for _, values, _ in parts))
        super()._deliver(parts)

    def _fail(self, index: int, outcome: Outcome) -> None:
        if index == WHOLE:
            self._bar.end()
        else:
            self._bar.count(1, 1)
        super()._fail(index, outcome)

    def _set_length(self, length: int) -> None:
        self._bar.set_total(length)
        super()._set_length(length)
