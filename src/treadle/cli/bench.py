"""``treadle bench``: treadle beside its rivals, on the same work in the same run."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from treadle.cli import CommandError

if TYPE_CHECKING:
    from treadle.benchmarks.case import Case


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument(
        "--quick",
        action="store_true",
        help="short measurements, three rounds: a look, not a figure",
    )
    parser.add_argument(
        "--repeats", type=_positive, metavar="N", help="rounds per case (default: 7; --quick: 3)"
    )
    parser.add_argument(
        "--only",
        metavar="PATTERN",
        help="only cases whose name contains PATTERN (may have * and ?)",
    )
    parser.add_argument("--list", action="store_true", help="print the names of the cases and end")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all samples and ratios to FILE as well"
    )


def run(args: argparse.Namespace) -> int:
    """Measure and print; 0, or 1 if treadle itself hung or failed in a case.

    A missed target is a result, not an error. Interrupted, it prints what it has and lets
    KeyboardInterrupt go on.
    """
    from treadle.benchmarks import report, runner
    from treadle.benchmarks.cases import all_cases
    from treadle.benchmarks.environment import this_environment
    from treadle.benchmarks.verdict import CaseResult, Verdict

    cases = _selected(all_cases(), args.only)
    if not cases:
        raise CommandError(f"no case is named like {args.only!r}; see treadle bench --list")
    if args.list:
        for case in cases:
            print(f"{case.name:<26}{case.title}")
        return 0
    if args.json is not None:
        try:
            args.json.touch()  # before minutes of work that it would lose
        except OSError as error:
            raise CommandError(f"cannot write {args.json}: {error.strerror}") from None

    effort = runner.QUICK if args.quick else runner.FULL
    if args.repeats is not None:
        effort = replace(effort, rounds=args.repeats)
    environment = this_environment(shlex.join(["treadle", *sys.argv[1:]]))
    results: list[CaseResult] = []
    try:
        for result in runner.run_cases(cases, effort):
            results.append(result)
            print(f"[{len(results)}/{len(cases)}] {result.case.name}", file=sys.stderr, flush=True)
    finally:
        report.print_report(environment, results)
        if args.json is not None:
            args.json.write_text(json.dumps(report.as_json(environment, results), indent=1) + "\n")
    broken = (Verdict.HUNG, Verdict.FAILED)
    return 1 if any(row.verdict in broken for result in results for row in result.judged()) else 0


def _selected(cases: list[Case], pattern: str | None) -> list[Case]:
    return [case for case in cases if pattern is None or fnmatchcase(case.name, f"*{pattern}*")]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number of 1 or more, not {text!r}")
    return int(text)
