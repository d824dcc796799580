"""Tickets: what a pickled handle holds, taken apart and put together by hand."""

from __future__ import annotations

import functools
import pickle
import struct
import sys
from collections.abc import Callable
from typing import Any

import treadle

# identity of the arena, offset, serial, pid and descriptor of the sender and of the creator, where
# its arrival is told and as which number, kind, check
LAYOUT = struct.Struct("=16sQQiiiiQQII")
FIELDS = (
    *("arena", "offset", "serial", "sender", "sender_fd", "creator", "creator_fd"),
    *("transit", "number", "kind"),
)


def ticket_of(thing: Any) -> tuple[Callable[[Any], Any], bytes]:
    """The function that turns a ticket into a handle, and the ticket."""
    rebuild, (of, ticket) = thing.__reduce__()
    return functools.partial(rebuild, of), ticket


def changed(ticket: bytes, **fields: Any) -> bytes:
    """The ticket with other fields and the check that belongs to them."""
    values = dict(zip(FIELDS, LAYOUT.unpack(ticket)[:-1], strict=True)) | fields
    body = LAYOUT.pack(*values.values(), 0)[:-4]
    return body + struct.pack("=I", fnv1a(body))


def fnv1a(data: bytes) -> int:
    total = 2166136261
    for byte in data:
        total = (total ^ byte) * 16777619 & 0xFFFFFFFF
    return total


def scribble_on_pickles() -> None:
    """Loads pickled handles with each of their bytes changed in several ways.

    In a program of its own, since a scribbled pickle may ask for any amount of memory.
    """
    import resource

    things = [
        *(treadle.Queue(), treadle.PriorityQueue(), treadle.LifoQueue()),
        *(treadle.Lock(), treadle.Event(), treadle.Semaphore()),
    ]
    for thing in things:
        sound = pickle.dumps(thing)
        resource.setrlimit(resource.RLIMIT_AS, (66 << 30, resource.RLIM_INFINITY))
        for position in range(len(sound)):
            for value in {sound[position] ^ 1 << bit for bit in range(8)} | {0, 255}:
                damaged = bytearray(sound)
                damaged[position] = value
                try:
                    pickle.loads(bytes(damaged))
                except Exception:
                    pass
        assert pickle.loads(sound).statistics() == thing.statistics(), thing
    things[0].put("alive")
    assert things[0].get() == "alive"
    sys.exit(0)
