"""Functions and classes that pickle cannot name, pickled by value: cloudpickle, a little stricter.

cloudpickle makes an ``io.StringIO`` of an open file, with a copy of all that is in it. What reads
such a copy, or writes to it, has lost the file without a word; so files are refused, as pickle
refuses them. sys.stdout and sys.stderr travel by their names.
"""

from __future__ import annotations

import io
import sys
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Any

import cloudpickle

__all__ = ["dumps"]


def dumps(
    value: object,
    error: Exception,
    beside: Callable[[Any], object] | None = None,
    reducers: Mapping[type, Any] | None = None,
) -> bytes:
    """The value as bytes that ``pickle.loads`` takes.

    error: what pickle raised for the value. beside: is given the buffers that are not in the bytes.
    reducers: by type, beyond those of pickle and cloudpickle.

    Raises what names the culprit: pickle's error, unless that is about a name, as of a function
    that cloudpickle takes, and what the function holds is what cannot be pickled.
    """
    file = io.BytesIO()
    try:
        _pickler(dict(reducers or {}))(file, 5, buffer_callback=beside).dump(value)
    except Exception as problem:
        raise (error if isinstance(error, TypeError) else problem) from None
    return file.getvalue()


def _pickler(reducers: dict[type, Any]) -> Any:
    """A class that is made anew each time, since modules imported meanwhile add to its table.

    The pickler in C looks for that in its class alone.
    """
    base = cloudpickle.CloudPickler
    table = ChainMap({io.TextIOWrapper: _reduce_file}, base.dispatch_table, reducers)
    return type("Pickler", (base,), {"dispatch_table": table})


def _reduce_file(file: io.TextIOWrapper) -> Any:
    for name in ("stdout", "stderr"):
        if file is getattr(sys, name):
            return getattr, (sys, name)
    raise TypeError(f"cannot pickle {type(file).__module__ + '.' + type(file).__name__!r} object")
