"""The public classes can be subclassed, as those of the standard library can."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import treadle
from tests.sync.children import forked


class Jobs(treadle.Queue[Any]):
    def __init__(self, name: str, size: int = 0) -> None:
        super().__init__(size, label=name)
        self.title = name


class Guard(treadle.Lock):
    def __init__(self, name: str) -> None:
        super().__init__(label=name)
        self.title = name


class Reentrant(treadle.RLock):
    def __init__(self, name: str) -> None:
        super().__init__(label=name)
        self.title = name


class Index(treadle.RWLock):
    def __init__(self, name: str) -> None:
        super().__init__(label=name)
        self.title = name


class Ready(treadle.Latch):
    def __init__(self, name: str) -> None:
        super().__init__(2, label=name)
        self.title = name


class Tickets(treadle.Semaphore):
    def __init__(self, name: str, count: int = 3) -> None:
        super().__init__(count, label=name)
        self.title = name


class Seats(treadle.BoundedSemaphore):
    def __init__(self, name: str, count: int = 3) -> None:
        super().__init__(count, label=name)
        self.title = name


class Flag(treadle.Event):
    def __init__(self, name: str) -> None:
        super().__init__(label=name)
        self.title = name


class Changed(treadle.Condition):
    def __init__(self, name: str) -> None:
        super().__init__(label=name)
        self.title = name


class Meeting(treadle.Barrier):
    def __init__(self, name: str) -> None:
        super().__init__(2, label=name)
        self.title = name


every_one = pytest.mark.parametrize(
    "of", [Jobs, Guard, Reentrant, Index, Ready, Tickets, Seats, Flag, Changed, Meeting]
)


@every_one
def test_with_a_constructor_of_its_own(of: Callable[[str], Any]) -> None:
    thing = of("mine")
    assert thing.title == thing.label == "mine"
    assert thing.shared


@every_one
@pytest.mark.parametrize("copied", [copy.copy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_is_of_the_same_class_and_has_what_it_had(
    of: Callable[[str], Any], copied: Callable[[Any], Any]
) -> None:
    thing = of("mine")
    thing.extra = [1, 2]
    other = copied(thing)
    assert type(other) is type(thing)
    assert (other.title, other.extra, other.label) == ("mine", [1, 2], "mine")


def test_what_it_was_told_reaches_the_object() -> None:
    jobs = Jobs("jobs", 2)
    assert jobs.maxsize == 2
    twin = pickle.loads(pickle.dumps(jobs))
    twin.put(1)
    assert jobs.get() == 1
    tickets, seats = Tickets("t", 5), Seats("s", 5)
    assert (tickets.get_value(), seats.get_value()) == (5, 5)
    seats.acquire()
    seats.release()
    with pytest.raises(ValueError):
        seats.release()
    guard = Guard("g")
    with forked(lambda line: guard.acquire() and None):
        pass
    with pytest.raises(treadle.OwnerDiedError):
        guard.acquire()


def test_one_that_was_never_made_says_so_or_is_private() -> None:
    class Forgetful(treadle.Queue[Any]):
        def __init__(self) -> None:
            pass

    queue = Forgetful()
    for call in (
        lambda: queue.put(1),
        lambda: queue.put_many([1]),
        queue.get,
        lambda: queue.get_many(1),
        queue.lease,
        queue.task_done,
        queue.join,
        queue.shutdown,
        queue.qsize,
        queue.empty,
        queue.full,
        queue.statistics,
        lambda: queue.maxsize,
        lambda: queue.maxbytes,
        lambda: queue.is_shutdown,
        lambda: queue.label,
        lambda: repr(queue),
        lambda: pickle.dumps(queue),
        lambda: next(queue),
    ):
        with pytest.raises(RuntimeError, match="not called"):
            call()
    kinds: list[Any] = [treadle.Lock, treadle.RLock, treadle.RWLock, treadle.Semaphore]
    for of in [*kinds, treadle.Event, treadle.Latch]:
        thing = of.__new__(of)
        assert not thing.shared
        assert repr(thing)
    with treadle.Lock.__new__(treadle.Lock) as held:
        assert held


def test_a_second_call_of_the_constructor_makes_it_anew() -> None:
    lock = treadle.Lock(label="first")
    lock.acquire()
    lock.__init__(label="second")  # type: ignore[misc]
    assert not lock.locked() and lock.label == "second"
    queue: treadle.Queue[int] = treadle.Queue()
    queue.put(1)
    queue.__init__(5)  # type: ignore[misc]
    assert queue.empty() and queue.maxsize == 5
