"""Many objects: one after the other, all at once, and as many as the arena takes."""

import gc
import os
import time
from collections.abc import Callable

import pytest

import treadle
from tests.stress import family, fresh

pytestmark = pytest.mark.slow

_MAKERS: dict[str, Callable[[], object]] = {
    "lock": treadle.Lock,
    "rlock": treadle.RLock,
    "rwlock": treadle.RWLock,
    "semaphore": treadle.Semaphore,
    "bounded semaphore": treadle.BoundedSemaphore,
    "event": treadle.Event,
    "latch": lambda: treadle.Latch(3),
    "condition": treadle.Condition,
    "barrier": lambda: treadle.Barrier(100),
    "queue": treadle.Queue,
    "filled queue": lambda: _filled_queue(3),
    "queue with messages": lambda: _filled_queue(20_000),
    "queue with a lease": lambda: _leased_queue(),
}


def _filled_queue(size: int) -> treadle.Queue:
    queue = treadle.Queue()
    queue.put_many([b"x" * size] * 8)
    queue.get()
    return queue


def _leased_queue() -> object:
    queue = _filled_queue(3)
    return queue, queue.lease()


def test_a_million_locks_made_and_dropped_leave_no_growth() -> None:
    fresh.run(make_and_drop, "lock", 1_000_000)


@pytest.mark.parametrize("kind", [kind for kind in _MAKERS if kind != "lock"])
def test_objects_made_and_dropped_leave_no_growth(kind: str) -> None:
    fresh.run(make_and_drop, kind, 20_000)


def make_and_drop(kind: str, times: int) -> None:
    make = _MAKERS[kind]
    for _ in range(2_000):
        make()
    arena, resident = treadle.arena_statistics(), family.resident_bytes()
    for _ in range(times):
        make()
    assert treadle.arena_statistics() == arena
    assert family.resident_bytes() - resident < 1 << 20


def test_a_hundred_thousand_objects_at_once_are_given_back() -> None:
    fresh.run(hoard_and_drop)


def hoard_and_drop() -> None:
    first = treadle.Lock()
    before = treadle.arena_statistics()
    hoard = [treadle.Lock() for _ in range(100_000)]
    full = treadle.arena_statistics()
    # 128 bytes each, and 4 for the reference of this process.
    assert full.blocks - before.blocks >= 100_000
    assert full.used - before.used < 100_000 * 133 + (1 << 20)
    del hoard
    gc.collect()
    after = treadle.arena_statistics()
    table = 100_000 * 4 // 4032 + 1  # the table of references stays as long as it was
    assert after.blocks <= before.blocks + table
    assert after.used - before.used <= table * 4096 + (1 << 20)
    with first:
        pass


def test_operations_do_not_slow_down_with_a_hundred_thousand_live_objects() -> None:
    fresh.run(compare_alone_and_in_a_crowd)


def compare_alone_and_in_a_crowd() -> None:
    # CPU time, so that other work of the machine counts little; and a factor that no noise reaches,
    # but whatever looks at each object does at once: by a thousand times and more.
    alone = _costs()
    hoard = [treadle.Lock() for _ in range(100_000)]
    crowded = _costs()
    del hoard
    for name, cost in crowded.items():
        print(f"{name}: {alone[name] * 1e6:.2f} us alone, {cost * 1e6:.2f} us in a crowd")
    assert all(cost < 25 * alone[name] for name, cost in crowded.items())


