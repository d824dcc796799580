"""Real jobs on pools: files to hash and compress, texts of very uneven length to count words in."""

from __future__ import annotations

import hashlib
import multiprocessing
import re
import sysconfig
import time
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import treadle
from treadle.benchmarks.case import Case, Measure, against
from treadle.benchmarks.units import Unit

_WORKERS = 2
_FILES = 400
_WORD = re.compile(r"[^\W\d_]+")


def cases() -> list[Case]:
    """The wall time of a job, all of whose results are taken."""
    rivals: dict[str, float | None] = {
        "multiprocessing.Pool": None,
        "ProcessPoolExecutor": None,
        "loky": None,
        "mpire": None,
        "joblib": None,
    }
    return [
        Case(
            name=name,
            title=title,
            unit=Unit.SECONDS,
            contenders={
                contender: _wall_time(function, run)
                for contender, run in {
                    "treadle": _on_treadle,
                    "multiprocessing.Pool": _on_multiprocessing,
                    "ProcessPoolExecutor": _on_executor,
                    "loky": _on_loky,
                    "mpire": _on_mpire,
                    "joblib": _on_joblib,
                }.items()
            },
            rows=against(["treadle"], rivals),
            rounds=3,
        )
        for name, title, function in (
            ("job.hash", f"Hashing and compressing {_FILES} files", digest),
            ("job.words", f"Counting the words of {_FILES} texts of uneven length", words),
        )
    ]


def digest(path: str) -> tuple[str, int]:
    """What the demo does with a file: its SHA-256, and how long it is when compressed."""
    content = Path(path).read_bytes()
    return hashlib.sha256(content).hexdigest(), len(zlib.compress(content))


def words(path: str) -> list[tuple[str, int]]:
    """The most frequent words of a text."""
    text = Path(path).read_text(errors="replace")
    return Counter(found.lower() for found in _WORD.findall(text)).most_common(20)


def _paths() -> list[str]:
    """Files of the standard library, from a few bytes to some hundred kilobytes."""
    library = Path(sysconfig.get_path("stdlib"))
    return sorted(str(path) for path in library.rglob("*.py") if "test" not in path.parts)[:_FILES]


def _wall_time(
    function: Callable[[str], Any], run: Callable[[Callable[[str], Any], list[str]], object]
) -> Measure:
    def measure(seconds: float) -> float:
        paths = _paths()
        for path in paths:
            Path(path).read_bytes()  # into the system's cache
        began = time.perf_counter()
        run(function, paths)
        return time.perf_counter() - began

    return measure


def _on_treadle(function: Callable[[str], Any], paths: list[str]) -> None:
    with treadle.Pool(_WORKERS, start_method="fork") as pool:
        pool.map(function, paths)


def _on_multiprocessing(function: Callable[[str], Any], paths: list[str]) -> None:
    with multiprocessing.get_context("fork").Pool(_WORKERS) as pool:
        pool.map(function, paths)


def _on_executor(function: Callable[[str], Any], paths: list[str]) -> None:
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(_WORKERS, mp_context=context) as executor:
        list(executor.map(function, paths))


def _on_loky(function: Callable[[str], Any], paths: list[str]) -> None:
    from loky import ProcessPoolExecutor as Loky

    with Loky(_WORKERS) as executor:
        list(executor.map(function, paths))


def _on_mpire(function: Callable[[str], Any], paths: list[str]) -> None:
    from mpire import WorkerPool

    with WorkerPool(_WORKERS, start_method="fork") as pool:
        pool.map(function, paths)


def _on_joblib(function: Callable[[str], Any], paths: list[str]) -> None:
    from joblib import Parallel, delayed

    Parallel(n_jobs=_WORKERS)(delayed(function)(path) for path in paths)
