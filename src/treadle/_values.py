"""Value, Array, RawValue and RawArray: ctypes objects in shared memory, with a lock or without.

As those of the standard library's sharedctypes, but for where they lie: in the arena, so that
they can be sent to any process at any time, and stay for as long as anybody has them. A raw one is
an instance of a subclass of its ctypes type, whose pickle is a handle; copies are private.
"""

from __future__ import annotations

import ctypes
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any, Literal, overload

from treadle._core import (
    NameOfPart,
    RLock,
    SharedBytes,
    Synchronized,
    SynchronizedArray,
    SynchronizedBase,
    SynchronizedString,
    call_site,
)

_TYPES: dict[str, type[Any]] = {
    "c": ctypes.c_char,
    "u": ctypes.c_wchar,
    "b": ctypes.c_byte,
    "B": ctypes.c_ubyte,
    "h": ctypes.c_short,
    "H": ctypes.c_ushort,
    "i": ctypes.c_int,
    "I": ctypes.c_uint,
    "l": ctypes.c_long,
    "L": ctypes.c_ulong,
    "q": ctypes.c_longlong,
    "Q": ctypes.c_ulonglong,
    "f": ctypes.c_float,
    "d": ctypes.c_double,
}

_REAL, _UNSIGNED = 16, 32  # as in values.pxi
_NUMBERS: dict[type[Any], int] = {
    _TYPES[code]: ctypes.sizeof(_TYPES[code]) + kind
    for codes, kind in (("bhilq", 0), ("BHILQ", _UNSIGNED), ("fd", _REAL))
    for code in codes
}
"""Types of plain numbers, and how the core knows them."""

_POINTERS = "PzZOX"  # what ctypes calls simple types that are addresses

_Type = str | type[Any]


# ---- The objects


@overload
def Value(
    typecode_or_type: _Type,
    *args: Any,
    lock: Literal[False],
    name: str | None = None,
    persist: bool = False,
    label: str | None = None,
) -> Any: ...
@overload
def Value(
    typecode_or_type: _Type,
    *args: Any,
    lock: Any = True,
    name: str | None = None,
    persist: bool = False,
    label: str | None = None,
) -> Synchronized: ...
def Value(
    typecode_or_type: _Type,
    *args: Any,
    lock: Any = True,
    name: str | None = None,
    persist: bool = False,
    label: str | None = None,
) -> Any:
    """Returns a ctypes object in shared memory, with a lock that its access takes.

    typecode_or_type: a code as of ``array.array`` (or 'c', a byte), or a ctypes type that holds no
    pointers; args: what its constructor gets, which begins as zeroes. lock: True for an RLock of
    its own, which whoever comes after a killed owner takes over with an OwnerDiedWarning (give it
    ``treadle.RLock()`` for an OwnerDiedError); another lock; or False for what ``RawValue``
    returns. A structure's fields are attributes.

    A simple type's has ``value``, and an integer has atomic operations that take no lock and are
    some ten times faster: ``load store exchange fetch_add compare_exchange``. name, persist: as
    those of Lock; who opens a name gives the same type, and the first value is its maker's. label:
    what reports call it.

    Raises TypeError for types with pointers, and ArenaFullError.

    >>> import treadle
    >>> hits = treadle.Value("Q")
    >>> hits.fetch_add(1), hits.fetch_add(1)
    (0, 1)
    >>> with hits.get_lock():
    ...     hits.value *= 10
    >>> hits.value
    20
    """
    site = call_site() if label is None and name is None else label
    raw = _new(_type_of(typecode_or_type), args, "Value", name, persist, site)
    return _with_lock(raw, lock, name, persist, site)


@overload
def Array(
    typecode_or_type: _Type,
    size_or_initializer: int | Sequence[Any],
    *,
    lock: Literal[False],
    name: str | None = None,
    persist: bool = False,
    label: str | None = None,
) -> Any: ...
@overload
def Array(
    typecode_or_type: _Type,
    size_or_initializer: int | Sequence[Any],
    *,
    lock: Any = True,
    name: str | None = None,
    persist: bool = False,
    label: str | None = None,
) -> SynchronizedArray: ...
def Array(
    typecode_or_type: _Type,
    size_or_initializer: int | Sequence[Any],
    *,
    lock: Any = True,
    name: str | None = None,
    persist: bool = False,
    label: str | None = None,
) -> Any:
    """Returns a ctypes array in shared memory, with a lock that its access takes.

    size_or_initializer: how many items, which are zeroes then, or the items. The other parameters
    are as those of Value. It has ``len``, indices and slices; an array of 'c' has ``value`` and
    ``raw``; an array of integers has Value's atomic operations, with an index before their other
    arguments.

    >>> import treadle
    >>> array = treadle.Array("i", [1, 2, 3])
    >>> array[1] = 20
    >>> array.fetch_add(2, 5), array[:]
    (3, [1, 20, 8])
    """
    site = call_site() if label is None and name is None else label
    of, args = _array_of(_type_of(typecode_or_type), size_or_initializer)
    raw = _new(of, args, "Array", name, persist, site)
    return _with_lock(raw, lock, name, persist, site)


