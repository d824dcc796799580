"""What cannot be pickled is its putter's error; what cannot be rebuilt costs that item alone."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest

import treadle
from tests.queue.workers import PROCESSES, Start, books
from tests.sync.threads import OtherThread


class Refuses:
    """Cannot be pickled."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


class Breaks:
    """Is pickled, and cannot be rebuilt; as large as it is told."""

    def __init__(self, error: BaseException, size: int = 0) -> None:
        self.error = error
        self.ballast = bytes(size)

    def __reduce__(self) -> Any:
        return explode, (self.error, self.ballast)


def explode(error: BaseException, ballast: bytes) -> None:
    raise error


# ---- On the way in


@pytest.mark.parametrize(
    "error",
    [
        ValueError("mine"),
        TypeError("mine"),
        AttributeError("mine"),
        pickle.PicklingError("mine"),
        KeyboardInterrupt("mine"),
        SystemExit("mine"),
        MemoryError("mine"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("put", ["put", "put_nowait", "put_many"])
def test_what_pickling_raises_is_the_putter_s_and_nothing_was_put(
    queue: treadle.Queue, error: BaseException, put: str
) -> None:
    queue.put("there before")
    before = books()
    item = [bytes(10_000), Refuses(error)]
    with pytest.raises(type(error)) as caught:
        getattr(queue, put)([item] if put == "put_many" else item)
    assert caught.value is error
    caught.value.__traceback__ = None
    del caught
    assert books() == before
    assert queue.get_many(10) == ["there before"]
    assert queue.statistics().unfinished == 1


@pytest.mark.parametrize(
    "make", [threading.Lock, lambda: (n for n in "abc"), threading.current_thread]
)
def test_what_no_pickler_takes_is_refused_at_the_put(
    queue: treadle.Queue, make: Callable[[], Any]
) -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        queue.put(("named", make()))
    assert queue.empty()


def test_a_full_queue_does_not_hide_the_error_of_pickling() -> None:
    queue = treadle.Queue(1)
    queue.put(1)
    with pytest.raises(ValueError, match="mine"):
        queue.put_nowait(Refuses(ValueError("mine")))
    with pytest.raises(ValueError, match="mine"):
        queue.put(Refuses(ValueError("mine")))


def test_an_item_that_found_no_room_leaves_no_memory_behind() -> None:
    queue = treadle.Queue(1)
    queue.put(1)
    before = books()
    for put in (queue.put_nowait, lambda item: queue.put_many([item], timeout=0)):
        with pytest.raises(treadle.Full):
            put(bytes(100_000))
    queue.shutdown()
    with pytest.raises(treadle.ShutDown):
        queue.put(bytes(100_000))
    assert books() == before


# ---- On the way out


@pytest.mark.parametrize("size", [0, 100_000])
def test_an_item_that_cannot_be_rebuilt_is_lost_alone(queue: treadle.Queue, size: int) -> None:
    queue.put_many(["before", Breaks(ValueError("broken"), size), "after"])
    before = books()
    assert queue.get() == "before"
    with pytest.raises(treadle.ItemError):
        queue.get()
    assert queue.get() == "after"
    assert queue.empty()
    assert books()[1] <= before[1]


def test_the_error_tells_item_origin_and_cause(start: Start) -> None:
    queue = treadle.Queue(label="jobs")
    worker = start("fork", queue.put, Breaks(ZeroDivisionError("broken")))
    with pytest.raises(treadle.ItemError) as caught:
        queue.get()
    assert re.search(rf"\bpid {worker.pid}\b", str(caught.value))
    assert worker.pid != os.getpid()
    assert "'jobs'" in str(caught.value)
    assert "ZeroDivisionError: broken" in str(caught.value)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert isinstance(caught.value, treadle.TreadleError)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PROCESSES[1:])
def test_a_class_that_the_receiver_does_not_have_is_such_an_error(start: Start, kind: str) -> None:
    there, back = treadle.Queue(), treadle.Queue()
    worker = start(kind, report_errors, there, back)
    there.put("fine")
    there.put(known_here_only)
    there.put("fine again")
    there.shutdown()
    assert back.get() == "fine"
    error, cause, pid = back.get()
    assert (error, cause) == ("ItemError", "AttributeError")
    assert pid == os.getpid()
    assert back.get() == "fine again"
    worker.join()


class Named:
    """Pickled as the name of a global variable."""

    def __reduce__(self) -> str:
        return "known_here_only"


known_here_only = Named()


def report_errors(there: treadle.Queue, back: treadle.Queue) -> None:
    del globals()["known_here_only"]
    while True:
        try:
            back.put(there.get())
        except treadle.ItemError as error:
            pid = re.search(r"\bpid (\d+)\b", str(error))
            assert pid is not None
            back.put((type(error).__name__, type(error.__cause__).__name__, int(pid[1])))
        except treadle.ShutDown:
            return


@pytest.mark.parametrize("broken_one", [0, 5, 9])
def test_of_a_batch_only_the_broken_item_is_lost(queue: treadle.Queue, broken_one: int) -> None:
    items: list[Any] = list(range(10))
    items[broken_one] = Breaks(ValueError("broken"))
    queue.put_many(items)
    batches: list[Any] = []
    while True:
        try:
            batches.append(queue.get_many(100, timeout=0))
        except treadle.ItemError:
            batches.append("broken")
        except treadle.Empty:
            break
    before, behind = list(range(broken_one)), list(range(broken_one + 1, 10))
    assert batches == [batch for batch in (before, "broken", behind) if batch]


class Interrupts:
    """Once armed, its rebuilding is interrupted, as by Ctrl-C."""

    armed = False

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Interrupts) and other.name == self.name

    def __setstate__(self, state: dict[str, str]) -> None:
        if Interrupts.armed:
            Interrupts.armed = False
            raise KeyboardInterrupt
        self.__dict__.update(state)

    def __hash__(self) -> int:
        return hash(self.name)


Take = Callable[[treadle.Queue], list[Any]]


@pytest.mark.parametrize("size", [1, 100_000], ids=["frame", "message"])
@pytest.mark.parametrize(
    "take",
    [
        lambda q: [q.get()],
        lambda q: [q.get(copy=False)],
        lambda q: q.get_many(2),
        lambda q: [next(q)],
    ],
    ids=["get", "get without a copy", "get_many", "iteration"],
)
def test_an_item_whose_rebuilding_is_interrupted_comes_with_the_next_get(
    queue: treadle.Queue, take: Take, size: int
) -> None:
    items = [Interrupts(str(n) * size) for n in range(3)]
    queue.put_many(items)
    Interrupts.armed = True
    with pytest.raises(KeyboardInterrupt):
        take(queue)
    got: list[Any] = []
    while len(got) < 3:
        got += take(queue)
    assert got == items
    assert queue.empty()


def test_a_batch_interrupted_at_its_end_is_kept_as_a_whole(queue: treadle.Queue) -> None:
    items = [1, "two", Interrupts("three"), (4,), Interrupts("five")]
    queue.put_many(items)
    Interrupts.armed = True
    with pytest.raises(KeyboardInterrupt):
        queue.get_many(10)
    assert queue.qsize() == 0
    assert queue.get_many(2) == [1, "two"]
    Interrupts.armed = True
    with pytest.raises(KeyboardInterrupt):
        queue.get_many(2)
    assert queue.get() == Interrupts("three")
    assert queue.get_many(10) == items[3:]
    queue.put("new")
    assert queue.get() == "new"


def test_an_item_interrupted_twice_is_not_lost(queue: treadle.Queue) -> None:
    queue.put_many([Interrupts("one"), "two"])
    for take in (queue.get, lambda: queue.get_many(2)):
        Interrupts.armed = True
        with pytest.raises(KeyboardInterrupt):
            take()
    assert [queue.get(), queue.get()] == [Interrupts("one"), "two"]


every_end = pytest.mark.parametrize(
    "error", [SystemExit("mine"), KeyboardInterrupt("mine"), MemoryError("mine")], ids=repr
)


@every_end
@pytest.mark.parametrize("size", [0, 100_000], ids=["frame", "message"])
def test_an_item_that_would_end_its_receiver_does_so_once(
    queue: treadle.Queue, error: BaseException, size: int
) -> None:
    """Until it raises again it might have been an interrupt; what lies behind it is not held up."""
    queue.put_many([Breaks(error, size), "next"])
    with pytest.raises(type(error), match="mine"):
        queue.get()
    with pytest.raises(treadle.ItemError) as caught:
        queue.get()
    assert isinstance(caught.value.__cause__, type(error))
    assert queue.get() == "next"
    assert queue.empty()


@every_end
def test_an_item_that_would_end_its_receiver_does_so_once_in_a_batch(
    queue: treadle.Queue, error: BaseException
) -> None:
    queue.put_many([1, Breaks(error), 2])
    with pytest.raises(type(error), match="mine"):
        queue.get_many(10)
    assert queue.get_many(10) == [1]
    with pytest.raises(treadle.ItemError):
        queue.get_many(10)
    assert queue.get_many(10) == [2]


@every_end
def test_an_item_that_would_end_its_receiver_does_so_once_on_lease(
    queue: treadle.Queue, error: BaseException
) -> None:
    queue.put_many([Breaks(error), "next"])
    with pytest.raises(type(error), match="mine"):
        queue.lease()
    assert queue.qsize() == 2
    with pytest.raises(treadle.ItemError):
        queue.lease()
    with queue.lease() as lease:
        assert (lease.item, lease.deliveries) == ("next", 1)
    assert queue.join(timeout=0)


@every_end
def test_an_item_that_would_end_its_receiver_does_so_once_for_tasks(
    queue: treadle.Queue, error: BaseException
) -> None:
    queue.put_many([Breaks(error), "next"])

    async def main() -> None:
        try:
            with pytest.raises(type(error), match="mine"):
                await queue.aio.get()
            with pytest.raises(treadle.ItemError):
                await queue.aio.get()
        except BaseException as raised:  # asyncio would have it end the loop
            raise AssertionError from raised
        assert await queue.aio.get() == "next"

    asyncio.run(main())


def test_what_was_kept_stays_in_its_process_and_goes_with_the_queue(queue: treadle.Queue) -> None:
    queue.put_many([Interrupts("old"), "new"])
    Interrupts.armed = True
    with pytest.raises(KeyboardInterrupt):
        queue.get()
    child = os.fork()
    if child == 0:
        os._exit(queue.qsize() != 1 or queue.get() != "new")
    assert os.waitpid(child, 0)[1] == 0
    queue.shutdown(immediate=True)
    with pytest.raises(treadle.ShutDown):
        queue.get()


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_of_nothing_but_broken_items_tells_so(queue: treadle.Queue, count: int) -> None:
    queue.put_many([Breaks(ValueError("broken"))] * count)
    with pytest.raises(treadle.ItemError) as caught:
        queue.get_many(10)
    assert isinstance(caught.value.__cause__, ValueError)


def test_on_lease_a_broken_item_is_gone_and_done(queue: treadle.Queue) -> None:
    """Nobody could do anything else with it: given back, it would go round for ever."""
    queue.put(Breaks(ValueError("broken"), 20_000))
    queue.put("after")
    with pytest.raises(treadle.ItemError):
        queue.lease()
    with queue.lease() as lease:
        assert (lease.item, lease.deliveries) == ("after", 1)
    assert queue.join(timeout=0)
    assert queue.statistics().leased == 0


def test_on_lease_an_interrupted_rebuilding_gives_the_item_back(queue: treadle.Queue) -> None:
    queue.put(Breaks(KeyboardInterrupt("now")))
    with pytest.raises(KeyboardInterrupt):
        queue.lease()
    assert queue.qsize() == 1
    assert queue.statistics().leased == 0


def test_an_iteration_ends_with_the_error_and_can_be_taken_up_again(queue: treadle.Queue) -> None:
    queue.put_many([1, Breaks(ValueError("broken")), 2])
    queue.shutdown()
    got = []
    with pytest.raises(treadle.ItemError):
        for item in queue:
            got.append(item)
    got += list(queue)
    assert got == [1, 2]


def test_who_waits_for_the_next_item_is_not_disturbed(
    queue: treadle.Queue, other: OtherThread
) -> None:
    queue.put(Breaks(ValueError("broken")))
    with pytest.raises(treadle.ItemError):
        queue.get()
    got = other.start(queue.get)
    queue.put("next")
    assert got.result() == "next"
