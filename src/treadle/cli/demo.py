"""``treadle demo``: the main job on real files, with a worker killed on the way."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to ``parser``."""
    parser.description = (
        "Hash and compress every file under PATH with worker processes fed from one queue, kill one"
        " of them with SIGKILL in the middle of a file, and check the result against a serial run."
        " Exits with 0 only if every file came out exactly once with an equal digest."
    )
    parser.add_argument(
        "path",
        nargs="?",
        metavar="PATH",
        help="a directory or a file (default: the standard library of the running Python)",
    )
    parser.add_argument(
        "--workers", type=_positive, metavar="N", help="worker processes (default: one a CPU)"
    )
    kills = parser.add_mutually_exclusive_group()
    kills.add_argument(
        "--kills",
        type=_natural,
        default=1,
        metavar="N",
        help="how many workers are killed in mid-work (default: 1)",
    )
    kills.add_argument("--no-kill", dest="kills", action="store_const", const=0, help="kill nobody")
    parser.add_argument("--limit", type=_positive, metavar="N", help="do the first N files only")
    parser.add_argument(
        "--report", metavar="FILE", help="keep the report there: a line of JSON for each file"
    )
    parser.add_argument(
        "--compare", action="store_true", help="then run the same on multiprocessing, side by side"
    )
    parser.add_argument(
        "--patience",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="give up after so long without any sign of life from a worker (default: 60)",
    )
    parser.add_argument("--plain", action="store_true", help="plain lines, even on a terminal")
    parser.add_argument("--json", action="store_true", help="print one JSON document, nothing else")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    from treadle.demo.job import Wishes, run_demo

    return run_demo(
        Wishes(
            path=args.path,
            workers=args.workers,
            kills=args.kills,
            limit=args.limit,
            report=args.report,
            compare=args.compare,
            plain=args.plain,
            json=args.json,
            patience=args.patience,
        )
    )


def _natural(text: str) -> int:
    return _whole_number(text, at_least=0)


def _positive(text: str) -> int:
    return _whole_number(text, at_least=1)


def _whole_number(text: str, at_least: int) -> int:
    number = int(text) if text.isascii() and text.isdigit() else -1
    if number < at_least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {at_least} up")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds
