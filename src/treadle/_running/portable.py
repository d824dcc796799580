"""Values on their way to another process: what multiprocessing can send, and what has no name.

``multiprocessing`` pickles locks, connections and the like by reducers of its own, which it holds
apart from those of pickle; ``cloudpickle`` pickles functions and classes by value, and knows
nothing of those reducers. A closure may hold a connection, so the fallback has both.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from multiprocessing.reduction import ForkingPickler

from treadle._core import import_lazily

TYPE_CHECKING = False  # type checkers know the name; typing takes a while to import
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar

    Packed = tuple[Any, ...]  # a pickle, and the large buffers that go beside it

__all__ = ["pack", "portable_pickle", "resendable", "unpack"]


_registered: dict[type, Any] = ForkingPickler._extra_reducers  # type: ignore[attr-defined]


class _Pickler(pickle.Pickler):
    registered: ClassVar[tuple[int, int]] = 0, 0  # how many reducers there were for it


def portable_pickle(value: object) -> bytes:
    """The value as bytes that ``pickle.loads`` takes, in this process or another.

    Raises an error that names what neither pickle nor cloudpickle can send.
    """
    return _dumped(value, None)


def pack(value: object) -> Packed:
    """The value as ``unpack`` takes it; its large buffers (NumPy's arrays) are not copied."""
    buffers: list[pickle.PickleBuffer] = []
    data = _dumped(value, buffers)
    if not buffers:
        return (data,)
    try:
        for buffer in buffers:
            buffer.raw()
    except BufferError:  # not contiguous: let it be copied into the pickle
        return (_dumped(value, None),)
    return data, *buffers


def unpack(packed: Packed, *, copy: bool = False) -> Any:
    """The value that was packed. What its unpickling raises is the caller's to handle.

    copy: for who may write into the value, and is not to change what was sent.
    """
    if len(packed) == 1:
        return pickle.loads(packed[0])
    buffers = packed[1:]
    if copy:
        buffers = tuple(bytes(part) if _is_readonly(part) else bytearray(part) for part in buffers)
    return pickle.loads(packed[0], buffers=buffers)


def resendable(packed: Packed) -> Packed:
    """What arrived, views of shared memory included, to be sent on."""
    return packed[0], *map(pickle.PickleBuffer, packed[1:])


def _is_readonly(buffer: Any) -> bool:
    return memoryview(buffer).readonly


def _dumped(value: object, buffers: list[pickle.PickleBuffer] | None) -> bytes:
    file = io.BytesIO()
    beside = None if buffers is None else buffers.append
    reducers = _reducers_now()
    try:
        _Pickler(file, 5, buffer_callback=beside).dump(value)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        if buffers is not None:
            buffers.clear()
        data: bytes = import_lazily("treadle._by_value").dumps(value, error, beside, reducers)
        return data
    return file.getvalue()


def _reducers_now() -> Mapping[type, Any]:
    """Those of multiprocessing and of copyreg; libraries register theirs when they are imported.

    A ForkingPickler makes such a table each time, which takes as long as all else for a small
    value. So a new one is made where either table has grown.
    """
    registered = len(_registered), len(copyreg.dispatch_table)
    if registered != _Pickler.registered:
        _Pickler.dispatch_table = ForkingPickler(io.BytesIO()).dispatch_table
        _Pickler.registered = registered
    return _Pickler.dispatch_table
