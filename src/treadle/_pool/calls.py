"""What a pool asks of its workers, and what they tell: the messages, and the values in them.

A *batch* is what a worker takes at once: one function, and items that each become a call of it.

    task    (-priority, serial, how, function, items)
    result  (VALUES, serial, index, nanoseconds, values)
            (ERROR, serial, index, error, trace, items)    index -1: none of the batch can be run
                                                           items: to be tried again, or None
            (RETURNED, serial, how, function, items)       not run, see worker.py
            (READY, seat) (BROKEN, seat, error, trace) (DIED, seat)

Items and values are a tuple where all are plain, which goes as it is (many numbers as bytes), and
otherwise a list of packed ones: each by itself, so that one that cannot be rebuilt costs itself
alone. The queue of tasks orders by as much of a task as has an order, and keeps that twice; so many
plain items are enclosed in a list, which has none.
"""

from __future__ import annotations

from treadle._core import packed_numbers, plain, unpacked_numbers
from treadle._errors import TaskError
from treadle._running.portable import pack, resendable

TYPE_CHECKING = False  # type checkers know the name; typing takes a while to import
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from treadle._running.portable import Packed

    Items = tuple[Any, ...] | bytes | list[Packed]

__all__ = [
    "BROKEN",
    "CALL",
    "DIED",
    "ENCLOSED",
    "ERROR",
    "LANE",
    "MANY_NUMBERS",
    "MAP",
    "READY",
    "RETRY",
    "RETURNED",
    "STAR",
    "SURE",
    "VALUES",
    "WHOLE",
    "arguments",
    "caller",
    "packed_items",
    "resendable_items",
    "task_name",
    "unsendable",
]

VALUES, ERROR, RETURNED, READY, BROKEN, DIED = range(6)
WHOLE = -1
"""The index of an error that is the whole batch's."""

MANY_NUMBERS = 16
"""So many of them, or more, go as bytes."""

_LONG = 1024  # what is longer is packed: the order of tasks is not to hold a copy


# How an item becomes a call, and what is to be heeded: bits, being on the way of every task.
MAP = 0  # function(item)
STAR = 1  # function(*item)
CALL = 2  # function(*item[0], **item[1])
RETRY = 4  # an item that fails comes back with its error
SURE = 8  # it was not withdrawn, whatever the marks say
ENCLOSED = 16  # in the task, the items lie in a list of one
LANE = 256  # so many times the number of the lane, from 1 on, that the results are to take

_WAY = 3


def caller(how: int, function: Callable[..., Any]) -> Callable[[Any], Any]:
    """What makes an item a call."""
    way = how & _WAY
    if way == MAP:
        return function
    if way == STAR:
        return lambda item: function(*item)
    return lambda item: function(*item[0], **item[1])


def arguments(how: int, item: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the call is made with that an item becomes."""
    way = how & _WAY
    if way == MAP:
        return (item,), {}
    return (item, {}) if way == STAR else item


def packed_items(how: int, items: Sequence[Any], *, apart: bool = False) -> Items:
    """The items of a batch as they are sent; apart: each may be cut off, as a batch of its own.

    Raises what pickling one of them raises.
    """
    way = how & _WAY
    if way == MAP:
        if not apart and len(items) >= MANY_NUMBERS:
            numbers = packed_numbers(items)
            if numbers is not None:
                return numbers
        if plain(items, _LONG):
            return tuple(items)
    elif way == STAR:
        for item in items:
            if type(item) is not tuple or not plain(item, _LONG):
                break
        else:
            return tuple(items)
    return [pack(item) for item in items]


def resendable_items(items: Items) -> Items:
    """Items that arrived, to be sent on."""
    if type(items) is bytes:
        return unpacked_numbers(items)
    return [resendable(packed) for packed in items] if type(items) is list else items


def task_name(function: Callable[..., Any]) -> str:
    """What messages call a task: the function that it calls."""
    name = getattr(function, "__qualname__", None) or repr(function)
    module = getattr(function, "__module__", None)
    return f"{name}()" if module in (None, "builtins", "__main__") else f"{module}.{name}()"


def unsendable(what: str, error: BaseException) -> TaskError:
    """The error of a task whose function, arguments or result do not make the way."""
    told = TaskError(f"{what} ({type(error).__name__}: {error})")
    told.__cause__ = error
    return told
