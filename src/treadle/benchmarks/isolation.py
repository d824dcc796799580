"""One measurement in a child process, so that a hang or a crash costs one row and not the run.

The child leads a process group, which is killed as soon as it has answered, died or overrun its
time; the workers it started go with it. Its standard error is kept, and its end is told if the
measurement fails.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import tempfile
import traceback
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, replace
from enum import Enum
from multiprocessing.connection import Connection, wait
from typing import IO

from treadle.benchmarks import watchdog
from treadle.benchmarks.case import Measure, Unavailable

_GRACE_SECONDS = 2.0  # for the child's own watchdog to write the stacks before the group is killed
_LOG_TAIL = 20_000  # characters: the stacks of a few processes


class Kind(Enum):
    """Why there is no figure."""

    UNAVAILABLE = "n/a"
    HUNG = "hung"
    FAILED = "failed"


@dataclass(frozen=True)
class Trouble:
    """What came instead of a figure: one sentence, and the end of what the child printed."""

    kind: Kind
    detail: str
    log: str = ""


def measure_in_child(measure: Measure, seconds: float, *, limit: float) -> float | Trouble:
    """Call `measure(seconds)` in a forked child that has `limit` seconds for it.

    Returns its value, or what was the trouble.
    """
    fork = multiprocessing.get_context("fork")
    with (
        tempfile.TemporaryDirectory(prefix="treadle-bench-") as scratch,
        tempfile.TemporaryFile() as log,
    ):
        answers, answer = fork.Pipe(duplex=False)
        child = fork.Process(target=_child, args=(measure, seconds, limit, scratch, log, answer))
        child.start()
        answer.close()
        pid = child.pid
        assert pid is not None  # it was started
        pidfd = os.pidfd_open(pid)
        try:
            # The child does the same; whoever is first, the group exists before it is killed.
            with suppress(PermissionError, ProcessLookupError):
                os.setpgid(pid, pid)
            # The pidfd: the pipes that would tell of the child's death are open in its workers too.
            ready = wait([answers, pidfd], timeout=limit + _GRACE_SECONDS)
            outcome = _received(answers) if ready else None
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # not yet reaped, so the number is still the group's
            child.join()
            os.close(pidfd)
            answers.close()
        text = _tail(log)
        if isinstance(outcome, Trouble):
            return replace(outcome, log=text)
        if outcome is not None:
            return outcome
        if not ready or child.exitcode == -signal.SIGALRM:
            return Trouble(Kind.HUNG, f"no result after {limit:g} s", text)
        return Trouble(
            Kind.FAILED, f"the measuring process died: {_cause_of_death(child.exitcode)}", text
        )


def _child(
    measure: Measure, seconds: float, limit: float, scratch: str, log: IO[bytes], answer: Connection
) -> None:
    os.setpgid(0, 0)
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    faulthandler.enable(file=2)
    # What a killed measurement leaves in the temporary directory goes when the parent removes it.
    tempfile.tempdir = scratch
    watchdog.start(limit)
    with (
        open(2, "w", buffering=1, closefd=False) as stream,
        redirect_stdout(stream),
        redirect_stderr(stream),
    ):
        answer.send(_outcome(measure, seconds))


def _outcome(measure: Measure, seconds: float) -> float | Trouble:
    try:
        return measure(seconds)
    except Unavailable as error:
        return Trouble(Kind.UNAVAILABLE, str(error))
    except ImportError as error:
        hint = "pip install 'treadle[bench]' brings the rivals"
        return Trouble(Kind.UNAVAILABLE, f"{error}; {hint}")
    except Exception as error:
        traceback.print_exc()
        return Trouble(Kind.FAILED, f"{type(error).__name__}: {error}")


def _received(answers: Connection) -> float | Trouble | None:
    """The child's answer; None if it died without one."""
    if not answers.poll():
        return None
    try:
        outcome: float | Trouble = answers.recv()
    except EOFError:
        return None
    return outcome


def _tail(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")[-_LOG_TAIL:]


def _cause_of_death(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return signal.Signals(-exitcode).name
    return f"exit code {exitcode}"
