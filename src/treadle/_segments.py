"""Segments: the files of /dev/shm that SharedMemory opens, and when their names go.

They are named as the standard library's, so that either can open the other's. What is different is
who removes a name that nobody has unlinked. Prior art: the standard library's resource tracker, a
process which does it when the tree of processes that it belongs to has ended, whether somebody else
still uses the segment or not, and not at all when the whole tree is killed. Here it is asked of the
kernel, whenever a segment is made or opened, at the end of a program, and by ``treadle gc``:

- A write lease on the file (F_SETLEASE) is granted only if nobody else has it open or mapped, in
  whatever process and by whatever library; a mapping keeps its file open. So those who open it by
  the standard library count as well, though they take no lock.
- Its maker claims the name for as long as he lives, without pinning the memory: by a shared lock on
  the byte of the folder's own file that has the number of the segment's inode (F_OFD_SETLK). The
  kernel drops it with the process.
- Who closes it in good order may have handed the name on, and leaves a mark and the time: then it
  is kept for a minute more. One whose last user was killed is not.

A segment that treadle made has mode 01600, and 01700 once somebody has closed it: the bits mean
nothing for a file that is only mapped. Others are never removed. It is made without a name, and
gets one when its memory is there: nobody meets it half made, and of a maker that is killed before
that nothing is left.

    unnamed --link--> claimed, open --close--> claimed --open--> claimed, open
                         | unlink: no name     | the maker ends: nobody has it
                         v                     v
                      memory of those who      the next to make or open one removes the name;
                      have it                  after a minute, if it was closed in good order
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import os
import signal
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from treadle._errors import ArenaFullError

FOLDER = "/dev/shm"  # where shm_open looks

_OURS = stat.S_ISVTX | 0o600
_CLOSED = _OURS | stat.S_IXUSR  # in good order, at the time of the last change or before
_GRACE = 60.0  # seconds, as of handles in transit
_SWEEP_SECONDS = 1.0
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM}

Identity = tuple[int, int]
"""Device and inode: of a file, whatever its name is by now."""

_claims: dict[str, int] = {}  # FOLDER -> its descriptor
_made: dict[str, tuple[Identity, int]] = {}  # of this process; with an open descriptor or -1
_forked = False  # since one was made: a child may have what this process has
_swept_at = -_SWEEP_SECONDS


# ---- Making, opening, closing


def make(name: str, size: int, *, track: bool) -> tuple[int, Identity, int]:
    """Makes a segment that has its memory; returns a descriptor, which file it is, and its size.

    track: whether its name goes when nobody has it. Raises FileExistsError and ArenaFullError.
    """
    _sweep_if_due()
    _forget_unlinked()
    try:
        fd = os.open(FOLDER, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise FileNotFoundError(
            errno.ENOENT, f"{FOLDER}, where shared memory has its names, is not there"
        ) from None
    try:
        _back(fd, size)
        identity = _identity_of(os.fstat(fd))
        if not track:
            _link(fd, name)
            return fd, identity, size
        os.fchmod(fd, _OURS)
        _claim(identity)
        try:
            _link(fd, name)
        except BaseException:
            _claim(identity, fcntl.F_UNLCK)
            raise
        _made[name] = identity, fd
        return fd, identity, size
    except BaseException:
        os.close(fd)
        raise


def attach(name: str) -> tuple[int, Identity, int]:
    """Opens a segment, which then has all of its memory; returns what ``make`` does.

    Raises FileNotFoundError, also for one that was left behind, and ArenaFullError.
    """
    path = f"{FOLDER}/{name}"
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        identity, size = _identity_of(status), status.st_size
        if _is_ours(status) and _nobody_else_has(fd):
            if _left_behind(status):
                _unlink(path, identity)
            else:
                os.fchmod(fd, _OURS)  # now it has a user, who has not closed it
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        if os.fstat(fd).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if status.st_blocks * 512 < size:  # of somebody who has not asked for it
            _back(fd, size)
        return fd, identity, size
    except BaseException:
        os.close(fd)
        raise


def leave(name: str, fd: int) -> None:
    """Closes a descriptor in good order."""
    made = _made.get(name)
    if made is not None and made[1] == fd:
        _made[name] = made[0], -1
    try:
        if _is_ours(os.fstat(fd)):
            os.fchmod(fd, _CLOSED)  # which notes the time, too
    finally:
        os.close(fd)


def unlink(name: str, identity: Identity) -> None:
    """Takes the name away, if it is still this file's; raises FileNotFoundError if it is not."""
    path = f"{FOLDER}/{name}"
    if not _unlink(path, identity):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if _made.get(name, (None,))[0] == identity:
        del _made[name]
        _claim(identity, fcntl.F_UNLCK)


