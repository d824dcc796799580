"""Fifo: a named pipe in the file system, for messages between programs, or bytes with a shell.

Prior art: ``os.mkfifo`` with ``open``, where two large writes interleave, a writer that is killed
midway garbles all that follows, and a file that is no pipe is written to.

Messages go in chunks (``_framing``) of at most PIPE_BUF bytes, which the kernel writes entirely or
not at all. The reader takes no more from the pipe than the chunk it is at, so that ``select`` knows
what is there. It appends what it reads within one call of C, as no signal handler can come between.
"""

from __future__ import annotations

import errno
import fcntl
import io
import math
import os
import pickle
import select
import stat
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from treadle._core import Lock, import_lazily
from treadle._errors import ItemError
from treadle._framing import AT_A_TIME, FIRST, ROOM, Assembly, chunk

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Fifo"]

_LONGEST_NAP = 0.05  # the kernel does not tell a writer with a timeout that a reader has come
_TIMES_AT_ONCE = 5  # that many interrupts in a row are none
_LONGEST_WAIT = 0.5  # after which a persistent reader looks where its path leads, in seconds


class Fifo:
    """A named pipe in the file system: messages between programs, or bytes with a shell.

    A reader receives what writers send, as many as there are, in the order in which each sends. A
    message arrives entirely or not at all, also if its writer is killed.

    path: made if it is missing, with these permissions (less the umask), and then removed when this
    object is closed, or at the end of the interpreter; SIGKILL leaves it behind, and the next one
    uses it. mode: "r" or "w". A writer waits until there is a reader; timeout: for how long, in
    seconds, None for ever. raw: pass bytes as they are, with ``read``, ``write`` and ``makefile``,
    instead of messages. persistent: this reader waits for the next writer when all have gone, and
    does not see an end.

    Raises FileExistsError if the path is something else than a pipe; FileNotFoundError if its
    folder is not there; PermissionError if it is another user's, or others may write to it that
    ``permissions`` keeps out (what comes is unpickled: whoever may write may run code here);
    BlockingIOError if it has a reader of messages already; TimeoutError.

    >>> import os, tempfile, threading, treadle
    >>> path = os.path.join(tempfile.mkdtemp(), "jobs")
    >>> with treadle.Fifo(path, "r") as reader, treadle.Fifo(path, "w") as writer:
    ...     writer.send({"job": 7})
    ...     reader.recv()
    {'job': 7}
    >>> os.path.exists(path)
    False
    """

    _fd = _kept_open = -1  # an object that could not be made is a closed one
    _remove: Callable[[], object] | None = None

    def __init__(
        self,
        path: str | os.PathLike[str],
        mode: Literal["r", "w"] = "r",
        *,
        permissions: int = 0o600,
        raw: bool = False,
        persistent: bool = False,
        timeout: float | None = None,
    ) -> None:
        if mode not in ("r", "w"):
            raise ValueError(f"mode must be 'r' or 'w', not {mode!r}")
        self._path = os.path.abspath(os.fspath(path))
        self._mode = mode
        self._raw = raw
        self._turn = Lock(shared=False, on_owner_death="recover", label="fifo")
        self._messages = Assembly(self._path)
        self._failed: bytes | Exception | None = None  # the message whose rebuilding failed last
        self._writer = (0, 0)  # pid, and its number in the chunks that it writes
        self._permissions = permissions
        try:
            self._fd = self._open(_deadline(timeout))
            self._check(self._fd)
            if mode == "r":
                if not raw:
                    self._claim_messages(self._fd)
                if persistent:
                    self._kept_open = os.open(_of_descriptor(self._fd), os.O_WRONLY)
        except BaseException:
            self.close()
            raise

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

    # ---- Messages

    def send(self, value: Any, timeout: float | None = None) -> None:
        """Sends a value that can be pickled; waits while the pipe is full.

        timeout: in seconds, None waits for ever; if it runs out, TimeoutError is raised, and
        nothing of the value arrives. Raises BrokenPipeError if there is no reader any more.

        >>> import os, tempfile, treadle
        >>> path = os.path.join(tempfile.mkdtemp(), "jobs")
        >>> with treadle.Fifo(path, "r") as reader, treadle.Fifo(path, "w") as writer:
        ...     writer.send([1, 2])
        """
        self.send_bytes(_pickled(value), timeout=timeout)

    def recv(self, timeout: float | None = None) -> Any:
        """Receives a value; waits until there is one.

        timeout: in seconds, None waits for ever, else TimeoutError. Raises EOFError when there were
        writers and all have gone (until the next one comes), and ItemError if what came is no
        message, or cannot be unpickled; then it is gone, and the next call goes on behind it.

        >>> import os, tempfile, treadle
        >>> with treadle.Fifo(os.path.join(tempfile.mkdtemp(), "jobs"), "r") as reader:
        ...     reader.recv(timeout=0.01)
        Traceback (most recent call last):
        ...
        TimeoutError: nothing came through fifo '...
        """
        return self._receive(timeout, self._unpickled)

    def send_bytes(
        self, data: Any, offset: int = 0, size: int | None = None, timeout: float | None = None
    ) -> None:
        """Sends the bytes of a buffer as a message. offset, size: a part of it. Else as ``send``.

        >>> import os, tempfile, treadle
        >>> path = os.path.join(tempfile.mkdtemp(), "jobs")
        >>> with treadle.Fifo(path, "r") as reader, treadle.Fifo(path, "w") as writer:
        ...     writer.send_bytes(b"a message", 2)
        ...     reader.recv_bytes()
        b'message'
        """
        self._usable("w", raw=False)
        view = memoryview(data).cast("B")
        if offset < 0 or offset > len(view):
            raise ValueError(f"offset must be from 0 to {len(view)}, not {offset}")
        end = len(view) if size is None else offset + size
        if end < offset or end > len(view):
            raise ValueError(f"size must be from 0 to {len(view) - offset}, not {size}")
        view = view[offset:end]
        deadline = _deadline(timeout)
        if len(view) <= ROOM:
            self._write(chunk(FIRST, self._number(), len(view), view), deadline)
            return
        turn: list[bool] = []
        try:  # one message at a time goes under this writer's number
            self._await_turn(turn, deadline)
            flags, number = FIRST, self._number()
            while len(view) > 0:
                self._write(chunk(flags, number, len(view), view[:ROOM]), deadline)
                view = view[ROOM:]
                flags = 0
        finally:
            if True in turn:
                self._turn.release()

    def recv_bytes(self, timeout: float | None = None) -> bytes:
        """Receives the bytes of a message. As ``recv``, without unpickling.

        >>> import os, tempfile, treadle
        >>> path = os.path.join(tempfile.mkdtemp(), "jobs")
        >>> with treadle.Fifo(path, "r") as reader, treadle.Fifo(path, "w") as writer:
        ...     writer.send_bytes(b"message")
        ...     reader.recv_bytes()
        b'message'
        """
        message: bytes = self._receive(timeout, None)
        return message

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Returns whether something can be received, the end and errors included.

        timeout: how long to wait for that, in seconds; None for ever.

        >>> import os, tempfile, treadle
        >>> with treadle.Fifo(os.path.join(tempfile.mkdtemp(), "jobs"), "r") as reader:
        ...     reader.poll()
        False
        """
        self._usable("r", None)
        deadline = _deadline(timeout)
        if self._raw:
            return self._ready(select.POLLIN, deadline)
        turn: list[bool] = []
        try:
            self._await_turn(turn, deadline)
            self._messages.await_one(self._read, deadline)
        except TimeoutError:
            return False
        finally:
            if True in turn:
                self._turn.release()
        return True

    # ---- Bytes as they are

    def read(self, size: int = -1, timeout: float | None = None) -> bytes:
        """Reads up to so many bytes, as soon as there are any; -1 reads until the end.

        The end is when there were writers and all have gone: then it returns b"". timeout: in
        seconds, for the whole of it; if it runs out, TimeoutError is raised, and what was read
        until then is what the next call begins with. Needs raw=True.

        >>> import os, subprocess, tempfile, treadle
        >>> path = os.path.join(tempfile.mkdtemp(), "lines")
        >>> with treadle.Fifo(path, "r", raw=True) as reader:
        ...     shell = subprocess.Popen(f"echo hi > {path}", shell=True)
        ...     reader.read(), shell.wait()
        (b'hi\\n', 0)
        """
        self._usable("r", raw=True)
        deadline = _deadline(timeout)
        taken = b""
        turn: list[bool] = []
        try:
            try:
                self._await_turn(turn, deadline)
                if size < 0:
                    while self._read(AT_A_TIME, deadline):
                        pass
                elif size > 0 and not any(self._messages.fragments):
                    self._read(size, deadline)
                taken = self._take(size)
            finally:
                if True in turn:
                    self._turn.release()
        except BaseException:  # an interrupt: they are as good as they were
            if taken:
                self._messages.fragments.appendleft(taken)
            raise
        return taken

    def write(self, data: Any, timeout: float | None = None) -> int:
        """Writes all bytes of a buffer, and returns how many they are.

        Up to PIPE_BUF (4096) of them arrive in one piece, more may be mixed with those of other
        writers. timeout: in seconds, None waits for ever; if it runs out, TimeoutError is raised,
        and a part may have been written. Raises BrokenPipeError. Needs raw=True.

        >>> import os, tempfile, treadle
        >>> path = os.path.join(tempfile.mkdtemp(), "lines")
        >>> with treadle.Fifo(path, "r", raw=True) as reader:
        ...     with treadle.Fifo(path, "w", raw=True) as writer:
        ...         writer.write(b"hello")
        ...     reader.read()
        5
        b'hello'
        """
        self._usable("w", raw=True)
        view = memoryview(data).cast("B")
        size, deadline = len(view), _deadline(timeout)
        while len(view) > 0:
            view = view[self._write(view, deadline) :]
        return size

    def makefile(
        self,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        *,
        binary: bool = False,
    ) -> Any:
        """Returns a file object on this pipe, for text unless ``binary``. Needs raw=True.

        Closing it does not close the pipe.

        >>> import os, subprocess, tempfile, treadle
        >>> path = os.path.join(tempfile.mkdtemp(), "lines")
        >>> with treadle.Fifo(path, "r", raw=True) as reader:
        ...     shell = subprocess.Popen(f"seq 3 > {path}", shell=True)
        ...     [int(line) for line in reader.makefile()], shell.wait()
        ([1, 2, 3], 0)
        """
        self._usable(self._mode, raw=True)
        file = (
            io.BufferedReader(_File(self)) if self._mode == "r" else io.BufferedWriter(_File(self))
        )
        if binary:
            return file
        return io.TextIOWrapper(file, encoding, errors, newline)

    # ---- The object

    @property
    def path(self) -> str:
        """Where it lies, as an absolute path.

        >>> import os, tempfile, treadle
        >>> path = os.path.join(tempfile.mkdtemp(), "jobs")
        >>> treadle.Fifo(path).path == path
        True
        """
        return self._path

    @property
    def mode(self) -> str:
        """Its end: "r" or "w".

        >>> import os, tempfile, treadle
        >>> treadle.Fifo(os.path.join(tempfile.mkdtemp(), "jobs")).mode
        'r'
        """
        return self._mode

    @property
    def raw(self) -> bool:
        """Whether it passes bytes instead of messages.

        >>> import os, tempfile, treadle
        >>> treadle.Fifo(os.path.join(tempfile.mkdtemp(), "jobs")).raw
        False
        """
        return self._raw

    @property
    def closed(self) -> bool:
        """Whether it was closed.

        >>> import os, tempfile, treadle
        >>> treadle.Fifo(os.path.join(tempfile.mkdtemp(), "jobs")).closed
        False
        """
        return self._fd < 0

    def fileno(self) -> int:
        """Returns the descriptor, for ``select``, ``selectors`` and asyncio's ``add_reader``.

        It is readable while there is something to receive, or all writers have gone; of a large
        message, perhaps only the beginning. It does not block.

        >>> import os, select, tempfile, treadle
        >>> with treadle.Fifo(os.path.join(tempfile.mkdtemp(), "jobs")) as reader:
        ...     select.select([reader], [], [], 0)
        ([], [], [])
        """
        self._usable(self._mode, None)
        return self._fd

    def close(self) -> None:
        """Closes it, and removes the path if this object has made it. It may be closed again.

        >>> import os, tempfile, treadle
        >>> reader = treadle.Fifo(os.path.join(tempfile.mkdtemp(), "jobs"))
        >>> reader.close()
        >>> os.path.exists(reader.path)
        False
        """
        fd, self._fd = self._fd, -1
        kept_open, self._kept_open = self._kept_open, -1
        for each in (kept_open, fd):
            if each >= 0:
                os.close(each)
        if self._remove is not None:
            self._remove()

    def __enter__(self) -> Fifo:
        self._usable(self._mode, None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        state = " closed" if self.closed else ""
        return f"<treadle.Fifo {self._path!r} mode={self._mode!r}{' raw' * self._raw}{state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Fifo cannot be pickled: send its path, and open that there")

    # ---- Chunks

    def _number(self) -> int:
        pid, number = self._writer
        if pid != os.getpid():  # a child of fork is another writer
            number = int.from_bytes(os.urandom(8), "little")
            self._writer = (os.getpid(), number)
        return number

    def _receive(self, timeout: float | None, rebuild: Callable[[bytes], Any] | None) -> Any:
        self._usable("r", raw=False)
        deadline = _deadline(timeout)
        taken: bytes | Exception | None = None
        turn: list[bool] = []
        try:
            try:
                self._await_turn(turn, deadline)
                self._messages.await_one(self._read, deadline)
                taken = self._messages.arrived[0]
                del self._messages.arrived[0]
            finally:
                if True in turn:
                    self._turn.release()
            if isinstance(taken, bytes):
                if rebuild is None:
                    return taken
                value = rebuild(taken)
                self._failed = None
                return value
        except ItemError:
            raise
        except BaseException as error:  # an interrupt: the message is as good as it was
            by_itself = False
            try:
                if isinstance(taken, bytes) and rebuild is not None and taken is self._failed:
                    by_itself = not _rebuilds(taken)
            finally:
                if taken is not None and not by_itself:
                    self._messages.arrived.appendleft(taken)
                    self._failed = taken
            if by_itself and isinstance(taken, bytes):
                raise self._item_error(taken, error) from error
            raise
        assert taken is not None
        raise taken

    def _unpickled(self, message: bytes) -> Any:
        try:
            return pickle.loads(message)
        except Exception as error:
            raise self._item_error(message, error) from error

    def _item_error(self, message: bytes, error: BaseException) -> ItemError:
        hint = "; if send_bytes() sent it, use recv_bytes()" * (message[:1] != b"\x80")
        return ItemError(
            f"a message that came through fifo {self._path!r} cannot be rebuilt here "
            f"({type(error).__name__}: {error}){hint}; it is gone, the next one is not"
        )

    # ---- The descriptor

    def _usable(self, mode: str, raw: bool | None) -> None:
        if self._fd < 0:
            raise ValueError(f"fifo {self._path!r} is closed")
        if mode != self._mode:
            raise io.UnsupportedOperation(
                f"fifo {self._path!r} was opened to {'read' if mode == 'w' else 'write'}"
            )
        if raw is not None and raw != self._raw:
            raise io.UnsupportedOperation(
                f"fifo {self._path!r} was opened "
                + ("for messages; open it with raw=True" if raw else "with raw=True")
            )

    def _await_turn(self, turn: list[bool], deadline: float) -> None:
        """Acquire the lock, and say so in ``turn`` in the same call of C.

        A signal handler may raise between any two calls: no ``with`` on anything written in Python
        would be sure to release what it has acquired.
        """
        left = -1.0 if deadline == math.inf else max(deadline - time.monotonic(), 0.0)
        turn.extend(map(self._turn.acquire, (True,), (left,)))
        if True not in turn:
            raise TimeoutError(f"another thread is busy with fifo {self._path!r}")

    def _read(self, size: int, deadline: float) -> bool:
        """Append up to so many bytes to the fragments; false at the end."""
        hung_up = False  # before the read: a writer may come, write and go in between
        while True:
            try:
                self._messages.fragments.extend(map(os.read, (self._fd,), (size,)))
                if self._messages.fragments[-1]:
                    return True
                self._messages.fragments.pop()
                if hung_up:
                    return False
                hung_up = self._hung_up()
                if hung_up:
                    continue
            except BlockingIOError:
                hung_up = False
            if not self._ready(select.POLLIN, deadline):
                raise TimeoutError(f"nothing came through fifo {self._path!r}")

    def _take(self, size: int) -> bytes:
        data = b"".join(self._messages.fragments)
        if size < 0:
            size = len(data)
        self._messages.fragments = deque([data[size:]])
        return data[:size]

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
                fd = self._open(_deadline(0))
                try:
                    self._check(fd)
                    if not self._raw:
                        self._claim_messages(fd)
                    os.dup2(fd, self._fd, inheritable=False)
                finally:
                    os.close(fd)
        finally:
            self._kept_open = os.open(_of_descriptor(self._fd), os.O_WRONLY)


class _File(io.RawIOBase):
    """The pipe as the file objects of ``io`` want it."""

    def __init__(self, fifo: Fifo) -> None:
        self._fifo = fifo

    def readable(self) -> bool:
        return self._fifo.mode == "r"

    def writable(self) -> bool:
        return self._fifo.mode == "w"

    def fileno(self) -> int:
        return self._fifo.fileno()

    def readinto(self, buffer: Any) -> int:
        data = self._fifo.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        return self._fifo.write(data)


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value, protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        # A function that pickle cannot name, perhaps: cloudpickle takes it by value.
        try:
            data: bytes = import_lazily("cloudpickle").dumps(value, protocol=5)
        except Exception:
            raise error from None
        return data


def _rebuilds(message: bytes) -> bool:
    """Can it be rebuilt after all? Interrupts come and go; what raises SystemExit by itself does
    so every time, and would stand in the way of all that comes behind it."""
    for _ in range(_TIMES_AT_ONCE):
        try:
            pickle.loads(message)
        except BaseException:
            continue
        return True
    return False


def _deadline(timeout: float | None) -> float:
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


def _of_descriptor(fd: int) -> str:
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
