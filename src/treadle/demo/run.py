"""What a run is asked to do, and what came of it. The same records serve treadle and its rival."""

from __future__ import annotations

from dataclasses import dataclass

from treadle.demo.messages import Died, Done, Refused


class DemoError(Exception):
    """The demo cannot go on; the message is a sentence for the user."""

    def __init__(self, sentence: str, exit_code: int = 1) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Job:
    """The files to do and how; ``patience`` is in seconds without any sign of life."""

    root: str
    workers: int
    kills: int
    limit: int | None = None
    leave_out: frozenset[str] = frozenset()
    exclude: tuple[int, int] | None = None
    patience: float = 60.0


@dataclass(frozen=True, slots=True)
class Killed:
    """A worker that was sent SIGKILL while it worked on ``path``."""

    pid: int
    path: str


@dataclass(frozen=True, slots=True)
class Run:
    """The account of one run.

    ``found`` are the paths that the walk handed out; each is in one of ``files`` (a count),
    ``refused`` and ``lost``. ``duplicates`` are results that came twice and were dropped, ``again``
    the results of files that had been delivered before, ``deaths`` all ends of workers before their
    time, asked for or not. ``seconds`` lasts to the last result. ``failure`` is the sentence of a
    run that did not end by itself.
    """

    engine: str
    found: tuple[str, ...]
    files: int
    bytes: int
    compressed: int
    seconds: float
    refused: tuple[Refused, ...]
    unlisted: tuple[tuple[str, str], ...]
    killed: tuple[Killed, ...]
    deaths: tuple[Died, ...]
    again: tuple[Done | Refused, ...]
    duplicates: tuple[str, ...]
    lost: tuple[str, ...]
    failure: str | None

    @property
    def megabytes_per_second(self) -> float:
        """Bytes read per second, in units of 10^6; 0 for a run that did nothing."""
        return self.bytes / self.seconds / 1e6 if self.seconds else 0.0
