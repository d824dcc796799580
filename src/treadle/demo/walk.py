"""The files under a path, in an order that two walks share."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """A path that is not a directory. What it holds is found out by the one who reads it."""

    path: str
    size: int


def find_files(
    root: str,
    *,
    leave_out: Collection[str] = (),
    exclude: tuple[int, int] | None = None,
    on_problem: Callable[[str, str], object] = lambda path, problem: None,
) -> Iterator[Found]:
    """Yield everything under ``root`` that is not a directory, sorted, depth first.

    ``root`` itself is yielded when it is no directory. Links to directories are not followed, so
    that a walk ends; links to files are yielded as files. Directories named in ``leave_out`` are
    not entered, and the file whose (device, inode) is ``exclude`` is not yielded. A directory that
    cannot be listed is told to ``on_problem(path, sentence)``, and the walk goes on.

    >>> [os.path.basename(found.path) for found in find_files(os.__file__)]
    ['os.py']
    """
    if not os.path.isdir(root):
        yield Found(root, _size_of(root))
        return
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(directory) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            on_problem(
                directory, f"it cannot be listed ({error.strerror}); what it holds is left out"
            )
            continue
        inner: list[str] = []
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in leave_out:
                    inner.append(entry.path)
                continue
            try:
                status = entry.stat()
            except OSError:  # gone, a dangling link, a loop of links: its reader says which
                yield Found(entry.path, 0)
                continue
            if entry.is_dir() or (status.st_dev, status.st_ino) == exclude:
                continue
            yield Found(entry.path, status.st_size)
        waiting.extend(reversed(inner))


def _size_of(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
