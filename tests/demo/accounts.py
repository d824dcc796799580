"""Accounts of runs for the tests, made by hand or by doing the work without any queue."""

from dataclasses import replace
from pathlib import Path

from treadle.demo.messages import Done, Refused, Task
from treadle.demo.report import ReportWriter
from treadle.demo.run import Job, Run
from treadle.demo.walk import find_files
from treadle.demo.worker import do_task

EMPTY = Run(
    engine="treadle",
    found=(),
    files=0,
    bytes=0,
    compressed=0,
    seconds=1.0,
    refused=(),
    unlisted=(),
    killed=(),
    deaths=(),
    again=(),
    duplicates=(),
    lost=(),
    failure=None,
)


def job_for(root: Path, *, workers: int = 2, kills: int = 0, limit: int | None = None) -> Job:
    return Job(str(root), workers, kills, limit)


def run_with(**changes: object) -> Run:
    return replace(EMPTY, **changes)  # type: ignore[arg-type]


def done(path: str, pid: int = 1, deliveries: int = 1) -> Done:
    return Done(path, 10, "0" * 64, 5, 1, 1, 1, pid, deliveries, 0.1)


def results_for(job: Job) -> list[Done | Refused]:
    """The results of a run that did everything right."""
    return [do_task(Task(found.path), 1, lambda _: None) for found in find_files(job.root)]


def write_report(path: Path, results: list[Done | Refused]) -> str:
    with ReportWriter(str(path)) as report:
        for result in results:
            report.write(result)
    return str(path)
