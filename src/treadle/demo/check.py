"""The check: a serial run over the same files, compared with what the report says.

It shares nothing with the run it checks but the work on one file: it walks the tree anew, reads
the report from disk, and does everything in one thread. A file that was changed, made or removed
between the two runs is told, and is no fault; that it was is read from its times, never assumed.
"""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass, field

from treadle.demo.content import Content, Unreadable, read_content
from treadle.demo.display import Display, shown
from treadle.demo.messages import Done, Refused
from treadle.demo.progress import Progress
from treadle.demo.report import read_report
from treadle.demo.run import Job, Run
from treadle.demo.walk import find_files

_CLOCK_REALTIME_COARSE = 5
"""From linux/time.h; the time module has no name for it."""


@dataclass(frozen=True, slots=True)
class SerialRun:
    """What one thread makes of the same files.

    ``faults`` are the sentences of what must not be, ``notes`` of what changed between the runs.
    """

    files: int
    bytes: int
    seconds: float
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def megabytes_per_second(self) -> float:
        """Bytes read per second, in units of 10^6; 0 for a run that did nothing."""
        return self.bytes / self.seconds / 1e6 if self.seconds else 0.0


def next_file_time() -> int:
    """Return a time, in nanoseconds, between the stamps of files changed before and after the call.

    Waits for it, some milliseconds: depending on the kernel, files are stamped by the coarse clock,
    which lags by up to a tick, or by the fine one.

    >>> next_file_time() <= time.time_ns()
    True
    """
    now = time.time_ns()
    given_up = time.monotonic() + 1.0  # a clock that was set back would be waited for too long
    while time.clock_gettime_ns(_CLOCK_REALTIME_COARSE) < now and time.monotonic() < given_up:
        time.sleep(0.001)
    return now


def run_serially(job: Job, report: str, since_ns: int, display: Display) -> SerialRun:
    """Do ``job``'s files in this thread and compare each with its line in ``report``.

    ``since_ns`` is `next_file_time` from just before the run that wrote the report.
    """
    lines = list(read_report(report))
    begun = time.monotonic()
    serial: dict[str, Content | str] = {}
    done_bytes = 0
    files = find_files(job.root, leave_out=job.leave_out, exclude=job.exclude)
    for found in itertools.islice(files, job.limit):
        try:
            serial[found.path] = content = read_content(found.path)
            done_bytes += content.size
        except Unreadable as error:
            serial[found.path] = str(error)
        elapsed = time.monotonic() - begun
        display.show(Progress(len(serial), len(lines), False, done_bytes, elapsed))
    seconds = time.monotonic() - begun
    done = sum(isinstance(content, Content) for content in serial.values())
    outcome = SerialRun(done, done_bytes, seconds)
    _compare(job, serial, lines, since_ns, outcome)
    return outcome


def faults_of(job: Job, run: Run) -> list[str]:
    """Return, as sentences, what the account of ``run`` itself lacks; empty when it balances."""
    faults = [run.failure] if run.failure else []
    if run.lost:
        some = ", ".join(shown(path, job.root) for path in run.lost[:3])
        faults.append(
            f"{len(run.lost)} of {len(run.found)} files have no result, among them {some}"
        )
    if run.found and len(run.killed) != job.kills:
        faults.append(f"{len(run.killed)} of {job.kills} workers to be killed were killed")
    by_path = {result.path: result for result in run.again}
    for killed in run.killed:
        result, name = by_path.get(killed.path), shown(killed.path, job.root)
        if result is None:
            faults.append(
                f"{name}, held by the killed worker {killed.pid}, was not delivered again"
            )
        elif result.pid == killed.pid:
            faults.append(f"{name} has a result by worker {killed.pid}, which was killed before it")
    deliveries = sum(result.deliveries - 1 for result in run.again) + len(run.duplicates)
    if deliveries > len(run.deaths):
        faults.append(
            f"{deliveries} deliveries came again, but only {len(run.deaths)} workers died"
        )
    return faults


def _compare(
    job: Job,
    serial: dict[str, Content | str],
    lines: list[Done | Refused],
    since_ns: int,
    outcome: SerialRun,
) -> None:
    reported: set[str] = set()
    for line in lines:
        name = shown(line.path, job.root)
        if line.path in reported:
            outcome.faults.append(f"{name} is in the report more than once")
            continue
        reported.add(line.path)
        _compare_one(line, name, serial.get(line.path), since_ns, outcome)
    shifted = job.limit is not None and len(reported) >= job.limit
    for path in serial:
        if path in reported or shifted:
            continue
        if _came_since(path, job.root, since_ns):
            outcome.notes.append(
                f"{shown(path, job.root)} appeared during the run and is not in it"
            )
        else:
            outcome.faults.append(f"{shown(path, job.root)} is missing in the report")


def _compare_one(
    line: Done | Refused,
    name: str,
    serial: Content | str | None,
    since_ns: int,
    outcome: SerialRun,
) -> None:
    if serial is None:
        if not _left_since(line.path, since_ns):
            outcome.faults.append(f"{name} is in the report, and the serial run does not find it")
        else:
            outcome.notes.append(f"{name} vanished during the run")
    elif isinstance(line, Refused):
        if isinstance(serial, Content):
            if _changed_since(line.path, since_ns):
                outcome.notes.append(f"{name} could be read only after the run")
            else:
                outcome.faults.append(
                    f"{name} is refused in the report, and the serial run reads it"
                )
    elif isinstance(serial, str):
        if not os.path.exists(line.path) or _changed_since(line.path, since_ns):
            outcome.notes.append(f"{name} could no longer be read after the run: {serial}")
        else:
            outcome.faults.append(f"{name} is done in the report; the serial run: {serial}")
    elif (line.size, line.sha256, line.compressed) != (
        serial.size,
        serial.sha256,
        serial.compressed,
    ):
        if not _same_file(line, serial):
            outcome.notes.append(f"{name} was changed during the run")
        elif serial.size and _claims_to_be_empty(line.path):
            outcome.notes.append(f"{name} says something else each time it is read")
        else:
            outcome.faults.append(
                f"{name} differs: {line.size} bytes, SHA-256 {line.sha256[:12]}… in the report;"
                f" {serial.size} bytes, {serial.sha256[:12]}… in the serial run"
            )


def _same_file(line: Done, serial: Content) -> bool:
    return (line.inode, line.mtime_ns, line.ctime_ns) == (
        serial.inode,
        serial.mtime_ns,
        serial.ctime_ns,
    )


def _changed_since(path: str, since_ns: int) -> bool:
    try:
        return os.lstat(path).st_ctime_ns >= since_ns
    except OSError:
        return True


def _came_since(path: str, root: str, since_ns: int) -> bool:
    """Say whether ``path``, or a directory between it and ``root``, is new, renamed or changed."""
    while len(path) > len(root):
        if _changed_since(path, since_ns):
            return True
        path = os.path.dirname(path)
    return False


def _left_since(path: str, since_ns: int) -> bool:
    """Say whether ``path`` was removed or replaced: its directory, or what is left of it, tells."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return _changed_since(path, since_ns)


def _claims_to_be_empty(path: str) -> bool:
    try:
        return os.stat(path).st_size == 0
    except OSError:
        return False
