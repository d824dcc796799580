"""Histories of a queue, and whether they can be those of a queue at all.

After Henzinger, Sezgin and Vafeiadis, "Aspect-oriented linearizability proofs" (CONCUR 2013): a
complete history in which every item is different is linearizable if and only if none of four
things has happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """A call and its outcome: ``put`` of an item, ``get`` of an item, or ``empty``."""

    kind: str
    item: Any
    began: int  # ns, by a clock that all processes share
    ended: int


def violations(history: list[Event]) -> list[str]:
    """What in the history no queue would have done; nothing, if it is linearizable."""
    puts = {event.item: event for event in history if event.kind == "put"}
    gets: dict[Any, Event] = {}
    found = []
    for event in history:
        if event.kind != "get":
            continue
        if event.item in gets:
            found.append(f"{event.item} was got twice")
        if event.item not in puts:
            found.append(f"{event.item} was got and never put")
        elif event.ended < puts[event.item].began:
            found.append(f"{event.item} was got before it was put")
        gets[event.item] = event
    found += _out_of_order(puts, gets)
    found += _empty_though_not(puts, gets, [event for event in history if event.kind == "empty"])
    return found


def _out_of_order(puts: dict[Any, Event], gets: dict[Any, Event]) -> list[str]:
    """Put strictly before another item, got strictly after it (or never)."""
    never = 1 << 62
    # By the end of its put; the latest begin of a get among those put strictly before.
    found = []
    ends = sorted(puts.values(), key=lambda put: put.ended)
    latest_get, latest, position = -1, None, 0
    for put in sorted(puts.values(), key=lambda put: put.began):
        while position < len(ends) and ends[position].ended < put.began:
            earlier = ends[position].item
            began = gets[earlier].began if earlier in gets else never
            if began > latest_get:
                latest_get, latest = began, earlier
            position += 1
        if put.item in gets and gets[put.item].ended < latest_get:
            found.append(f"{put.item} overtook {latest}")
    return found


def _empty_though_not(
    puts: dict[Any, Event], gets: dict[Any, Event], empties: list[Event]
) -> list[str]:
    """Said to be empty while, at every instant of the call, some item was certainly in it."""
    never = 1 << 62
    certain = sorted(
        (put.ended, gets[item].began if item in gets else never)
        for item, put in puts.items()
        if item not in gets or put.ended < gets[item].began
    )
    covered: list[tuple[int, int]] = []  # the union of these intervals
    for begin, end in certain:
        if covered and begin <= covered[-1][1]:
            covered[-1] = (covered[-1][0], max(covered[-1][1], end))
        else:
            covered.append((begin, end))
    return [
        f"empty at {empty.began} with an item in it"
        for empty in empties
        if any(begin < empty.began and empty.ended < end for begin, end in covered)
    ]
