"""At the arena's limit: an error at once, nothing spoiled, and all goes on once memory is free."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from tests.queue.full_arena import PROGRAMS, no_arena_without
from tests.queue.workers import Start

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_at_the_limit(start: Start, program: object) -> None:
    start("subprocess", program).join()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("which", "limit"),
    [
        (resource.RLIMIT_AS, 16 << 30),
        (resource.RLIMIT_FSIZE, 1 << 20),
        (resource.RLIMIT_NOFILE, 3),
    ],
    ids=["address space", "size of files", "descriptors"],
)
def test_an_arena_that_cannot_be_had_is_a_clean_error(start: Start, which: int, limit: int) -> None:
    start("subprocess", no_arena_without, which, limit).join()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("much", "TREADLE_ARENA_LIMIT must be a number of bytes, not 'much'"),
        ("", "TREADLE_ARENA_LIMIT must be a number of bytes, not ''"),
        ("1000", "at least 1 MiB"),
        ("-5", "at least 1 MiB"),
        ("33554432", None),
    ],
)
def test_the_limit_is_read_from_the_environment(text: str, problem: str | None) -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "import treadle; print(treadle.Queue() and treadle.arena_statistics())",
        ],
        env={**os.environ, "TREADLE_ARENA_LIMIT": text},
        capture_output=True,
        text=True,
    )
    if problem is None:
        assert f"limit={text}," in run.stdout, run.stderr
    else:
        assert run.returncode == 1
        assert run.stderr.splitlines()[-1].startswith("ValueError: ")
        assert problem in run.stderr
