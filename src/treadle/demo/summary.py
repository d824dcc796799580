"""The closing lines of the demo for people, and the same as one JSON document for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from treadle.demo.check import SerialRun
from treadle.demo.display import shown
from treadle.demo.messages import Died
from treadle.demo.run import Job, Run
from treadle.demo.supervisor import how_it_ended

LISTED = 10
"""So many of a kind are listed; the rest are counted. `document` has all of them."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that one call of the demo found out; it passed when ``faults`` is empty."""

    job: Job
    report: str | None
    run: Run
    serial: SerialRun | None
    rival: Run | None
    faults: tuple[str, ...]


def sentences(outcome: Outcome) -> Iterator[str]:
    """Yield the closing lines."""
    job, run, serial = outcome.job, outcome.run, outcome.serial
    yield f"{_count(run.files, 'file')}, {run.bytes / 1e6:,.1f} MB, under {shown(job.root)}"
    yield f"  {_count(job.workers, 'worker')}: {_speed(run)}"
    if serial is not None:
        yield f"  serial: {_speed(serial)} (second, on files already in the page cache)"
    yield from _indented(_deaths(job, run))
    yield from _indented(_problems(job, run))
    if serial is not None:
        yield from _indented(_first(serial.notes))
    if outcome.rival is not None:
        yield ""
        yield from side_by_side(job, run, outcome.rival)
        yield ""
    if outcome.report is not None:
        yield f"report: {shown(outcome.report)}"
    if outcome.faults:
        yield "FAILED:"
        yield from _indented(_first(outcome.faults))
    else:
        yield "passed: every file exactly once, every digest equal to the serial run's"


def side_by_side(job: Job, run: Run, rival: Run) -> Iterator[str]:
    """Yield a table of two runs of the same job."""
    rows = [
        ("", run.engine, rival.engine),
        ("files with a result", _of_found(run), _of_found(rival)),
        ("files lost", f"{len(run.lost):,}", f"{len(rival.lost):,}"),
        ("workers killed", f"{len(run.killed):,}", f"{len(rival.killed):,}"),
        ("delivered again", f"{len(run.again):,}", f"{len(rival.again):,}"),
        ("to the last result", f"{run.seconds:.2f} s", f"{rival.seconds:.2f} s"),
        ("until then", *(f"{each.megabytes_per_second:,.1f} MB/s" for each in (run, rival))),
        ("ended by itself", *("no" if each.failure else "yes" for each in (run, rival))),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for label, left, right in rows:
        yield f"  {label:<{widths[0]}}  {left:>{widths[1]}}  {right:>{widths[2]}}"
    yield f"  ({rival.engine} ran last, on files already in the page cache)"
    if rival.failure:
        yield f"  {rival.engine} was ended by the watchdog: {rival.failure}"
    for path in rival.lost[:LISTED]:
        held = next((killed.pid for killed in rival.killed if killed.path == path), None)
        by = f", which the killed worker {held} had taken" if held is not None else ""
        yield f"  {rival.engine} lost {shown(path, job.root)}{by}"
    if len(rival.lost) > LISTED:
        yield f"  … and {len(rival.lost) - LISTED:,} more"


def document(outcome: Outcome) -> dict[str, Any]:
    """Return the outcome as what `json.dumps` takes; times in seconds, rates in 10^6 bytes/s."""
    serial = outcome.serial
    return {
        "path": outcome.job.root,
        "workers": outcome.job.workers,
        "report": outcome.report,
        "passed": not outcome.faults,
        "faults": list(outcome.faults),
        "treadle": _run_document(outcome.run),
        "serial": None
        if serial is None
        else {
            "files": serial.files,
            "bytes": serial.bytes,
            "seconds": round(serial.seconds, 6),
            "megabytes_per_second": round(serial.megabytes_per_second, 3),
            "notes": list(serial.notes),
        },
        "multiprocessing": None if outcome.rival is None else _run_document(outcome.rival),
    }


def _run_document(run: Run) -> dict[str, Any]:
    return {
        "found": len(run.found),
        "files": run.files,
        "bytes": run.bytes,
        "compressed": run.compressed,
        "seconds": round(run.seconds, 6),
        "megabytes_per_second": round(run.megabytes_per_second, 3),
        "problems": [{"path": each.path, "problem": each.problem} for each in run.refused]
        + [{"path": path, "problem": problem} for path, problem in run.unlisted],
        "killed": [asdict(killed) for killed in run.killed],
        "deaths": [asdict(death) for death in run.deaths],
        "again": [
            {"path": each.path, "pid": each.pid, "deliveries": each.deliveries}
            for each in run.again
        ],
        "duplicates": list(run.duplicates),
        "lost": list(run.lost),
        "failure": run.failure,
    }


def _deaths(job: Job, run: Run) -> Iterator[str]:
    ends = {death.pid: death for death in run.deaths}
    for killed in run.killed:
        name = shown(killed.path, job.root)
        place = _place(ends.get(killed.pid))
        yield f"killed: worker {killed.pid}, by SIGKILL, in the middle of {name}{place}"
    asked = {killed.pid for killed in run.killed}
    for death in run.deaths:
        if death.pid not in asked:
            yield f"died: worker {death.pid}, {how_it_ended(death.exitcode)}{_place(death)}"
    for result in run.again:
        name = shown(result.path, job.root)
        by = f"done by worker {result.pid} on delivery {result.deliveries}"
        yield f"delivered again: {name}, {by}"
    if run.duplicates:
        yield f"dropped: {_count(len(run.duplicates), 'result')} that came twice"


def _problems(job: Job, run: Run) -> Iterator[str]:
    troubles = [(refused.path, refused.problem) for refused in run.refused] + list(run.unlisted)
    if troubles:
        yield f"left out: {_count(len(troubles), 'path')}"
    for path, problem in troubles[:LISTED]:
        yield f"  {shown(path, job.root)}: {problem}"
    if len(troubles) > LISTED:
        yield f"  … and {len(troubles) - LISTED:,} more"


def _place(death: Died | None) -> str:
    if death is None or death.replacement is None:
        return ""
    return f"; worker {death.replacement} took its place"


def _first(items: Sequence[str]) -> Iterator[str]:
    yield from items[:LISTED]
    if len(items) > LISTED:
        yield f"… and {len(items) - LISTED:,} more"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)


def _of_found(run: Run) -> str:
    return f"{len(run.found) - len(run.lost):,} of {len(run.found):,}"


def _speed(run: Run | SerialRun) -> str:
    return f"{run.seconds:.2f} s, {run.megabytes_per_second:,.1f} MB/s"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
