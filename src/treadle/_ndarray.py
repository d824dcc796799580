"""ndarray: a NumPy array in shared memory. NumPy is imported when the first one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from treadle._core import call_site, import_lazily

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from treadle._arrays import SharedArray


def ndarray(
    shape: int | tuple[int, ...],
    dtype: DTypeLike = float,
    *,
    initial: ArrayLike | None = None,
    order: Literal["C", "F"] = "C",
    name: str | None = None,
    persist: bool = False,
    label: str | None = None,
) -> SharedArray[Any, Any]:
    """Returns a NumPy array in shared memory, whose pickle is a handle.

    Sent to another process (as an argument, through a queue, as a task of a pool, within a list or
    tuple) it is the same memory there, at the same cost for any size; so are its views: slices,
    transposed and reshaped ones. What is computed from it is an ordinary array, and so is a copy.
    Nothing locks it: who writes while others read has a lock beside it.

    shape, dtype, order: as those of ``numpy.ndarray``; a dtype that holds Python objects is a
    TypeError. initial: what it begins with, broadcast to the shape; None: zeroes. name, persist: as
    those of Lock; who opens a name gives the same shape, dtype and order, and ``initial`` is its
    maker's. label: what reports call it.

    Needs NumPy 1.26 or later: ``pip install 'treadle[numpy]'``. Raises ImportError without it, and
    ArenaFullError.

    >>> import pickle, treadle
    >>> array = treadle.ndarray((2, 3), "i4")
    >>> row = pickle.loads(pickle.dumps(array[1]))
    >>> row[:] = 7
    >>> array.tolist()
    [[0, 0, 0], [7, 7, 7]]
    """
    try:
        arrays = import_lazily("treadle._arrays")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "numpy":
            raise
        raise ImportError(
            "treadle.ndarray needs NumPy 1.26 or later: pip install 'treadle[numpy]'"
        ) from error
    site = label or name or call_site()
    made: SharedArray[Any, Any] = arrays.make(shape, dtype, initial, order, name, persist, site)
    return made
