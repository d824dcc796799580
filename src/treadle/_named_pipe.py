"""A named pipe of the file system: its path, made, opened and checked, and its descriptor.

It is opened without blocking; whoever waits does so in ``poll``.
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import select
import stat
import time
import weakref
from collections.abc import Callable
from typing import Any

_LONGEST_NAP = 0.05  # the kernel does not tell a writer with a timeout that a reader has come
_LONGEST_WAIT = 0.5  # after which a persistent reader looks where its path leads, in seconds


class NamedPipe:
    """The path and the descriptor of a ``Fifo``."""

    _fd = _kept_open = -1  # an object that could not be made is a closed one
    _remove: Callable[[], object] | None = None
    _path: str
    _mode: str
    _raw: bool
    _permissions: int

    # ---- Opening

    def _make(self, permissions: int) -> bool:
        try:
            os.mkfifo(self._path, permissions)
        except FileExistsError:
            return False
        except OSError as error:  # says neither where nor what is missing
            reason = os.strerror(error.errno or 0)
            if isinstance(error, FileNotFoundError):
                reason = f"there is no folder {_missing_folder(self._path)!r}; make it first"
            raise OSError(error.errno, reason, self._path) from None
        found = os.stat(self._path)
        self._remove = weakref.finalize(
            self, _remove, self._path, (found.st_dev, found.st_ino), os.getpid()
        )
        return True

    def _open(self, deadline: float) -> int:
        """Opens what lies at the path, made by whoever is first.

        Its maker may remove it at any moment, so nobody blocks in the system's own ``open``, on
        what has no name any more.
        """
        flags = (os.O_RDONLY if self._mode == "r" else os.O_WRONLY) | os.O_CLOEXEC
        nap = 0.001
        while True:
            made = self._make(self._permissions)
            try:
                if not made:  # opening a device may do something already
                    self._check_kind(os.stat(self._path))
                fd = os.open(self._path, flags | os.O_NONBLOCK)
            except FileNotFoundError:  # removed meanwhile
                if os.path.islink(self._path):
                    raise FileExistsError(
                        f"{self._path!r} is there, and is a link to nothing"
                    ) from None
                continue
            except OSError as error:
                if error.errno != errno.ENXIO:  # a writer, and no reader
                    raise
            else:
                if _lies_at(self._path, fd):
                    return fd
                os.close(fd)
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"fifo {self._path!r} has no reader")
            time.sleep(min(nap, left))
            nap = min(nap * 2, _LONGEST_NAP)

    def _check(self, fd: int) -> None:
        found = os.fstat(fd)
        self._check_kind(found)
        if found.st_uid != os.geteuid():
            raise PermissionError(f"fifo {self._path!r} belongs to another user ({found.st_uid})")
        loose = stat.S_IMODE(found.st_mode) & 0o022 & ~self._permissions
        if loose:
            raise PermissionError(
                f"others may write to fifo {self._path!r} ({stat.filemode(found.st_mode)}): "
                f"chmod it, or say so with permissions="
            )

    def _check_kind(self, found: os.stat_result) -> None:
        if not stat.S_ISFIFO(found.st_mode):
            raise FileExistsError(f"{self._path!r} is there, and is no fifo")

    def _claim_messages(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"fifo {self._path!r} has a reader already: two would get pieces of messages"
            ) from None

    # ---- The descriptor

    def _hung_up(self) -> bool:
        """Were there writers, and are there none? A pipe not opened yet reads as ended, too."""
        poll = select.poll()
        poll.register(self._fd, 0)
        return any(events & select.POLLHUP for _, events in poll.poll(0))

    def _write(self, data: Any, deadline: float) -> int:
        while True:
            try:
                return os.write(self._fd, data)
            except BlockingIOError:
                pass
            except BrokenPipeError:
                raise BrokenPipeError(
                    errno.EPIPE, "the reader of this fifo has gone", self._path
                ) from None
            if not self._ready(select.POLLOUT, deadline):
                raise TimeoutError(f"fifo {self._path!r} is full, and nobody reads")

    def _ready(self, events: int, deadline: float) -> bool:
        poll = select.poll()
        poll.register(self._fd, events)
        while True:
            left = deadline - time.monotonic()
            ms = math.ceil(min(max(left, 0), _LONGEST_WAIT) * 1000)
            if poll.poll(ms):
                return True
            if left <= ms / 1000:
                return False
            if self._kept_open >= 0:
                self._follow_path()

    def _follow_path(self) -> None:
        """A persistent reader whom nobody writes to meets the next writer where its path leads now.

        Its fifo has no name any more if its maker, a writer, has closed it.
        """
        if _lies_at(self._path, self._fd):
            return
        os.close(self._kept_open)  # of all who could write this one alone would hide that none does
        self._kept_open = -1
        try:
            poll = select.poll()
            poll.register(self._fd, select.POLLIN)
            if poll.poll(0) == [(self._fd, select.POLLHUP)]:  # nor has anybody just written
                fd = self._open(deadline_after(0))
                try:
                    self._check(fd)
                    if not self._raw:
                        self._claim_messages(fd)
                    os.dup2(fd, self._fd, inheritable=False)
                finally:
                    os.close(fd)
        finally:
            self._kept_open = os.open(of_descriptor(self._fd), os.O_WRONLY)


def deadline_after(timeout: float | None) -> float:
    if timeout is None:
        return math.inf
    if timeout != timeout:
        raise ValueError("timeout must be a number, not nan")
    return time.monotonic() + timeout


def _missing_folder(path: str) -> str:
    """The first folder on the way that is not there."""
    folder = os.path.dirname(path)
    while not os.path.exists(above := os.path.dirname(folder)):
        folder = above
    return folder


def of_descriptor(fd: int) -> str:
    return f"/proc/self/fd/{fd}"


def _lies_at(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


def _remove(path: str, identity: tuple[int, int], pid: int) -> None:
    """Remove what this process has made, unless something else lies there by now."""
    if os.getpid() != pid:
        return
    try:
        found = os.lstat(path)
        if (found.st_dev, found.st_ino) == identity:
            os.unlink(path)
    except OSError:
        pass
