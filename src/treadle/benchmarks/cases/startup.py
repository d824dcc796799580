"""What an import adds to the start of Python, measured on whole interpreter runs."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from treadle.benchmarks.case import Case, Limit, Measure, Unavailable, against
from treadle.benchmarks.units import Unit

_RUNS_A_SECOND = 60
_FEWEST_RUNS = 5


def cases() -> list[Case]:
    """``import treadle`` beside the modules that it replaces."""
    replaced = "multiprocessing.queues, multiprocessing.synchronize"
    return [
        Case(
            name="import",
            title="Time that the import adds to bare Python",
            unit=Unit.SECONDS,
            contenders={"treadle": _import("treadle"), "multiprocessing": _import(replaced)},
            rows=(Limit("treadle", 0.030), *against(["treadle"], {"multiprocessing": None})),
        )
    ]


def _import(modules: str) -> Measure:
    """Runs with and without the import, in turn; the difference of their medians."""

    def measure(seconds: float) -> float:
        with_import, bare = [], []
        for _ in range(max(_FEWEST_RUNS, round(seconds * _RUNS_A_SECOND))):
            with_import.append(_run_python(f"import {modules}"))
            bare.append(_run_python("pass"))
        return statistics.median(with_import) - statistics.median(bare)

    return measure


def _run_python(statement: str) -> float:
    began = time.perf_counter()
    # -P: what lies in the current directory must not be what is imported.
    done = subprocess.run([sys.executable, "-P", "-c", statement], capture_output=True, text=True)
    ended = time.perf_counter()
    if done.returncode != 0:
        last_line = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unavailable(f"`{statement}` failed in a fresh interpreter: {last_line}")
    return ended - began