def RawValue(
    typecode_or_type: _Type,
    *args: Any,
    name: str | None = None,
    persist: bool = False,
    label: str | None = None,
) -> Any:
    """Returns a ctypes object in shared memory, without a lock. Parameters are as those of Value.

    >>> import treadle
    >>> ratio = treadle.RawValue("d", 0.5)
    >>> ratio.value += 1
    >>> ratio.value
    1.5
    """
    site = call_site() if label is None and name is None else label
    return _new(_type_of(typecode_or_type), args, "Value", name, persist, site)


def RawArray(
    typecode_or_type: _Type,
    size_or_initializer: int | Sequence[Any],
    *,
    name: str | None = None,
    persist: bool = False,
    label: str | None = None,
) -> Any:
    """Returns a ctypes array in shared memory, without a lock. Parameters are as those of Array.

    >>> import treadle
    >>> treadle.RawArray("i", range(4))[:]
    [0, 1, 2, 3]
    """
    site = call_site() if label is None and name is None else label
    of, args = _array_of(_type_of(typecode_or_type), size_or_initializer)
    return _new(of, args, "Array", name, persist, site)


def synchronized(obj: Any, lock: Any = None) -> Any:
    """Returns an object that takes the lock for each access to a ctypes object.

    lock: None for a new ``treadle.RLock``. Only what lies in shared memory can be sent elsewhere.

    >>> import ctypes
    >>> from treadle._values import synchronized
    >>> synchronized(ctypes.c_int(3)).value
    3
    """
    if isinstance(obj, SynchronizedBase):
        raise TypeError(f"{obj!r} has a lock already")
    lock = RLock(on_owner_death="recover") if lock is None else lock
    of: Any = getattr(type(obj), "_treadle_type", type(obj))
    if isinstance(obj, ctypes._SimpleCData):
        return Synchronized(obj, lock, _NUMBERS.get(of, 0))
    if isinstance(obj, ctypes.Array):
        kind = SynchronizedString if of._type_ is ctypes.c_char else SynchronizedArray
        return kind(obj, lock, _NUMBERS.get(of._type_, 0))
    return _synchronized_fields(of)(obj, lock)


def copy(obj: Any) -> Any:
    """Returns another raw object in shared memory with the same contents.

    >>> import treadle
    >>> from treadle._values import copy
    >>> first = treadle.RawArray("i", 3)
    >>> second = copy(first)
    >>> second[0] = 7
    >>> first[0]
    0
    """
    of: Any = getattr(type(obj), "_treadle_type", type(obj))
    return _lay(of, SharedBytes(ctypes.sizeof(of), _bytes_of(obj), _encoded(call_site())))


# ---- Types


def _type_of(typecode_or_type: _Type) -> Any:
    if isinstance(typecode_or_type, str):
        try:
            return _TYPES[typecode_or_type]
        except KeyError:
            raise TypeError(
                f"{typecode_or_type!r} is no type code; those are {' '.join(_TYPES)}, "
                "and a type of ctypes may be given, too"
            ) from None
    return typecode_or_type


def _array_of(of: Any, size_or_initializer: Any) -> tuple[Any, tuple[Any, ...]]:
    """The type of an array, and what its constructor gets."""
    if isinstance(size_or_initializer, int):
        if size_or_initializer < 0:
            raise ValueError(f"an array cannot have {size_or_initializer} items")
        return of * size_or_initializer, ()
    items = tuple(size_or_initializer)
    return of * len(items), items


def _check(of: Any) -> None:
    """Raises TypeError if the type cannot lie in shared memory."""
    try:
        ctypes.sizeof(of)
    except TypeError:
        raise TypeError(
            f"{getattr(of, '__name__', of)} is no type of ctypes that has a size, "
            "and no type code: shared memory holds numbers, characters, structures and arrays"
        ) from None
    where = _pointer_in(of)
    if where is not None:
        raise TypeError(
            f"{of.__name__} cannot be shared: {where or 'it'} is a pointer, and an address means "
            "nothing in another process; keep an index or an offset in its place"
        )


def _pointer_in(of: Any) -> str | None:
    """Which part of a type is a pointer: a dotted name, "" the type itself, None if no part is."""
    if issubclass(of, ctypes._SimpleCData):
        return "" if of._type_ in _POINTERS else None
    if issubclass(of, ctypes.Array):
        return _pointer_in(of._type_)
    if not issubclass(of, (ctypes.Structure, ctypes.Union)):
        return ""
    for field in _fields_of(of):
        inner = _pointer_in(field[1])
        if inner is not None:
            return f"{field[0]}.{inner}".rstrip(".")
    return None


def _fields_of(of: type[Any]) -> list[Any]:
    """Those of its bases as well."""
    return [field for base in reversed(of.__mro__) for field in base.__dict__.get("_fields_", ())]


