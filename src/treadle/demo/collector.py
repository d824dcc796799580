"""The collector: takes the workers' news, writes each file once, keeps the account of the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from treadle.demo.display import Display, shown
from treadle.demo.messages import Beat, Begun, Died, Done, Message, Refused
from treadle.demo.progress import Progress
from treadle.demo.run import Killed, Run
from treadle.demo.supervisor import how_it_ended


class Stalled(Exception):
    """No sign of life for longer than the run's patience."""


class Patience:
    """Counts the silence in short waits, so that a demo stopped by Ctrl-Z is not late when it is
    continued: its deadline has not gone on while it stood.
    """

    WAIT = 1.0
    """How long to wait for news before telling `silence`, in seconds."""

    def __init__(self, seconds: float) -> None:
        self._left = self._waits = max(1, round(seconds / self.WAIT))

    def news(self) -> None:
        """Something was heard."""
        self._left = self._waits

    def silence(self) -> None:
        """A wait of ``WAIT`` seconds was in vain; raises `Stalled` after too many of them."""
        self._left -= 1
        if self._left <= 0:
            raise Stalled(f"no sign of life from any worker for {self._waits * self.WAIT:.0f} s")


class Collector:
    """Takes messages in the main thread and keeps the account.

    ``write`` gets each path's first result. ``kill(pid)`` is called for a victim that has begun and
    says whether the kill was sent. Results that come again are dropped and counted.
    """

    def __init__(
        self,
        root: str,
        display: Display,
        *,
        write: Callable[[Done | Refused], object],
        kill: Callable[[int], bool],
    ) -> None:
        self._root = root
        self._display = display
        self._write = write
        self._kill = kill
        self._begun = self._last = time.monotonic()
        self._seen: set[str] = set()
        self._in_work: dict[int, int] = {}  # bytes done of a large file, by pid
        self._files = self._bytes = self._compressed = 0
        self._refused: list[Refused] = []
        self._killed: list[Killed] = []
        self._deaths: list[Died] = []
        self._again: list[Done | Refused] = []
        self._duplicates: list[str] = []

    @property
    def results(self) -> int:
        """How many paths have their result."""
        return len(self._seen)

    def take(self, message: Message) -> None:
        """Enter one message into the account, and do what it asks for."""
        match message:
            case Done() | Refused():
                self._take_result(message)
            case Beat(pid=pid, bytes_read=bytes_read):
                self._in_work[pid] = bytes_read
            case Begun(path=path, pid=pid):
                if self._kill(pid):
                    self._killed.append(Killed(pid, path))
                    self._note(f"SIGKILL to worker {pid} in the middle of", path)
            case Died(pid=pid, exitcode=exitcode, replacement=replacement):
                self._in_work.pop(pid, None)
                self._deaths.append(message)
                place = "" if replacement is None else f"; worker {replacement} takes its place"
                self._display.note(f"worker {pid} ended {how_it_ended(exitcode)}{place}")

    def show(self, found: int, walking: bool) -> None:
        """Bring the display up to date."""
        moving = sum(self._in_work.values())
        elapsed = time.monotonic() - self._begun
        self._display.show(Progress(self.results, found, walking, self._bytes + moving, elapsed))

    def account(
        self,
        engine: str,
        found: Sequence[str],
        unlisted: Sequence[tuple[str, str]],
        failure: str | None,
    ) -> Run:
        """Close the account; ``found`` are the paths that were handed out."""
        return Run(
            engine=engine,
            found=tuple(found),
            files=self._files,
            bytes=self._bytes,
            compressed=self._compressed,
            seconds=self._last - self._begun,
            refused=tuple(self._refused),
            unlisted=tuple(unlisted),
            killed=tuple(self._killed),
            deaths=tuple(self._deaths),
            again=tuple(self._again),
            duplicates=tuple(self._duplicates),
            lost=tuple(path for path in found if path not in self._seen),
            failure=failure,
        )

    def _take_result(self, result: Done | Refused) -> None:
        self._in_work.pop(result.pid, None)
        if result.path in self._seen:
            self._duplicates.append(result.path)
            return
        self._seen.add(result.path)
        self._last = time.monotonic()
        self._write(result)
        if isinstance(result, Done):
            self._files += 1
            self._bytes += result.size
            self._compressed += result.compressed
        else:
            self._refused.append(result)
        if result.deliveries > 1:
            self._again.append(result)
            self._note(
                f"worker {result.pid} got it again (delivery {result.deliveries}):", result.path
            )

    def _note(self, text: str, path: str) -> None:
        self._display.note(f"{text} {shown(path, self._root)}")
