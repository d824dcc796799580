"""The steps of the demo, from what the user asked for to the exit code."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import treadle
from treadle.demo.check import faults_of, next_file_time, run_serially
from treadle.demo.content import kind_other_than_file
from treadle.demo.display import Display, display_for, shown
from treadle.demo.interrupt import undisturbed
from treadle.demo.pipeline import run_on_treadle
from treadle.demo.report import ReportWriter
from treadle.demo.rival import run_on_multiprocessing
from treadle.demo.run import DemoError, Job
from treadle.demo.summary import Outcome, document, sentences

PASSED, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

NO_LIBRARY = frozenset({"__pycache__", "site-packages", "dist-packages"})
"""What lies in the standard library's folder and is not the standard library."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says; None is "not said"."""

    path: str | None = None
    workers: int | None = None
    kills: int = 1
    limit: int | None = None
    report: str | None = None
    compare: bool = False
    plain: bool = False
    json: bool = False
    patience: float = 60.0


def run_demo(wishes: Wishes) -> int:
    """Run the main job, print what it found out, and return the exit code.

    0: every file exactly once, digests equal, the kills made and made good. 1: one of these does
    not hold. 2: there is nothing to do with this input. 130: interrupted.
    """
    report: str | None = None
    try:
        root, leave_out = _root_of(wishes)
        with _report_of(wishes, root) as path:
            report = wishes.report and path
            outcome = _demonstrate(wishes, root, leave_out, path)
    except DemoError as error:
        _say(str(error))
        return error.exit_code
    except treadle.TreadleError as error:
        _say(str(error))
        return FAILED
    except KeyboardInterrupt:
        so_far = f"; the report so far is {shown(report)}" if report else ""
        with undisturbed():
            _say(f"interrupted; its workers are gone{so_far}")
        return INTERRUPTED
    if wishes.json:
        print(json.dumps(document(outcome), indent=2))
    else:
        print("\n".join(sentences(outcome)))
    return FAILED if outcome.faults else PASSED


def _demonstrate(wishes: Wishes, root: str, leave_out: frozenset[str], report: str) -> Outcome:
    with ReportWriter(report) as writer:
        status = os.stat(report)
        job = Job(
            root=root,
            workers=wishes.workers or len(os.sched_getaffinity(0)),
            kills=wishes.kills,
            limit=wishes.limit,
            leave_out=leave_out,
            exclude=(status.st_dev, status.st_ino),
            patience=wishes.patience,
        )
        since = next_file_time()
        with _display("treadle", wishes) as display:
            run = run_on_treadle(job, display, writer.write)
    if not run.found and not run.failure:
        raise DemoError(_nothing_found(root, run.unlisted), BAD_INPUT)
    faults, serial, rival = faults_of(job, run), None, None
    if not run.failure:
        with _display("serial", wishes) as display:
            serial = run_serially(job, report, since, display)
        faults += serial.faults
    if wishes.compare:
        with _display("multiprocessing", wishes) as display:
            rival = run_on_multiprocessing(job, display)
    return Outcome(job, wishes.report and report, run, serial, rival, tuple(faults))


def _root_of(wishes: Wishes) -> tuple[str, frozenset[str]]:
    if wishes.path is None:
        return sysconfig.get_path("stdlib"), NO_LIBRARY
    name = shown(wishes.path) or "''"
    try:
        kind = kind_other_than_file(os.stat(wishes.path))
        if kind not in (None, "a directory"):
            raise DemoError(f"{name} is {kind}; give a file or a directory", BAD_INPUT)
        # Links are followed once for all: /proc/self and /dev/stdin differ between processes.
        root = os.path.realpath(wishes.path, strict=True)
    except OSError as error:
        raise DemoError(
            f"{name} cannot be used: {error.strerror}; give a file or a directory", BAD_INPUT
        ) from None
    return root, frozenset()


@contextmanager
def _report_of(wishes: Wishes, root: str) -> Iterator[str]:
    """The path of the report; if none is wanted, of a file without a name, which does not stay."""
    if wishes.report is not None:
        report = os.path.abspath(wishes.report)
        if os.path.exists(report) and os.path.samefile(report, root):
            raise DemoError(
                f"{shown(wishes.report)} is what is to be read; give another --report FILE",
                BAD_INPUT,
            )
        yield report
        return
    try:
        file = tempfile.TemporaryFile(prefix="treadle-demo-")  # noqa: SIM115  closed below
    except OSError as error:
        raise DemoError(
            f"no temporary file can be made: {error.strerror}; give --report FILE", BAD_INPUT
        ) from None
    with file:
        yield f"/proc/self/fd/{file.fileno()}"


def _nothing_found(root: str, unlisted: tuple[tuple[str, str], ...]) -> str:
    if unlisted:
        path, problem = unlisted[0]
        return f"no file was found under {shown(root)}; {shown(path)}: {problem}"
    return f"{shown(root)} holds no file; there is nothing to do"


def _display(stage: str, wishes: Wishes) -> Display:
    return display_for(stage, plain=wishes.plain, silent=wishes.json)


def _say(sentence: str) -> None:
    print(f"treadle demo: {sentence}", file=sys.stderr)
