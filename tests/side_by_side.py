"""Runs all tests in two processes side by side, since most of them wait; ``make test`` does so.

The second process prints as it goes; the first, which checks the style and the types before it
tests, when it has ended. The last line is the sum of pytest's two closing lines, in pytest's form.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

_ROOT = Path(__file__).parents[1]
# About half of the time, and nothing that keeps both cores busy by itself.
_FIRST = (
    *("aio", "channels", "crash", "demo", "dropins", "joblib"),
    *("names", "queue", "running", "stress", "sync", "timers"),
)
_LINT_AND = 'make --no-print-directory lint; lint=$?; "$@" || exit; exit $lint'
_CLOSING = re.compile(r"^=* ?((?:\d+ \w+(?:, )?)+) in [\d.]+s.*$", re.MULTILINE)


def main() -> int:
    began = time.monotonic()
    folders = [f"tests/{name}" for name in _FIRST]
    pytest = [sys.executable, "-m", "pytest"]
    tests = [*pytest, "-o", "cache_dir=.pytest_cache/first", *folders]
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            ["sh", "-c", _LINT_AND, "sh", *tests], cwd=_ROOT, stdout=log, stderr=subprocess.STDOUT
        ) as first,
    ):
        rest, rest_told = _run([*pytest, *(f"--ignore={folder}" for folder in folders)])
        first.wait()
        log.seek(0)
        first_told = log.read()
    print(first_told, end="")
    print(_sum([rest_told, first_told], time.monotonic() - began), flush=True)
    return first.returncode or rest


def _run(command: list[str]) -> tuple[int, str]:
    """Prints what the command prints, and returns it with its status."""
    told = []
    with subprocess.Popen(
        command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        while part := process.stdout.readline():
            print(part, end="", flush=True)
            told.append(part)
    return process.returncode, "".join(told)


def _sum(outputs: list[str], seconds: float) -> str:
    counts: Counter[str] = Counter()
    for output in outputs:
        closings = _CLOSING.findall(output)
        if not closings:
            return "pytest printed no closing line"
        for count in closings[-1].split(", "):
            number, what = count.split()
            counts[what] += int(number)
    return f"= {', '.join(f'{counts[what]} {what}' for what in counts)} in {seconds:.2f}s ="


if __name__ == "__main__":
    sys.exit(main())
