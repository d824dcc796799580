"""Messages in chunks, through a pipe that several may write to.

A chunk is no longer than PIPE_BUF, so the kernel writes it entirely or not at all. Hence writers
need no lock, a large message holds up no small one, and a death between two chunks garbles nothing:
what it leaves unfinished is dropped. (With a lock on the file, as is common, messages would not mix
either; but the next one would come amid the rest of a dead writer's.)

    chunk   magic 4 | flags 1 | 0 | payload's size 2 | writer 8 | size of what is left 8 | payload

State changes by single stores and appends that no signal handler can come between.
"""

from __future__ import annotations

import select
import struct
from collections import deque
from collections.abc import Callable

from treadle._errors import ItemError

_HEADER = struct.Struct("<4sBxHQQ")
_MAGIC = b"\xf5trd"  # no text in UTF-8 has that byte
FIRST = 1
ROOM = select.PIPE_BUF - _HEADER.size
AT_A_TIME = 65536  # a pipe's usual capacity
_NOW = 0.0  # a deadline that has passed

Read = Callable[[int, float], bool]
"""Appends up to so many bytes to the fragments; false at the end; TimeoutError at the deadline."""


def chunk(flags: int, writer: int, left: int, payload: memoryview) -> bytes:
    return _HEADER.pack(_MAGIC, flags, len(payload), writer, left) + payload


class Assembly:
    """What has come so far: fragments of a chunk, parts of messages, messages and errors."""

    def __init__(self, path: str) -> None:
        self.arrived: deque[bytes | Exception] = deque()
        self.fragments: deque[bytes] = deque()  # of the chunk under way
        self._unfinished: dict[int, list[bytes]] = {}  # writer -> payloads
        self._path = path

    def await_one(self, read: Read, deadline: float) -> None:
        """Return once something has arrived; ``read`` appends to the fragments.

        An end that was found earlier, and not handed out, counts only if it is still so.
        """
        if self.arrived and isinstance(self.arrived[0], EOFError):  # nothing comes behind it
            try:
                if not any(self.fragments) and not read(_HEADER.size, _NOW):
                    return
            except TimeoutError:  # another writer has come, and has not written yet
                pass
            del self.arrived[0]
        while not self.arrived:
            data = b"".join(self.fragments)
            whole = _HEADER.size
            begun = len(data) < whole
            if not begun:
                whole += _HEADER.unpack_from(data)[2]
            if whole > select.PIPE_BUF or not _MAGIC.startswith(data[:4]):
                self._skip_rubbish(data, read)
            elif not begun and len(data) >= whole:
                self._accept(data, whole)
            elif not read(whole - len(data), deadline):
                self._end(data)

    def _accept(self, data: bytes, whole: int) -> None:
        _, flags, size, writer, left = _HEADER.unpack_from(data)
        parts = [] if flags & FIRST else self._unfinished.get(writer)
        payload = data[_HEADER.size : whole]
        rest = deque([data[whole:]])  # after rubbish: else no more is read than the chunk
        if parts is None:  # the rest of what was begun before this reader came
            self.fragments = rest
        elif left == size:
            message = b"".join([*parts, payload])
            self.fragments = rest  # no signal is handled between this and the append
            self.arrived.append(message)
            if not flags & FIRST:  # a small one may come between the chunks of another thread's
                self._unfinished.pop(writer, None)
        else:
            self._unfinished[writer] = parts
            self.fragments = rest
            parts.append(payload)

    def _skip_rubbish(self, data: bytes, read: Read) -> None:
        """Drop what lies before the next chunk, or, with none in sight, all that is there."""
        while (begin := data.find(_MAGIC, 1)) < 0 and len(data) < AT_A_TIME:
            try:
                if not read(AT_A_TIME, _NOW):
                    break
            except TimeoutError:
                break
            data = b"".join(self.fragments)
        if begin < 0:  # but perhaps a beginning of one
            begin = next(n for n in range(1, len(data) + 1) if _MAGIC.startswith(data[n : n + 4]))
        shown = f"{data[: min(begin, 40)]!r}{'...' * (begin > 40)}"
        error = ItemError(
            f"what came through fifo {self._path!r} is no message: {shown}; it is gone; "
            "send with treadle.Fifo, or read what others write with raw=True"
        )
        rest = deque([data[begin:]])
        self.fragments = rest
        self.arrived.append(error)

    def _end(self, data: bytes) -> None:
        lost = len(self._unfinished) + bool(data)
        dropped = f"; of {lost} messages only a part had come" if lost else ""
        error = EOFError(f"all writers of fifo {self._path!r} have gone{dropped}")
        self.fragments = deque()
        self._unfinished = {}
        self.arrived.append(error)
