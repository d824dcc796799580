"""One file's work: read it to its end, hash it, compress it.

Reading never blocks on something that is not a file: a FIFO without a writer, a terminal or a
socket is refused before it is opened, and the opened file is looked at again, since the name may
have been given to something else in between.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Callable
from dataclasses import dataclass

CHUNK = 1 << 20
BEAT_BYTES = 8 << 20
"""A large file is announced as still in work after each of so many bytes."""
LARGEST_OF_NO_SIZE = 64 << 20
"""Files that claim to be empty and are not (as in /proc) are read up to here: some never end."""
COMPRESSION_LEVEL = 6


class Unreadable(Exception):
    """A path cannot be done; the message is a clause that says why, without the path."""


@dataclass(frozen=True, slots=True)
class Content:
    """What became of one file; ``inode``, ``mtime_ns``, ``ctime_ns`` from before the first byte."""

    size: int
    sha256: str
    compressed: int
    inode: int
    mtime_ns: int
    ctime_ns: int


def read_content(path: str, on_beat: Callable[[int], object] | None = None) -> Content:
    """Read, hash (SHA-256) and compress (zlib) the file at ``path``.

    A file that grows meanwhile is read to the size it had at first. ``on_beat(bytes_read)`` is
    called every ``BEAT_BYTES``. Raises `Unreadable` for whatever cannot be read.

    >>> read_content(os.__file__).size == os.path.getsize(os.__file__)
    True
    """
    try:
        status = os.stat(path)
        _refuse_if_no_file(status)
        if status.st_nlink == 0 and os.path.islink(path):
            raise Unreadable("it is a link of /proc to shared memory or to a deleted file")
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            return _read(descriptor, on_beat)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        if os.path.islink(path):
            raise Unreadable("it is a link to something that is not there") from None
        raise Unreadable("it is gone; it was there when the tree was walked") from None
    except BlockingIOError:
        raise Unreadable("reading it would wait for a writer") from None
    except OSError as error:
        raise Unreadable(f"it cannot be read ({error.strerror})") from None


def _read(descriptor: int, on_beat: Callable[[int], object] | None) -> Content:
    status = os.fstat(descriptor)
    _refuse_if_no_file(status)
    limit = status.st_size or LARGEST_OF_NO_SIZE
    digest, compressor = hashlib.sha256(), zlib.compressobj(COMPRESSION_LEVEL)
    size = compressed = 0
    next_beat = BEAT_BYTES
    while size < limit and (chunk := os.read(descriptor, min(CHUNK, limit - size))):
        digest.update(chunk)
        compressed += len(compressor.compress(chunk))
        size += len(chunk)
        if on_beat is not None and size >= next_beat:
            on_beat(size)
            next_beat = size + BEAT_BYTES
    if size and not status.st_size and os.read(descriptor, 1):
        raise Unreadable(f"it claims to be empty and goes on past {LARGEST_OF_NO_SIZE >> 20} MiB")
    compressed += len(compressor.flush())
    return Content(
        size, digest.hexdigest(), compressed, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
    )


_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFDIR: "a directory",
}


def kind_other_than_file(status: os.stat_result) -> str | None:
    """Say what ``status`` is of ("a FIFO"), or None when it is of a regular file."""
    if stat.S_ISREG(status.st_mode):
        return None
    return _KINDS.get(stat.S_IFMT(status.st_mode), "of an unknown kind")


def _refuse_if_no_file(status: os.stat_result) -> None:
    kind = kind_other_than_file(status)
    if kind is not None:
        raise Unreadable(f"it is {kind}, not a file")
