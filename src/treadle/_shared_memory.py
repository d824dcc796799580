"""SharedMemory: memory that has a name in /dev/shm, as the standard library's class.

Each of the two can open what the other has made. See ``_segments.py`` for when a name goes.
"""

from __future__ import annotations

import errno
import mmap
import os
import secrets
from contextlib import suppress
from typing import Any

from treadle import _segments

_SHM_NAME_PREFIX = "/psm_"  # the standard library's, by which such files are known
_USE_POSIX = True  # what programs ask the standard library's module, too
_LONGEST = 255


def _make_filename() -> str:
    return _SHM_NAME_PREFIX + secrets.token_hex(8)


class SharedMemory:
    """Memory that has a name, by which any program of the user's can open it.

    name: None has one made up. create: whether to make it, of ``size`` bytes, which are zeroes, or
    to open it, in whatever size it has. It is there until ``unlink()``, and its name goes by itself
    when nobody has it any more: when its maker's program has ended, however it ended, and neither
    it nor a user of the standard library's class has it open. (Who closes it in good order may have
    handed the name on: then it is kept for a minute.) Nothing else removes it: no user's end takes
    it from the others. track: False keeps the name until somebody unlinks it.

    Raises FileNotFoundError, FileExistsError; ValueError for a size that is not positive; and
    ArenaFullError (a MemoryError) if /dev/shm or the memory is too small, at once and not when it
    is used. Also has the whole of a segment that another library made and did not fill.

    >>> import treadle
    >>> memory = treadle.SharedMemory(create=True, size=10)
    >>> other = treadle.SharedMemory(memory.name)
    >>> other.buf[:5] = b"hello"
    >>> bytes(memory.buf[:5])
    b'hello'
    >>> other.close()
    >>> memory.close()
    >>> memory.unlink()
    """

    # What close() and unlink() find where __init__ has not come to an end.
    _name: str | None = None
    _fd = -1
    _mmap: mmap.mmap | None = None
    _buf: memoryview | None = None
    _size = 0
    _identity: _segments.Identity | None = None

    def __init__(
        self, name: str | None = None, create: bool = False, size: int = 0, *, track: bool = True
    ) -> None:
        if not size >= 0:
            raise ValueError("'size' must be a positive integer")
        if create and size == 0:
            raise ValueError("'size' must be a positive number different from zero")
        if name is None and not create:
            raise ValueError("'name' can only be None if create=True")
        while True:
            full = _make_filename() if name is None else "/" + name.removeprefix("/")
            _check(full[1:])
            try:
                found = (
                    _segments.make(full[1:], size, track=track)
                    if create
                    else _segments.attach(full[1:])
                )
                break
            except FileExistsError:
                if name is not None:
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), full) from None
            except FileNotFoundError as error:
                if error.filename is None:
                    raise
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), full) from None
        self._name = full
        self._fd, self._identity, self._size = found
        try:
            self._mmap = mmap.mmap(self._fd, self._size)
        except BaseException:
            if create:
                self.unlink()
            raise
        self._buf = memoryview(self._mmap)

    def __del__(self) -> None:
        try:
            self.close()
        except OSError:
            pass

    @property
    def buf(self) -> memoryview:
        """The memory, as a memoryview; None once it is closed.

        >>> import treadle
        >>> memory = treadle.SharedMemory(create=True, size=10)
        >>> len(memory.buf)
        10
        >>> memory.unlink()
        """
        return self._buf  # type: ignore[return-value]  # as typeshed has the standard one's

    @property
    def name(self) -> str:
        """The name by which it is opened.

        >>> import treadle
        >>> memory = treadle.SharedMemory("frames", create=True, size=10)
        >>> memory.name
        'frames'
        >>> memory.unlink()
        """
        return (self._name or "").removeprefix("/")

    @property
    def size(self) -> int:
        """Its size, in bytes.

        >>> import treadle
        >>> memory = treadle.SharedMemory(create=True, size=10)
        >>> memory.size
        10
        >>> memory.unlink()
        """
        return self._size

    def close(self) -> None:
        """Ends this object's access; the memory stays for the others, and so does its name.

        Parts of ``buf`` that are in use stay valid, a NumPy array over it as well, and keep it
        open. (With the standard library's, such an array makes the program crash.)

        >>> import treadle
        >>> memory = treadle.SharedMemory(create=True, size=10)
        >>> memory.close()
        >>> memory.unlink()
        """
        if self._buf is not None:
            with suppress(BufferError):
                self._buf.release()
            self._buf = None
        self._mmap = None  # not closed: NumPy's arrays have it and do not say so
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            _segments.leave(self.name, fd)

    def unlink(self) -> None:
        """Takes its name away; the memory stays for those who have it open.

        Raises FileNotFoundError if it has none any more, also if another segment has it by now.

        >>> import treadle
        >>> memory = treadle.SharedMemory(create=True, size=10)
        >>> memory.unlink()
        >>> memory.buf[0]
        0
        """
        if self._name is not None and self._identity is not None:
            _segments.unlink(self.name, self._identity)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__class__, (self.name, False, self.size)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.name!r}, size={self.size})"


def _check(name: str) -> None:
    if not name or "/" in name or name in (".", "..") or len(os.fsencode(name)) > _LONGEST:
        raise OSError(
            errno.EINVAL,
            "a name of shared memory is that of a file: not empty, "
            f"without slashes but the first, and of at most {_LONGEST} bytes",
            name,
        )
