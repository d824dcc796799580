"""ShareableList: a list of fixed length and sizes in SharedMemory, laid out as the standard one is.

0              how many items there are, N
8              N + 1 offsets of the items, from where they begin
(N + 2) * 8    the items, each aligned to 8 bytes
after them     N formats of ``struct``, of 8 bytes each
at the end     N bytes: what an item is made into (0: nothing, 1: str, 2: bytes, 3: None)
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import partial
from types import GenericAlias
from typing import Any

from treadle._shared_memory import SharedMemory

_PLAIN, _STR, _BYTES, _NONE = range(4)
_FORMATS: dict[type, str] = {
    int: "q",
    float: "d",
    bool: "xxxxxxx?",
    type(None): "xxxxxx?x",
}
_ALIGNMENT = 8


class ShareableList:
    """A list in ``SharedMemory``: its items can be set, and their number is fixed.

    sequence: of int (64 bits), float, bool, str, bytes and None. name: that of its memory; without
    a sequence, of a list that is there. A str or bytes item has room for what it began with,
    rounded up to a multiple of 8 bytes; zeroes at its end are lost, as with the standard library's
    list, which can open it. Nothing locks it, and setting an item takes several steps: processes
    that set the same item need a lock. ``shm`` is the SharedMemory; close and unlink that.

    Raises KeyError for an item of another type, struct.error for an int that is too large.

    >>> import treadle
    >>> numbers = treadle.ShareableList(["one", 2, None])
    >>> other = treadle.ShareableList(name=numbers.shm.name)
    >>> other[2] = 3.5
    >>> list(numbers)
    ['one', 2, 3.5]
    >>> numbers.shm.unlink()
    """

    shm: SharedMemory

    def __init__(self, sequence: Iterable[Any] | None = None, *, name: str | None = None) -> None:
        if name is None or sequence is not None:
            content, offsets = _laid_out(list(sequence or ()))
            self.shm = SharedMemory(name, create=True, size=len(content))
            self.shm.buf[: len(content)] = content
        else:
            self.shm = SharedMemory(name)
            (count,) = struct.unpack_from("q", self.shm.buf)
            offsets = list(struct.unpack_from(f"{count + 1}q", self.shm.buf, 8))
        self._offsets = offsets
        self._count = len(offsets) - 1

    @property
    def format(self) -> str:
        """The ``struct`` formats of all items, one after the other.

        >>> import treadle
        >>> numbers = treadle.ShareableList([1, 2.5, "three"])
        >>> numbers.format
        'qd8s'
        >>> numbers.shm.unlink()
        """
        return "".join(self._get_packing_format(i) for i in range(self._count))

    def count(self, value: Any) -> int:
        """Returns how many items are equal to a value.

        >>> import treadle
        >>> numbers = treadle.ShareableList([1, 2, 1])
        >>> numbers.count(1)
        2
        >>> numbers.shm.unlink()
        """
        return sum(value == item for item in self)

    def index(self, value: Any) -> int:
        """Returns where the first item is that is equal to a value; raises ValueError without one.

        >>> import treadle
        >>> numbers = treadle.ShareableList([1, 2, 1])
        >>> numbers.index(2)
        1
        >>> numbers.shm.unlink()
        """
        for position, item in enumerate(self):
            if value == item:
                return position
        raise ValueError(f"{value!r} not in this container")

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(self._count))

    def __getitem__(self, position: int) -> Any:
        i = self._place(position, "index out of range")
        (value,) = struct.unpack_from(self._get_packing_format(i), self.shm.buf, self._at(i))
        match self.shm.buf[self._codes_at() + i]:
            case 1:
                return value.rstrip(b"\0").decode()
            case 2:
                return value.rstrip(b"\0")
            case 3:
                return None
        return value

    def __setitem__(self, position: int, value: Any) -> None:
        i = self._place(position, "assignment index out of range")
        encoded = value.encode() if isinstance(value, str) else value
        if isinstance(encoded, bytes):
            room = self._offsets[i + 1] - self._offsets[i]
            if len(encoded) > room:
                raise ValueError("bytes/str item exceeds available storage")
            form = self._get_packing_format(i)
            form = form if form.endswith("s") else f"{room}s"
        else:
            form = _FORMATS[type(value)]
        packed = struct.pack(form, encoded)  # or an error, before anything is changed
        struct.pack_into("8s", self.shm.buf, self._formats_at() + 8 * i, form.encode())
        self.shm.buf[self._codes_at() + i] = _code_of(value)
        self.shm.buf[self._at(i) : self._at(i) + len(packed)] = packed

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(self.__class__, name=self.shm.name), ()

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({list(self)}, name={self.shm.name!r})"

    __class_getitem__: Any = classmethod(GenericAlias)

    def _get_packing_format(self, position: int) -> str:
        i = self._place(position, "Requested position out of range.")
        found: bytes = struct.unpack_from("8s", self.shm.buf, self._formats_at() + 8 * i)[0]
        return found.rstrip(b"\0").decode()

    def _place(self, position: int, error: str) -> int:
        i = position if position >= 0 else position + self._count
        if not 0 <= i < self._count:
            raise IndexError(error)
        return i

    def _at(self, i: int) -> int:
        return (self._count + 2) * 8 + self._offsets[i]

    def _formats_at(self) -> int:
        return self._at(-1)  # where the last item ends

    def _codes_at(self) -> int:
        return self._formats_at() + 8 * self._count


def _code_of(value: Any) -> int:
    if value is None:
        return _NONE
    return _STR if isinstance(value, str) else _BYTES if isinstance(value, bytes) else _PLAIN


def _laid_out(items: list[Any]) -> tuple[bytes, list[int]]:
    """A list's bytes, and the offsets of its items."""
    encoded = [item.encode() if isinstance(item, str) else item for item in items]
    formats = [
        f"{_ALIGNMENT * _words(item, data)}s" if isinstance(data, bytes) else _FORMATS[type(item)]
        for item, data in zip(items, encoded, strict=True)
    ]
    if any(len(form) > 8 for form in formats):
        raise ValueError("a str or bytes item of a ShareableList has less than 10,000,000 bytes")
    offsets = [0]
    for form in formats:
        offsets.append(offsets[-1] + struct.calcsize(form))
    content = b"".join(
        (
            struct.pack(f"{len(items) + 2}q", len(items), *offsets),
            *(struct.pack(form, item) for form, item in zip(formats, encoded, strict=True)),
            *(struct.pack("8s", form.encode()) for form in formats),
            bytes(_code_of(item) for item in items),
        )
    )
    return content, offsets


def _words(item: str | bytes, data: bytes) -> int:
    """How many the standard library's list has for it, and more where that are too few."""
    return max(len(item) // _ALIGNMENT + 1, -(-len(data) // _ALIGNMENT))