_shared_types: weakref.WeakValueDictionary[type[Any], type[Any]] = weakref.WeakValueDictionary()
_with_fields: weakref.WeakValueDictionary[type[Any], type[Any]] = weakref.WeakValueDictionary()
_recent: deque[type[Any]] = deque(maxlen=128)  # are not made anew for each object


def _shared_type(of: Any) -> type[Any]:
    """The subclass whose instances lie in shared memory: their pickle is a handle."""
    found = _shared_types.get(of)
    if found is None:
        _check(of)
        members = {
            "__module__": of.__module__,
            "__qualname__": of.__qualname__,
            "__reduce__": _reduce,
            "__copy__": _private_copy,
            "__deepcopy__": _private_copy,
            "_treadle_type": of,
        }
        found = _shared_types.setdefault(of, type(of)(of.__name__, (of,), members))
        _recent.append(found)
    return found


def _reduce(self: Any) -> tuple[Any, ...]:
    return _rebuild, (_recipe(self._treadle_type), self._treadle_memory)


def _private_copy(self: Any, _memo: object = None) -> Any:
    return self._treadle_type.from_buffer_copy(self)


# Types of arrays have no name that pickle could find them by.
def _recipe(of: Any) -> Any:
    return (_recipe(of._type_), of._length_) if issubclass(of, ctypes.Array) else of


def _rebuild(recipe: Any, memory: SharedBytes) -> Any:
    return _lay(_cooked(recipe), memory)


def _cooked(recipe: Any) -> Any:
    return _cooked(recipe[0]) * recipe[1] if isinstance(recipe, tuple) else recipe


# ---- Making them


def _new(
    of: Any,
    args: tuple[Any, ...],
    kind: str,
    name: str | None,
    persist: bool,
    label: str | bytes | None,
) -> Any:
    _shared_type(of)  # or an error
    initial = _bytes_of(of(*args)) if args else None
    description = None if name is None else f"{kind}({_layout(of)})"
    text = _encoded(name if label is None else label)
    size = ctypes.sizeof(of)
    return _lay(of, SharedBytes(size, initial, text, name, persist, description))


def _lay(of: Any, memory: SharedBytes) -> Any:
    found = _shared_type(of).from_buffer(memory)
    found._treadle_memory = memory
    return found


def _bytes_of(obj: Any) -> memoryview:
    return memoryview(obj).cast("B") if ctypes.sizeof(obj) else memoryview(b"")


def _layout(of: Any) -> str:
    """What who opens a name must have the same of; not what the class is called."""
    if issubclass(of, ctypes.Array):
        return f"{_layout(of._type_)} * {of._length_}"
    if issubclass(of, ctypes._SimpleCData):
        return f"{of.__name__.removeprefix('c_')}"
    fields = (
        f"{name}: {_layout(kind)}{''.join(f':{b}' for b in bits)}"
        for name, kind, *bits in _fields_of(of)
    )
    text = f"{{{', '.join(fields)}}}, {ctypes.sizeof(of)} bytes"
    if len(text) <= 200:
        return text
    import hashlib

    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{of.__name__}, {ctypes.sizeof(of)} bytes, {digest}"


def _encoded(label: str | bytes | None) -> bytes:
    if label is None or isinstance(label, bytes):
        return label or b""
    if not isinstance(label, str):
        raise TypeError(f"label must be a str, not {type(label).__name__}")
    return label.encode("utf-8", "replace")


def _with_lock(
    raw: Any, lock: Any, name: str | None, persist: bool, label: str | bytes | None
) -> Any:
    if lock is False:
        return raw
    if lock is True or lock is None:
        part = None if name is None else NameOfPart(name, "lock")
        lock = RLock(
            name=part,
            persist=persist,
            label=name if label is None else label,
            on_owner_death="recover",
        )
    return synchronized(raw, lock)


def _synchronized_fields(of: type[Any]) -> type[SynchronizedBase]:
    """A structure's class of objects with a lock: each of its fields is a property."""
    found: type[SynchronizedBase] | None = _with_fields.get(of)
    if found is not None:
        return found
    members: dict[str, Any] = {field[0]: _field(field[0]) for field in _fields_of(of)}
    for base in of.__mro__:
        for name in base.__dict__.get("_anonymous_", ()):
            inner = next(field[1] for field in _fields_of(of) if field[0] == name)
            members |= {field[0]: _field(field[0]) for field in _fields_of(inner)}
    found = type(f"Synchronized{of.__name__}", (SynchronizedBase,), members)
    _recent.append(found)
    return _with_fields.setdefault(of, found)


def _field(name: str) -> property:
    def get(self: SynchronizedBase) -> Any:
        with self.get_lock():
            return getattr(self.get_obj(), name)

    def put(self: SynchronizedBase, value: Any) -> None:
        with self.get_lock():
            setattr(self.get_obj(), name, value)

    return property(get, put)