def _costs() -> dict[str, float]:
    """CPU seconds of one operation each."""
    lock, event, queue = treadle.Lock(), treadle.Event(), treadle.Queue()
    semaphore, condition = treadle.BoundedSemaphore(4), treadle.Condition()

    def exchange(size: int) -> None:
        queue.put(b"x" * size)
        queue.get()

    def lease() -> None:
        queue.put(0)
        queue.lease().ack()

    def notify() -> None:
        with condition:
            condition.notify()

    operations: dict[str, Callable[[], object]] = {
        "make a lock": treadle.Lock,
        "make a queue": treadle.Queue,
        "acquire a lock": lambda: lock.acquire() and lock.release(),
        "set an event": lambda: event.set() or event.clear(),
        "acquire a permit": lambda: semaphore.acquire() and semaphore.release(),
        "notify a condition": notify,
        "pass an item": lambda: exchange(10),
        "pass a message": lambda: exchange(10_000),
        "lease an item": lease,
        "statistics": lambda: (lock.statistics(), queue.statistics()),
    }
    return {name: _cost(operation) for name, operation in operations.items()}


def _cost(operation: Callable[[], object]) -> float:
    rounds = []
    for _ in range(5):
        began = time.thread_time()
        for _ in range(500):
            operation()
        rounds.append((time.thread_time() - began) / 500)
    return sorted(rounds)[2]


def test_a_full_arena_refuses_and_recovers() -> None:
    fresh.run(fill_with_objects)


def fill_with_objects() -> None:
    limit = 4 << 20
    treadle.set_arena_limit(limit)
    before = None
    for _ in range(3):
        hoard = []
        with pytest.raises(treadle.ArenaFullError):
            while True:
                hoard.append(treadle.Lock())
        assert treadle.arena_statistics().backed <= limit
        # What is there goes on working, what is new is refused, each time anew.
        with hoard[0], hoard[-1]:
            for make in _MAKERS.values():
                with pytest.raises(treadle.ArenaFullError):
                    _ = [make() for _ in range(1000)]
        full = len(hoard)
        assert before is None or abs(full - before) <= 1024
        before = full
        del hoard
        gc.collect()
    treadle.Barrier(1000)


def test_processes_that_fill_the_arena_together_lose_nothing() -> None:
    fresh.run(fill_with_items)


_PUTTERS = 4


def fill_with_items() -> None:
    limit = 16 << 20
    treadle.set_arena_limit(limit)
    queue, again, refused = treadle.Queue(), treadle.Event(), treadle.Semaphore(0)
    accepted = family.Words(_PUTTERS)
    putters = [
        family.fork(_put_until_full, queue, again, refused, accepted, n) for n in range(_PUTTERS)
    ]
    for _ in range(_PUTTERS):
        refused.acquire()
    # All of them have met the limit.
    assert treadle.arena_statistics().backed <= limit
    seen = [0] * _PUTTERS
    _take_all(queue, seen)
    assert seen == list(accepted)
    assert sum(seen) > 50
    again.set()
    last = 0
    while last < _PUTTERS:
        number, index, _ = queue.get()
        if number == "end":
            last += 1
        else:
            seen[number] += 1
            assert index == seen[number]
    family.join(putters)
    assert seen == list(accepted)
    treadle.sweep()
    assert queue.empty()


def _put_until_full(
    queue: treadle.Queue,
    again: treadle.Event,
    refused: treadle.Semaphore,
    accepted: family.Words,
    number: int,
) -> None:
    sizes = (100, 5000, 70_000, 400_000)

    def put() -> None:
        index = accepted[number] + 1
        queue.put((number, index, bytes([index % 256]) * sizes[index % 4]))
        accepted[number] = index

    with pytest.raises(treadle.ArenaFullError):
        while True:
            put()
    # What did not fit says nothing about what does.
    for _ in range(10):
        try:
            put()
        except treadle.ArenaFullError:
            continue
    refused.release()
    again.wait()
    count = 0
    while count < 50:
        try:
            put()
            count += 1
        except treadle.ArenaFullError:
            os.sched_yield()
    while True:
        try:
            return queue.put(("end", 0, b""))
        except treadle.ArenaFullError:
            os.sched_yield()


def _take_all(queue: treadle.Queue, seen: list[int]) -> None:
    while True:
        try:
            number, index, data = queue.get(block=False)
        except treadle.Empty:
            return
        seen[number] += 1
        assert index == seen[number]
        assert data == bytes([index % 256]) * len(data)
