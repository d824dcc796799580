"""The progress bar on a terminal. Importing this needs rich (the extra ``treadle[ui]``)."""

from __future__ import annotations

from typing import Self

from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as RichProgress

from treadle.demo.progress import Progress


class BarDisplay:
    """One bar with files, MB and MB/s; events scroll by above it."""

    def __init__(self, stage: str) -> None:
        self._bar = RichProgress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("files  {task.fields[volume]}"),
            TimeElapsedColumn(),
        )
        self._task = self._bar.add_task(escape(stage), total=None, volume="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, progress: Progress) -> None:
        """Bring the bar up to date; it is drawn about ten times a second."""
        volume = f"{progress.bytes / 1e6:,.1f} MB  {progress.megabytes_per_second:,.1f} MB/s"
        self._bar.update(
            self._task, completed=progress.done, total=progress.found or None, volume=volume
        )

    def note(self, text: str) -> None:
        """Print the event above the bar."""
        self._bar.console.print(text, markup=False, highlight=False)
