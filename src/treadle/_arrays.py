"""SharedArray: what ``treadle.ndarray`` returns.

A subclass of NumPy's, since a plain array's pickle is its bytes, and the way to change that for the
class itself (``copyreg``) would change it for every array of the program. The subclass adds no
data: whether an array lies in shared memory is asked of what it is a view of.
"""

from __future__ import annotations

import math
from typing import Any, Literal, TypeVar, cast

import numpy
from numpy.typing import ArrayLike, DTypeLike

from treadle._core import SharedBytes

_ShapeT = TypeVar("_ShapeT", bound=tuple[Any, ...])
_DType = TypeVar("_DType", bound=numpy.dtype[Any])

_BY_CODE = frozenset("biufcmMSU")  # kinds of dtype of which the code says all


class SharedArray(numpy.ndarray[_ShapeT, _DType]):
    """A NumPy array that is pickled as a handle where it is a view of shared memory.

    >>> import treadle
    >>> array = treadle.ndarray(3)
    >>> array[::2].shared, type(array + 1).__name__
    (True, 'ndarray')
    """

    __slots__ = ()

    @property
    def shared(self) -> bool:
        """Whether it lies in shared memory; some of NumPy's functions make private ones.

        >>> import numpy, treadle
        >>> numpy.zeros_like(treadle.ndarray(3)).shared
        False
        """
        return _memory_of(self) is not None

    @property
    def label(self) -> str:
        """What reports call it.

        >>> import treadle
        >>> treadle.ndarray(3, label="weights").label
        'weights'
        """
        memory = _memory_of(self)
        return "" if memory is None else memory.label

    @property
    def name(self) -> str | None:
        """By what name other programs find it, or None.

        >>> import treadle
        >>> treadle.ndarray(3, name="weights of the model").name
        'weights of the model'
        """
        memory = _memory_of(self)
        return None if memory is None else memory.name

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: Any = None) -> Any:
        if array is self:  # a += b, or out=a
            return array
        plain = array.view(numpy.ndarray)
        # NumPy 1 does not say what is to be a scalar.
        return plain[()] if return_scalar or (return_scalar is None and not plain.ndim) else plain

    def copy(self, order: Any = "C") -> Any:
        """Returns a copy: an ordinary array.

        >>> import treadle
        >>> type(treadle.ndarray(3).copy()).__name__
        'ndarray'
        """
        return self.view(numpy.ndarray).copy(order)

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns a converted copy: an ordinary array.

        >>> import treadle
        >>> treadle.ndarray(2).astype(int)
        array([0, 0])
        """
        return self.view(numpy.ndarray).astype(dtype, *args, **kwargs)

    def __reduce_ex__(self, protocol: Any) -> Any:
        memory = _memory_of(self)
        if memory is None:
            return self.view(numpy.ndarray).__reduce_ex__(protocol)
        dtype: Any = self.dtype
        if dtype.kind in _BY_CODE and dtype.metadata is None:
            dtype = dtype.str
        flags = self.flags
        strides = None if flags.c_contiguous else self.strides
        offset = self.__array_interface__["data"][0] - memory.address if self.size else 0
        return _rebuild, (memory, self.shape, dtype, offset, strides, flags.writeable)

    def __reduce__(self) -> Any:
        return self.__reduce_ex__(2)


def make(
    shape: int | tuple[int, ...],
    dtype: DTypeLike,
    initial: ArrayLike | None,
    order: Literal["C", "F"],
    name: str | None,
    persist: bool,
    label: str | bytes,
) -> SharedArray[Any, Any]:
    """What ``treadle.ndarray`` does, once NumPy is there."""
    of: numpy.dtype[Any] = numpy.dtype(dtype)
    if of.hasobject:
        raise TypeError(
            f"an array of {of} cannot be shared: it holds Python objects, "
            "which no other process can use; send them through a queue, or use numbers"
        )
    if order not in ("C", "F"):
        raise ValueError(f"order must be 'C' or 'F', not {order!r}")
    extent = (shape,) if not isinstance(shape, tuple) and hasattr(shape, "__index__") else shape
    extent = tuple(int(length) for length in extent)  # type: ignore[union-attr]
    if any(length < 0 for length in extent):
        raise ValueError(f"the lengths of {extent} must not be negative")
    filling: Any = None
    description = None
    if name is not None:
        kind = of.str if of.kind in _BY_CODE else repr(of)
        description = f"ndarray({extent}, {kind!r}{'' if order == 'C' else ', order=F'})"
        if initial is not None:  # whoever finds it by its name finds it filled
            filling = numpy.empty(extent, of, order)
            filling[...] = initial
            filling = filling.ravel(order).view("B")
    text = label if isinstance(label, bytes) else label.encode("utf-8", "replace")
    size = math.prod(extent) * of.itemsize
    memory = SharedBytes(size, filling, text, name, persist, description)
    array: SharedArray[Any, Any] = SharedArray(extent, of, cast(Any, memory), order=order)
    if initial is not None and filling is None:
        array[...] = initial
    return array


def _memory_of(array: numpy.ndarray[Any, Any]) -> SharedBytes | None:
    """What a chain of views ends in, if that is shared memory."""
    base: Any = array.base
    while isinstance(base, numpy.ndarray):
        base = base.base
    return base if type(base) is SharedBytes else None


def _rebuild(
    memory: SharedBytes,
    shape: tuple[int, ...],
    dtype: Any,
    offset: int,
    strides: tuple[int, ...] | None,
    writeable: bool,
) -> SharedArray[Any, Any]:
    array: SharedArray[Any, Any] = SharedArray(shape, dtype, cast(Any, memory), offset, strides)
    if not writeable:
        array.flags.writeable = False
    return array
