"""Live progress: a rich bar on a terminal, plain lines elsewhere, nothing for machine readers.

rich is an optional extra (``treadle[ui]``); without it a terminal gets the plain lines as well.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Protocol, Self

from treadle.demo.progress import Progress


class Display(Protocol):
    """Shows one stage of the demo; used as a context manager around it."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...

    def show(self, progress: Progress) -> None:
        """Bring the figures up to date."""

    def note(self, text: str) -> None:
        """Tell an event, once."""


def display_for(stage: str, *, plain: bool = False, silent: bool = False) -> Display:
    """Return the display that suits standard output, headed ``stage``."""
    if silent:
        return SilentDisplay()
    if plain or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return PlainDisplay(stage)
    try:
        from treadle.demo.bar import BarDisplay
    except ImportError:
        return PlainDisplay(stage)
    return BarDisplay(stage)


class SilentDisplay:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, progress: Progress) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""


class PlainDisplay:
    """Prints a line at most once a second, and a last one when the stage ends."""

    INTERVAL = 1.0

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._last: Progress | None = None
        self._printed: Progress | None = None
        self._next = 0.0

    def __enter__(self) -> Self:
        self._next = time.monotonic() + self.INTERVAL
        return self

    def __exit__(self, *_: object) -> None:
        if self._last is not None and self._last != self._printed:
            self._print(self._last)

    def show(self, progress: Progress) -> None:
        """Print the figures, unless the last time was less than a second ago."""
        self._last = progress
        if time.monotonic() >= self._next:
            self._print(progress)

    def note(self, text: str) -> None:
        """Print the event."""
        print(f"{self._stage}: {text}", flush=True)

    def _print(self, progress: Progress) -> None:
        self._printed = progress
        self._next = time.monotonic() + self.INTERVAL
        more = "+" if progress.walking else ""
        print(
            f"{self._stage}: {progress.done:,} of {progress.found:,}{more} files,"
            f" {progress.bytes / 1e6:,.1f} MB, {progress.megabytes_per_second:,.1f} MB/s",
            flush=True,
        )


def shown(path: str, root: str = "") -> str:
    """Return ``path`` as it is shown to people: relative to ``root``, nothing a terminal obeys.

    >>> shown("/data/a\\x1b[2J.txt", "/data")
    'a\\\\x1b[2J.txt'
    """
    relative = path.removeprefix(root.rstrip("/") + "/") if root else path
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in relative
    )
