"""Lanes: results that go straight to the thread that waits for them.

``Pool.apply`` has nothing to do but to wait for its one result. By way of the supervisor that would
wake two threads; so a caller takes a lane, a queue of results of its own, for as long as its call
takes, and handles what comes there as the supervisor would. Where another thread settles the call
(after a death, or at the end of the pool), it knocks at the lane.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import Any

from treadle._core import Queue
from treadle._errors import Empty

__all__ = ["Lane", "Lanes"]

_COUNT = 4  # calls of ``apply`` at a time; more than these take the usual way
_KNOCK = ()
_BLOCKING = (True,)


class Lane:
    """One queue, for one caller at a time."""

    def __init__(self, number: int, label: str) -> None:
        self.number = number  # from 1 on
        self.queue: Queue[Any] = Queue(label=label)
        self.caller = 0  # the thread
        self._inbox: deque[Any] = deque()

    def attend(self, done: Callable[[], bool], handle: Callable[[Any], object]) -> None:
        """Handle what comes until it is done; an interrupt leaves nothing unhandled for long."""
        inbox = self._inbox
        while True:
            while inbox:  # what an interrupted caller has left comes first
                handle(inbox[0])
                inbox.popleft()
            if done():
                return
            # One call in C: no handler of a signal runs between taking a message and keeping it.
            inbox.extend(map(self.queue.get, _BLOCKING))

    def drain(self, handle: Callable[[Any], object]) -> None:
        """Handle what lies there, in another thread than the caller's."""
        while True:
            try:
                message = self.queue.get_nowait()
            except Empty:
                return
            handle(message)

    def knock(self) -> None:
        """Have the caller look whether it is done, if that is not the one who asks."""
        if self.caller != get_ident():
            self.queue.put(_KNOCK)


class Lanes:
    """Those of a pool."""

    def __init__(self, label: str) -> None:
        self._all = [
            Lane(number + 1, f"lane {number + 1} of {label}"[:40]) for number in range(_COUNT)
        ]
        self._free = list(self._all)

    def queues(self) -> list[Queue[Any]]:
        """For the workers."""
        return [lane.queue for lane in self._all]

    def numbered(self, number: int) -> Lane:
        """The lane of that number."""
        return self._all[number - 1]

    def take(self) -> Lane | None:
        """A lane for the calling thread, if one is free."""
        try:
            lane = self._free.pop()
        except IndexError:
            return None
        lane.caller = get_ident()
        return lane

    def give_back(self, lane: Lane) -> None:
        """The caller has its result, or does not wait for it any more."""
        lane.caller = 0
        self._free.append(lane)
