"""What happens at the arena's limit: each of these functions runs in a program of its own."""

from __future__ import annotations

import copy
import gc
import os
import random
import resource
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

import treadle
from tests.queue.workers import raised_by

LIMIT = 8 << 20

PROGRAMS: dict[str, Callable[[], None]] = {}


def program(function: Callable[[], None]) -> Callable[[], None]:
    """A function that begins under the limit, with a queue's worth of memory in use."""

    def run() -> None:
        treadle.set_arena_limit(LIMIT)
        treadle.Queue().put(1)
        function()

    PROGRAMS[function.__name__] = run
    run.__qualname__ = run.__name__ = function.__name__
    return run


def refused(call: Callable[..., Any], *arguments: Any) -> bool:
    """Whether there was no room for it."""
    try:
        call(*arguments)
    except treadle.ArenaFullError as error:
        assert isinstance(error, MemoryError) and isinstance(error, treadle.TreadleError)
        assert "limit" in str(error) or "no memory left" in str(error)
        return True
    return False


def fill(queue: treadle.Queue, size: int) -> int:
    """Put numbered items of that size until there is no room; returns how many."""
    count = 0
    while not refused(queue.put, count.to_bytes(4, "little") * (size // 4)):
        count += 1
    return count


def empty(queue: treadle.Queue, size: int, count: int, first: int = 0) -> None:
    """Get what `fill` has put, and see that nothing has happened to it."""
    for number in range(first, count):
        assert queue.get_nowait() == number.to_bytes(4, "little") * (size // 4)
    assert queue.empty()


def exhaust(lock: treadle.Lock) -> list[Any]:
    """Take all memory there is, down to the smallest block, in objects that are returned."""
    kept: list[Any] = []
    for parties in (100_000, 3000, 1500, 700, 300, 150, 70, 30, 10, 1):
        while not refused(lambda: kept.append(treadle.Barrier(parties))):  # noqa: B023
            pass
    while not refused(lambda: kept.append(treadle.Lock())):
        pass
    # Another handle of what there is needs no block, but a place in a table.
    while not refused(lambda: kept.append(copy.copy(lock))):
        pass
    return kept


# ---- The queue


@program
def what_was_put_before_is_got_after() -> None:
    for size in (100, 5000, 9000, 200_000):
        queue = treadle.Queue()
        counts = set()
        for _ in range(3):
            counts.add(count := fill(queue, size))
            assert queue.qsize() == count > LIMIT // (2 * size) - 2
            figures = treadle.arena_statistics()
            assert figures.used <= figures.backed <= figures.limit == LIMIT
            empty(queue, size, count)
        assert max(counts) - min(counts) <= 1 + max(counts) // 50


@program
def one_item_less_is_room_for_one_more() -> None:
    for size in (100_000, 9000):
        queue = treadle.Queue()
        count = fill(queue, size)
        for number in range(count):
            assert queue.get(copy=False)[:4] == number.to_bytes(4, "little")
            queue.put((count + number).to_bytes(4, "little") * (size // 4))
        empty(queue, size, 2 * count, first=count)


@program
def an_item_larger_than_the_limit_is_refused_at_once_and_nothing_has_happened() -> None:
    queue = treadle.Queue()
    queue.put("before")
    blocks = treadle.arena_statistics().blocks
    for item in (bytes(LIMIT), [bytes(3 * LIMIT)], np.zeros(2 * LIMIT), "x" * (LIMIT + 1)):
        assert refused(queue.put, item)
        assert refused(queue.put_many, ["never put", item])
        assert refused(queue.put_nowait, item)
    assert treadle.arena_statistics().blocks == blocks
    queue.put(bytes(LIMIT // 2))
    assert queue.get_many(5) == ["before", bytes(LIMIT // 2)]


@program
def a_batch_goes_in_as_far_as_it_fits() -> None:
    queue = treadle.Queue()
    assert refused(queue.put_many, [(n, "x" * 1000) for n in range(100_000)])
    items = queue.get_many(100_000)
    assert [n for n, _ in items] == list(range(len(items)))
    assert len(items) > 1000


@program
def backpressure_is_not_mistaken_for_a_shortage() -> None:
    queue = treadle.Queue(maxbytes=LIMIT // 4)
    try:
        for _ in range(10_000):
            queue.put_nowait(bytes(1000))
    except treadle.Full:
        pass
    thread = threading.Thread(target=lambda: [queue.get() for _ in range(20_000)])
    size = queue.qsize()
    thread.start()
    for _ in range(20_000 - size):
        queue.put(bytes(1000))
    thread.join()


@program
def a_full_arena_can_be_emptied_on_lease() -> None:
    """By somebody who has never had a lease before: nothing that it takes is there yet."""
    for size in (100, 5000, 9000):
        queue = treadle.Queue()
        count = fill(queue, size)
        leases = [queue.lease() for _ in range(min(count, 50))]
        for lease in leases[25:]:
            lease.nack()
        for number, lease in enumerate(leases[:25]):
            assert lease.item == number.to_bytes(4, "little") * (size // 4)
            lease.ack()
        for number in range(25, count):
            with queue.lease() as lease:
                assert lease.item == number.to_bytes(4, "little") * (size // 4)
        assert queue.empty() and queue.join(timeout=0)


@program
def an_ordered_queue_that_is_full_can_be_emptied() -> None:
    """By get and by lease; what is given back needs no memory, wherever its place is.

    (Lists are no part of the key: text and bytes would count twice.)
    """
    for kind in (treadle.PriorityQueue, treadle.LifoQueue):
        for size in (10, 5000, 9000, 200_000):
            queue: treadle.Queue = kind()
            counts = set()
            for _ in range(2):
                count = 0
                while not refused(queue.put, (count, [bytes(size)])):
                    count += 1
                counts.add(count)
                assert queue.qsize() == count > LIMIT // (2 * size + 800) - 2
                assert refused(queue.put_many, [(count, [bytes(size)])] * 3)
                left = [*range(count)] if kind is treadle.PriorityQueue else [*range(count)][::-1]
                leases = [queue.lease() for _ in range(min(count, 50))]
                assert [lease.item[0] for lease in leases] == left[: len(leases)]
                for lease in leases[::-1]:
                    lease.nack()
                for number in left[: count // 2]:
                    assert queue.get_nowait() == (number, [bytes(size)])
                    queue.task_done()
                for number in left[count // 2 :]:
                    with queue.lease() as lease:
                        assert lease.item == (number, [bytes(size)])
                assert queue.empty() and queue.join(timeout=0)
            assert max(counts) - min(counts) <= 1 + max(counts) // 20


@program
def a_batch_goes_into_an_ordered_queue_as_far_as_it_fits() -> None:
    queue = treadle.PriorityQueue()
    assert refused(queue.put_many, [(n, "x" * 1000) for n in range(100_000)])
    items = queue.get_many(100_000)
    assert [n for n, _ in items] == list(range(len(items)))
    assert len(items) > 1000


@program
def a_full_arena_can_be_emptied_by_newcomers() -> None:
    """Threads and processes that had no part in it when it became full."""
    queue = treadle.Queue()
    count = fill(queue, 100)

    def take(results: list[bytes]) -> None:
        results.append(queue.get_nowait())

    for number in range(20):
        results: list[bytes] = []
        thread = threading.Thread(target=take, args=(results,))
        thread.start()
        thread.join()
        assert results and results[0][:4] == (2 * number).to_bytes(4, "little")
        child = os.fork()
        if child == 0:
            try:
                with queue.lease() as lease:
                    wrong = lease.item[:4] != (2 * number + 1).to_bytes(4, "little")
                os._exit(wrong)
            except BaseException:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
    empty_one = queue.get_nowait()
    assert empty_one[:4] == (40).to_bytes(4, "little") and queue.qsize() > count // 2


@program
def an_item_that_cannot_be_leased_stays_where_it_is() -> None:
    queue, lock = treadle.Queue(), treadle.Lock()
    count = 60_000
    queue.put_many(range(count))
    kept = exhaust(lock)
    leases: list[treadle.Lease] = []
    while not refused(lambda: leases.append(queue.lease())):
        pass
    got = len(leases)
    assert [lease.item for lease in leases] == list(range(got))
    assert queue.qsize() == count - got
    assert queue.get() == got  # which needs no memory
    queue.task_done()
    kept.clear()
    leases.append(queue.lease())
    while leases:
        leases.pop().nack()
    for _ in range(count - 1):
        queue.lease().ack()
    assert queue.join(timeout=0)


@program
def a_view_that_cannot_be_had_stays_an_item() -> None:
    """A view takes a place in a table, for which there is no memory either."""
    queue, lock = treadle.Queue(), treadle.Lock()
    count = 0
    while not refused(queue.put, np.full(1100, count)):
        count += 1
    views = [queue.get(copy=False)]
    kept = exhaust(lock)
    while not refused(lambda: views.append(queue.get(False, copy=False))):
        kept += exhaust(lock)  # what the get has freed
    assert queue.qsize() == count - len(views) > 0
    kept.clear()
    while not queue.empty():
        views.append(queue.get(copy=False))
    assert len(views) == count
    assert all((view == number).all() for number, view in enumerate(views))


# ---- Everything else


@program
def objects_are_refused_and_can_be_made_again_later() -> None:
    types: list[Callable[[], Any]] = [
        treadle.Lock,
        treadle.RLock,
        treadle.RWLock,
        treadle.Semaphore,
        treadle.BoundedSemaphore,
        treadle.Event,
        lambda: treadle.Latch(2),
        treadle.Condition,
        lambda: treadle.Barrier(2),
        treadle.Queue,
    ]
    for make in types:
        kept: list[Any] = []
        while not refused(lambda: kept.append(make())):  # noqa: B023
            pass
        assert len(kept) > 100
        assert refused(make)
        before = len(kept)
        del kept[: before // 2]
        gc.collect()
        for _ in range(before // 2):
            kept.append(make())
        kept.clear()
        gc.collect()
    treadle.Queue().put(1)


@program
def readers_find_room_in_a_full_arena() -> None:
    """Their table grows out of the reserve: who reads may be about to free something."""
    lock = treadle.RWLock()
    kept: list[Any] = []
    for make in (treadle.Queue, treadle.RWLock, treadle.Lock):
        while not refused(lambda: kept.append(make())):  # noqa: B023
            pass
    begin, end = threading.Barrier(41), threading.Barrier(41)

    def read() -> None:
        with lock.read():
            begin.wait()
            end.wait()

    threads = [threading.Thread(target=read) for _ in range(40)]
    for thread in threads:
        thread.start()
    begin.wait()
    assert lock.readers == 40
    end.wait()
    for thread in threads:
        thread.join()
    with lock.write():
        kept.clear()


@program
def an_object_that_cannot_be_made_anew_stays_as_it_was() -> None:
    made: list[Any] = [
        treadle.Lock(label="old"),
        treadle.RLock(label="old"),
        treadle.Semaphore(3, label="old"),
        treadle.BoundedSemaphore(3, label="old"),
        treadle.Event(label="old"),
        treadle.Queue(label="old"),
        treadle.RWLock(label="old"),
    ]
    kept = exhaust(made[0])
    for thing in made:
        assert refused(thing.__init__)
        assert thing.label == "old" and thing.shared
    made[5].put("still here")
    assert made[5].get() == "still here"
    assert all(thing.acquire(timeout=0) for thing in made[:4])
    kept.clear()


@program
def a_higher_limit_lets_it_go_on() -> None:
    queue = treadle.Queue()
    count = fill(queue, 50_000)
    treadle.set_arena_limit(2 * LIMIT)
    more = fill(queue, 50_000)
    assert more > count // 2
    assert treadle.arena_statistics().limit == 2 * LIMIT
    assert queue.qsize() == count + more
    assert len(queue.get_many(count + more)) == count + more


@program
def a_limit_below_what_is_in_use_only_stops_growth() -> None:
    queue = treadle.Queue()
    queue.put_many([bytes(100_000)] * 50)
    treadle.set_arena_limit(1 << 20)
    assert refused(queue.put, bytes(1 << 20))
    assert queue.get_many(100) == [bytes(100_000)] * 50
    queue.put("small")
    assert queue.get() == "small"
    for bad in (0, -1, (1 << 20) - 1):
        try:
            treadle.set_arena_limit(bad)
        except ValueError as error:
            assert "1 MiB" in str(error)
        else:
            raise AssertionError(f"a limit of {bad} was accepted")


# ---- Several processes


@program
def what_the_dead_had_is_taken_before_anything_is_refused() -> None:
    queue = treadle.Queue()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        theirs = treadle.Queue()
        theirs.put(bytes(LIMIT // 2))
        os.write(writer, b"x")
        signal.pause()
    os.read(reader, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    count = fill(queue, 1000)
    assert count * 1000 > LIMIT * 0.8
    empty(queue, 1000, count)


@program
def a_child_that_found_no_room_is_told_so() -> None:
    queue, lock = treadle.Queue(), treadle.Lock()
    queue.put("before")
    kept = exhaust(lock)
    child = os.fork()
    if child == 0:
        try:
            for call in (queue.get, lambda: queue.put(1), treadle.Lock, lock.acquire):
                try:
                    call()
                except treadle.HandleError as error:
                    assert "the arena had no memory" in str(error)
                else:
                    raise AssertionError("it had room")
        except BaseException:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert queue.get() == "before"
    kept.clear()
    gc.collect()
    queue.put("after")
    child = os.fork()
    if child == 0:
        os._exit(queue.get() != "after")
    assert os.waitpid(child, 0)[1] == 0


@program
def processes_that_compete_for_the_last_bytes_spoil_nothing() -> None:
    children = []
    for seed in range(3):
        child = os.fork()
        if child == 0:
            try:
                compete(random.Random(seed))
            except BaseException:
                sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
                os._exit(1)
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    treadle.sweep()
    assert fill(treadle.Queue(), 100_000) * (128 << 10) > LIMIT * 0.8  # in units of 64 KiB


def compete(dice: random.Random) -> None:
    queue = treadle.Queue()
    expected: list[tuple[int, int]] = []
    refusals = 0
    for number in range(1500):
        size = dice.choice((10, 1000, 9000, 100_000, 400_000))
        if refused(queue.put, (number, bytes([number % 251]) * size)):
            refusals += 1
        else:
            expected.append((number, size))
        while expected and (dice.random() < 0.4 or len(expected) > 60):
            number, size = expected.pop(0)
            assert queue.get_nowait() == (number, bytes([number % 251]) * size)
    assert refusals > 0
    for number, size in expected:
        assert queue.get_nowait() == (number, bytes([number % 251]) * size)
    assert queue.empty()


# ---- When the system says no, or the program has got in the way


@program
def a_file_that_got_the_arena_s_descriptor_is_not_touched() -> None:
    """Daemons close all descriptors; the numbers are given out again."""
    queue = treadle.Queue()
    queue.put("before")
    os.closerange(3, 1000)
    with tempfile.TemporaryFile() as file:
        assert file.fileno() < 10
        file.write(b"precious")
        file.flush()
        assert refused(queue.put, bytes(LIMIT // 2))
        child = os.fork()
        if child == 0:
            os._exit(raised_by(queue.get) is not treadle.HandleError)
        assert os.waitpid(child, 0)[1] == 0
        queue.put("after")
        assert queue.get_many(5) == ["before", "after"]
        del queue
        assert os.fstat(file.fileno()).st_size == len(b"precious")


def no_arena_without(which: int, limit: int) -> None:
    _, hard = resource.getrlimit(which)
    resource.setrlimit(which, (limit, hard))
    for make in (treadle.Lock, treadle.Queue, treadle.Event):
        try:
            make()
        except treadle.ArenaFullError:
            pass
        else:
            raise AssertionError("it was made")
    resource.setrlimit(which, (hard, hard))
    treadle.Queue().put(1)
