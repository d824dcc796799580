"""Fifo: a named pipe in the file system, for messages between programs, or bytes with a shell.

Prior art: ``os.mkfifo`` with ``open``, where two large writes interleave, a writer that is killed
midway garbles all that follows, and a file that is no pipe is written to.

Messages go in chunks (``_framing``) of at most PIPE_BUF bytes, which the kernel writes entirely or
not at all. The reader takes no more from the pipe than the chunk it is at, so that ``select`` knows
what is there. It appends what it reads within one call of C, as no signal handler can come between.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import select
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from treadle._core import Lock, import_lazily
from treadle._errors import ItemError
from treadle._fifo_file import file_on
from treadle._framing import AT_A_TIME, FIRST, ROOM, Assembly, chunk
from treadle._named_pipe import NamedPipe, deadline_after, of_descriptor

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Fifo"]

_TIMES_AT_ONCE = 5  # that many interrupts in a row are none


class Fifo(NamedPipe):
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
            self._fd = self._open(deadline_after(timeout))
            self._check(self._fd)
            if mode == "r":
                if not raw:
                    self._claim_messages(self._fd)
                if persistent:
                    self._kept_open = os.open(of_descriptor(self._fd), os.O_WRONLY)
        except BaseException:
            self.close()
            raise

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
        deadline = deadline_after(timeout)
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
        deadline = deadline_after(timeout)
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
        deadline = deadline_after(timeout)
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
        size, deadline = len(view), deadline_after(timeout)
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
        return file_on(self, encoding, errors, newline, binary)

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
        deadline = deadline_after(timeout)
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


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value, protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        data: bytes = import_lazily("treadle._by_value").dumps(value, error)
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
