"""Threads and processes together on the same objects, counting to an exact total."""

import os
import threading
from collections import Counter
from typing import Any

import pytest

import treadle
from tests.stress import family, fresh

pytestmark = pytest.mark.slow

_PROCESSES, _THREADS, _ROUNDS = 4, 4, 1500


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition"])
def test_a_lock_lets_in_one_at_a_time(kind: str) -> None:
    fresh.run(count_under, kind)


def count_under(kind: str) -> None:
    lock = getattr(treadle, kind)()
    words = family.Words(2)

    def count() -> None:
        for _ in range(_ROUNDS):
            with lock:
                value = words[0]
                if value % 50 == 0:
                    os.sched_yield()  # long enough for others to come and wait
                words[0] = value + 1

    _everywhere(count)
    assert words[0] == _PROCESSES * _THREADS * _ROUNDS


def test_readers_see_whole_changes() -> None:
    fresh.run(read_and_write)


def read_and_write() -> None:
    lock, words = treadle.RWLock(), family.Words(2)

    def visit() -> None:
        for number in range(_ROUNDS // 3):
            if number % 4 == 0:
                with lock.write():
                    words[0] += 1
                    if number % 16 == 0:
                        os.sched_yield()  # long enough for others to come and wait
                    words[1] += 1
            else:
                with lock.read():
                    first = words[0]
                    with lock.read():
                        os.sched_yield()
                    assert words[1] == first

    _everywhere(visit)
    changes = _PROCESSES * _THREADS * len(range(0, _ROUNDS // 3, 4))
    assert list(words) == [changes, changes]
    assert lock.readers == 0


def test_a_latch_opens_when_all_have_counted_down() -> None:
    fresh.run(count_down_and_wait)


def count_down_and_wait() -> None:
    parties = _PROCESSES * _THREADS
    latches, words = [treadle.Latch(parties) for _ in range(50)], family.Words(parties)
    books, arrivals = treadle.Lock(), treadle.Semaphore(0)

    def go_through() -> None:
        with books:
            place = arrivals.get_value()
            arrivals.release()
        for number, latch in enumerate(latches, 1):
            words[place] = number
            latch.count_down()
            assert latch.wait() is True
            assert all(word >= number for word in words)

    _everywhere(go_through)
    assert [latch.count for latch in latches] == [0] * 50


def test_a_semaphore_lets_in_as_many_as_it_has_permits() -> None:
    fresh.run(count_insiders)


def count_insiders() -> None:
    permits, books, words = treadle.BoundedSemaphore(3), treadle.Lock(), family.Words(3)

    def visit() -> None:
        for _ in range(_ROUNDS // 3):
            with permits:
                with books:
                    words[0] += 1
                    words[1] = max(words[1], words[0])
                os.sched_yield()
                with books:
                    words[0] -= 1
                    words[2] += 1

    _everywhere(visit)
    inside, most, visits = words
    assert (inside, visits) == (0, _PROCESSES * _THREADS * (_ROUNDS // 3))
    assert 1 < most <= 3
    assert permits.get_value() == 3


@pytest.mark.parametrize("maxsize", [0, 1, 7])
def test_a_queue_delivers_each_item_once(maxsize: int) -> None:
    fresh.run(pass_items, maxsize)


def pass_items(maxsize: int) -> None:
    queue, results = treadle.Queue(maxsize), treadle.Queue()

    def produce(first: int) -> None:
        for number in range(first, first + 400):
            queue.put((number, b"x" * (number % 3 * 6000)))

    def consume() -> None:
        numbers = []
        for number, data in queue:
            assert len(data) == number % 3 * 6000
            numbers.append(number)
        results.put(numbers)

    consumers = [family.fork(_in_threads, consume) for _ in range(2)]
    producers = [family.fork(_in_threads, produce, 10_000 * n) for n in range(2)]
    family.join(producers)
    queue.shutdown()
    family.join(consumers)
    got = Counter[int]()
    for _ in range(2 * _THREADS):
        got.update(results.get_nowait())
    assert got == Counter(
        number
        for n in range(2)
        for thread in range(_THREADS)
        for number in range(10_000 * n + 1000 * thread, 10_000 * n + 1000 * thread + 400)
    )


def test_rounds_of_a_barrier_have_one_leader_each() -> None:
    fresh.run(go_round_the_barrier)


def go_round_the_barrier() -> None:
    barrier = treadle.Barrier(_PROCESSES * _THREADS)
    lock, words = treadle.Lock(), family.Words(50)

    def go_round() -> None:
        for number in range(50):
            place = barrier.wait()
            with lock:
                words[number] += place

    _everywhere(go_round)
    parties = _PROCESSES * _THREADS
    assert list(words) == [parties * (parties - 1) // 2] * 50


def _everywhere(work: Any) -> None:
    """Does the work in each of some threads of each of some processes, one of which is this."""
    children = [family.fork(_in_threads, work) for _ in range(_PROCESSES - 1)]
    _in_threads(work)
    family.join(children)


def _in_threads(work: Any, first: int | None = None) -> None:
    errors: list[BaseException] = []

    def run(thread: int) -> None:
        try:
            work() if first is None else work(first + 1000 * thread)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