def _identity_of(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _forget_unlinked() -> None:
    """Looks at two segments that this process made: others may have unlinked them by now."""
    for name in list(islice(_made, 2)):
        found = _made.pop(name, None)
        if found is None:  # another thread is at it
            continue
        if _is_at(f"{FOLDER}/{name}", found[0]):
            _made[name] = found  # the last now
        else:
            _claim(found[0], fcntl.F_UNLCK)


def _link(fd: int, name: str) -> None:
    for last in (False, True):
        try:
            # The descriptor's link is followed, since a folder is given: linkat.
            os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=_folder())
            return
        except FileExistsError:
            if last or not _take_away(name):
                raise


def _is_at(path: str, identity: Identity) -> bool:
    try:
        return _identity_of(os.lstat(path)) == identity
    except FileNotFoundError:
        return False


def _unlink(path: str, identity: Identity) -> bool:
    if not _is_at(path, identity):
        return False
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def _back(fd: int, size: int) -> None:
    """Sees that the memory is there before it is touched: else that would be a SIGBUS."""
    for last in (False, True):
        try:
            os.posix_fallocate(fd, 0, size)
            return
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            if last or not sweep():
                break
    free = os.fstatvfs(fd)
    raise ArenaFullError(
        f"no room for {size} bytes of shared memory: {FOLDER} has {free.f_bavail * free.f_frsize} "
        "left, or the memory is short; unlink what is not needed, enlarge it, "
        "or use treadle.ndarray or treadle.Array, which do not lie there"
    )


# ---- Who has it


def _is_ours(status: os.stat_result) -> bool:
    return (
        stat.S_ISREG(status.st_mode)
        and stat.S_IMODE(status.st_mode) in (_OURS, _CLOSED)
        and status.st_uid == os.geteuid()
    )


def _nobody_else_has(fd: int) -> bool:
    """Whether this is the only way into the file; if so, it has a lease until that is returned.

    Who opens it meanwhile waits for that, of which the kernel tells: by a signal nobody minds.
    """
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError:  # somebody has; or it cannot be asked, and then somebody may
        return False
    return True


def _left_behind(status: os.stat_result) -> bool:
    """Whether a segment that nobody has open is kept by nobody else either."""
    closed = status.st_mode & stat.S_IXUSR
    if closed and time.time() - status.st_ctime < _GRACE:
        return False
    return not _is_claimed(status.st_ino)


def _claim(identity: Identity, kind: int = fcntl.F_RDLCK) -> None:
    fcntl.fcntl(_folder(), fcntl.F_OFD_SETLK, _byte(kind, identity[1]))


def _folder() -> int:
    """A descriptor of the folder, whose locks are this process's claims."""
    fd = _claims.get(FOLDER)
    if fd is not None:
        return fd
    made = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fd = _claims.setdefault(FOLDER, made)
    if fd == made:
        atexit.register(_end)
    else:  # another thread was faster
        os.close(made)
    return fd


