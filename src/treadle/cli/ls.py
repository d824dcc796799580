"""``treadle ls``: the objects that programs of this user find by name."""

from __future__ import annotations

import argparse
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass

from treadle import HandleError, TreadleError, _segments
from treadle._core import list_names, names_path, object_of, owner_ended
from treadle._records import (
    DictStatistics,
    EventStatistics,
    LatchStatistics,
    ListStatistics,
    LockStatistics,
    QueueStatistics,
    RWLockStatistics,
    SemaphoreStatistics,
)
from treadle.cli import CommandError
from treadle.cli.table import print_table


@dataclass(frozen=True)
class Named:
    """One named object; ``users`` counts processes, ``pids`` has the first 64 of them."""

    name: str
    type: str
    state: str
    users: int
    pids: list[int]
    persistent: bool
    bytes: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument("--json", action="store_true", help="print one JSON array of objects")
    parser.add_argument(
        "--segments",
        action="store_true",
        help="list the memory that treadle.SharedMemory made, too",
    )


def run(args: argparse.Namespace) -> int:
    """Print what there is; 0."""
    objects = named_objects()
    if args.segments:
        objects += segments()
    if args.json:
        print(json.dumps([asdict(each) for each in objects], indent=1))
    elif not objects:
        print(f"nothing has a name ({names_path()})")
    else:
        head = ("name", "type", "state", "users", "persistent", "size")
        rows = [
            (
                each.name,
                each.type,
                each.state,
                str(each.users),
                "yes" if each.persistent else "no",
                _size(each.bytes),
            )
            for each in objects
        ]
        print_table(head, rows)
    return 0


def named_objects() -> list[Named]:
    """What there is, by name. Parts of an object of several count with it."""
    try:
        found = list_names()
    except (TreadleError, ValueError) as error:
        raise CommandError(str(error)) from None
    of_parts: dict[str, int] = {}
    for name, *_, size, _ticket in found:
        whole, _, part = name.partition("/")
        if part:
            of_parts[whole] = of_parts.get(whole, 0) + size
    objects = []
    for name, description, persistent, users, pids, size, ticket in found:
        if "/" not in name:
            state = _state(ticket)
            size += of_parts.get(name, 0)
            objects.append(Named(name, description, state, users, pids, persistent, size))
    return sorted(objects, key=lambda each: each.name)


def segments() -> list[Named]:
    """What treadle.SharedMemory made for this user, by name."""
    found = []
    for name in _segments.ours():
        with suppress(FileNotFoundError):
            size = os.stat(f"{_segments.FOLDER}/{name}").st_size
            state, pids = _segments.state_of(name), _segments.users_of(name)
            of = f"SharedMemory({size} bytes)"
            found.append(Named(name, of, state, len(pids), pids[:64], False, size))
    return sorted(found, key=lambda each: each.name)


def _state(ticket: bytes) -> str:
    try:
        thing = object_of(ticket)
    except HandleError:
        return "gone by now"
    of = getattr(thing, "statistics", None)
    match None if of is None else of():
        case LockStatistics(inconsistent=True) | RWLockStatistics(inconsistent=True):
            return "inconsistent: its owner died"
        case RWLockStatistics(readers=readers) if readers:
            return f"read by {readers}"
        case (
            LockStatistics(owner=owner, locked=locked)
            | RWLockStatistics(owner=owner, locked=locked)
        ):
            by = "" if owner is None else f" by pid {owner.pid}"
            ended = owner_ended(thing)
            by += f", {ended}" if by and ended else ""
            return f"held{by}" if locked else "free"
        case SemaphoreStatistics(value=value):
            return f"{value} free"
        case LatchStatistics(count=count):
            return f"{count} to come" if count else "open"
        case EventStatistics(is_set=is_set):
            return "set" if is_set else "unset"
        case QueueStatistics(qsize=items, leased=leased, is_shutdown=is_shutdown):
            out = f", {leased} on lease" if leased else ""
            what = "1 item" if items == 1 else f"{items} items"
            return f"{what}{out}{', shut down' if is_shutdown else ''}"
        case (
            ListStatistics(length=length, locked=locked)
            | DictStatistics(length=length, locked=locked)
        ):
            return f"{'1 item' if length == 1 else f'{length} items'}{', locked' if locked else ''}"
    if getattr(thing, "broken", False):
        return "broken"
    waiting = getattr(thing, "waiting", None)
    return "" if waiting is None else f"{waiting} waiting"


def _size(size: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 10_000:
            return f"{size} {unit}"
        size //= 1024
    return f"{size} GiB"
