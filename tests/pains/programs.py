"""Programs that may hang or litter: each runs in a session of its own, for a bounded time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

# What is shown of the standard library is true of the versions that it was seen in.
seen_in_this_version = pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="not tried with this version of the standard library"
)


@contextmanager
def running(code: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A program for the length of the block; with its output in a pipe."""
    options = {"stdout": subprocess.PIPE, "text": True, "cwd": ROOT} | options
    program = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, **options)
    try:
        yield program
    finally:
        end_session(program)


def output_of(code: str, **options: Any) -> str:
    """What the program prints until it ends, which it must do by itself and well."""
    with running(code, **options) as program:
        said, _ = program.communicate()
        assert program.returncode == 0
        return said


def hangs(code: str, seconds: float = 0.7) -> bool:
    """Whether the program, once it has printed a line, does not end within that time."""
    with running(code, stderr=subprocess.DEVNULL) as program:
        assert program.stdout is not None
        assert program.stdout.readline(), "the program ended before it came to the point"
        try:
            program.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return True
        return False


def end_session(program: subprocess.Popen[str]) -> None:
    """Kill all that the program has started and not ended, itself included."""
    with suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    for pipe in (program.stdin, program.stdout, program.stderr):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    program.wait()
