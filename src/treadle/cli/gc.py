"""``treadle gc``: sweeps up after the dead among what has a name; removes what nobody uses."""

from __future__ import annotations

import argparse
import os

from treadle import TreadleError, _segments, unlink
from treadle._core import list_names, names_path, remove_bells, sweep_names
from treadle.cli import CommandError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="let go of this persistent object: it goes now, or with its last user",
    )


def run(args: argparse.Namespace) -> int:
    """Do it and say what was done; 0."""
    try:
        for given in args.names:
            # As UTF-8, in which names are written, also where the locale has no such letters.
            name = os.fsencode(given).decode(errors="surrogateescape")
            unlink(name)
            print(f"{name}: {'in use; it goes with its last user' if _is_there(name) else 'gone'}")
        there, removed, swept, others, persists = sweep_names()
        bells = remove_bells()
    except (TreadleError, ValueError) as error:
        raise CommandError(str(error)) from None
    path = names_path()
    if removed:
        print(f"{path}: nobody used it; removed")
    elif not there:
        print(f"{path}: not there; nothing has a name")
    else:
        dead = f"swept {swept} dead {'process' if swept == 1 else 'processes'}"
        if others:
            use = f"{others} {'process uses' if others == 1 else 'processes use'} it"
        elif persists:
            use = f"kept for what persists in it: {', '.join(_persistent())}"
        else:
            use = "nobody uses it any more; removed"  # as this process, the last in it, ends
        print(f"{path}: {dead}; {use}")
    if bells:
        print(f"{path}.bell-...: removed {bells}, of pipes that are no more")
    for name in _segments.sweep():
        print(f"{_segments.FOLDER}/{name}: nobody has this memory any more; removed")
    return 0


def names_in_use() -> tuple[int, int, int] | None:
    """How many names there are, how many of them persist, and how many other processes are there.

    None: there is no file.
    """
    there, _, _, others, _ = sweep_names()
    if not there:
        return None
    found = [each for each in list_names() if "/" not in each[0]]
    return len(found), sum(persistent for _, _, persistent, *_ in found), others


def _is_there(name: str) -> bool:
    return any(found == name for found, *_ in list_names())


def _persistent() -> list[str]:
    return sorted(
        name for name, _, persistent, *_ in list_names() if persistent and "/" not in name
    )
