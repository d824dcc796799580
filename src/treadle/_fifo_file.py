"""A raw ``Fifo`` as the file objects of ``io`` want it."""

from __future__ import annotations

import io
from typing import Any, Protocol


class RawFifo(Protocol):
    @property
    def mode(self) -> str: ...
    def fileno(self) -> int: ...
    def read(self, size: int) -> bytes: ...
    def write(self, data: Any) -> int: ...


def file_on(
    fifo: RawFifo, encoding: str | None, errors: str | None, newline: str | None, binary: bool
) -> Any:
    """What ``Fifo.makefile`` returns."""
    file = io.BufferedReader(_File(fifo)) if fifo.mode == "r" else io.BufferedWriter(_File(fifo))
    if binary:
        return file
    return io.TextIOWrapper(file, encoding, errors, newline)


class _File(io.RawIOBase):
    """The pipe as the file objects of ``io`` want it."""

    def __init__(self, fifo: RawFifo) -> None:
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
