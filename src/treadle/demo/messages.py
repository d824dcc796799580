"""What crosses the demo's two queues: tasks one way, news of workers and files the other way.

They are plain frozen records, the same ones on treadle's queues and on multiprocessing's.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Task:
    """One file to do. Its first ``kills`` deliveries are to end in the death of their worker."""

    path: str
    kills: int = 0


@dataclass(frozen=True, slots=True)
class Begun:
    """A victim works on ``path``, and goes on working on it until it is killed."""

    path: str
    pid: int


@dataclass(frozen=True, slots=True)
class Beat:
    """A worker is still busy with a large file: ``bytes_read`` of it are done."""

    path: str
    pid: int
    bytes_read: int


@dataclass(frozen=True, slots=True)
class Done:
    """A file was read to its end, hashed and compressed.

    ``inode``, ``mtime_ns`` and ``ctime_ns`` are those the file had before its first byte was read,
    so that a later reader can tell a changed file from a wrong digest.
    """

    path: str
    size: int
    sha256: str
    compressed: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    pid: int
    deliveries: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """A path could not be done; ``problem`` is the sentence that says why."""

    path: str
    problem: str
    pid: int
    deliveries: int


@dataclass(frozen=True, slots=True)
class Died:
    """A worker ended before its work did; ``replacement`` is the pid of the one in its place.

    ``exitcode`` is multiprocessing's: negative for a signal. ``replacement`` is None when nobody
    was started any more.
    """

    pid: int
    exitcode: int
    replacement: int | None


Message = Begun | Beat | Done | Refused | Died