def _is_claimed(inode: int) -> bool:
    # By a new description, which this process's own claims stand in the way of, too.
    folder = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = fcntl.fcntl(folder, fcntl.F_OFD_GETLK, _byte(fcntl.F_WRLCK, inode))
        return bool(struct.unpack_from("h", found)[0] != fcntl.F_UNLCK)
    finally:
        os.close(folder)


def _byte(kind: int, inode: int) -> bytes:
    """A ``struct flock`` for the byte that stands for the inode."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, inode & 0x3FFF_FFFF_FFFF_FFFF, 1, 0)


# ---- Sweeping


def sweep() -> list[str]:
    """Removes the names of this user's segments that nobody has any more; returns them."""
    return [name for name in ours() if _take_away(name)]


def ours() -> Iterator[str]:
    """The names of the segments that treadle made for this user."""
    with suppress(FileNotFoundError), os.scandir(FOLDER) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if _is_ours(entry.stat(follow_symlinks=False)):
                    yield entry.name


def state_of(name: str) -> str:
    """Says who has a segment, in a word or two."""
    try:
        fd = os.open(f"{FOLDER}/{name}", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return "gone by now"
    except OSError:
        return "in use"
    try:
        if not _nobody_else_has(fd):
            return "in use"
        return "left behind" if _left_behind(os.fstat(fd)) else "closed"
    finally:
        os.close(fd)


def can_be_asked_after() -> bool:
    """Whether the kernel tells here who has a segment; raises OSError where none can be made."""
    fd = os.open(FOLDER, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        _is_claimed(os.fstat(fd).st_ino)
        return _nobody_else_has(fd)
    finally:
        os.close(fd)


def users_of(name: str) -> list[int]:
    """The processes that have a segment mapped, as far as they may be looked into."""
    with suppress(FileNotFoundError):
        return list(_users_of(_identity_of(os.stat(f"{FOLDER}/{name}"))))
    return []


def _users_of(identity: Identity) -> Iterator[int]:
    device = f"{os.major(identity[0]):02x}:{os.minor(identity[0]):02x} {identity[1]} "
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{pid}/maps", errors="replace") as maps:
            if any(device in line for line in maps):
                yield int(pid)


def _sweep_if_due() -> None:
    global _swept_at
    now = time.monotonic()
    if now - _swept_at >= _SWEEP_SECONDS:
        _swept_at = now
        sweep()


def _take_away(name: str) -> bool:
    """Removes the name if it is left behind; says whether."""
    path = f"{FOLDER}/{name}"
    try:
        # Without a wait for somebody else's lease: he is at it.
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        if not _is_ours(os.fstat(fd)) or not _nobody_else_has(fd):
            return False
        status = os.fstat(fd)  # as it stays now
        return _left_behind(status) and _unlink(path, _identity_of(status))
    finally:
        os.close(fd)


# ---- The end of a program, and forks


def _end() -> None:
    """Takes away what this program made and nobody else has; not in children that end otherwise."""
    _drop_claims()
    for name, (identity, fd) in _made.items():
        path = f"{FOLDER}/{name}"
        with suppress(OSError):
            # What is mapped here still is asked after by the descriptor that it is mapped by, which
            # says nothing of children of a fork: they have the same.
            mine = fd >= 0
            if not mine:
                fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                inherited = mine and _forked and set(_users_of(identity)) - {os.getpid()}
                if not inherited and _nobody_else_has(fd):
                    _unlink(path, identity)
            finally:
                if mine:
                    with suppress(OSError):
                        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
                else:
                    os.close(fd)
    _made.clear()


def _before_fork() -> None:
    global _forked
    _forked = _forked or bool(_made)


def _in_child() -> None:
    """What the parent made is the parent's."""
    _made.clear()
    _drop_claims()
    atexit.unregister(_end)


def _drop_claims() -> None:
    while _claims:
        os.close(_claims.popitem()[1])


os.register_at_fork(before=_before_fork, after_in_child=_in_child)
