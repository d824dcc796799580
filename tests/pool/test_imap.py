"""Pool.imap and imap_unordered: order, laziness, exact backpressure, errors among the results."""

from __future__ import annotations

import gc
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import treadle
from tests.pool import tasks
from tests.pool.kinds import over
from tests.sync.threads import until

pytestmark = [pytest.mark.slow, over("thread", "fork")]

each_way = pytest.mark.parametrize("way", ["imap", "imap_unordered"])
CHUNKSIZES = (None, 1, 7)


class Counted:
    """Numbers without an end, of which it tells how many were drawn."""

    def __init__(self, last: int | None = None) -> None:
        self.drawn = 0
        self.ended = threading.Event()
        self._last = last

    def __iter__(self) -> Iterator[int]:
        try:
            while self._last is None or self.drawn < self._last:
                self.drawn += 1
                yield self.drawn
        finally:
            self.ended.set()


# ---- Results


@pytest.mark.parametrize("chunksize", CHUNKSIZES)
@pytest.mark.parametrize("count", [0, 1, 200])
def test_the_results_come_in_order(pool: treadle.Pool, count: int, chunksize: int | None) -> None:
    values = [x * x for x in range(count)]
    assert list(pool.imap(tasks.square, range(count), chunksize)) == values
    assert sorted(pool.imap_unordered(tasks.square, range(count), chunksize)) == values


def test_the_results_come_in_order_though_they_are_done_in_another(pool: treadle.Pool) -> None:
    events = [treadle.Event() for _ in range(4)]

    def wait_for_the_next(n: int) -> int:
        if n % 2 == 0:
            events[n + 1].wait()
        events[n].set()
        return n

    assert list(pool.imap(wait_for_the_next, range(4))) == [0, 1, 2, 3]


def test_unordered_results_come_as_they_are_done(pool: treadle.Pool) -> None:
    go = treadle.Event()

    def first_waits(n: int) -> int:
        if n == 0:
            go.wait()
        return n

    results = pool.imap_unordered(first_waits, range(4))
    assert {next(results) for _ in range(3)} == {1, 2, 3}
    go.set()
    assert list(results) == [0]


@each_way
def test_an_iterator_stays_at_its_end(pool: treadle.Pool, way: str) -> None:
    results = getattr(pool, way)(abs, [-1])
    assert iter(results) is results
    assert next(results) == 1
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(results)
        with pytest.raises(StopIteration):
            results.next(timeout=0)


def test_next_may_be_told_how_long_to_wait(pool: treadle.Pool) -> None:
    go = treadle.Event()
    results = pool.imap(tasks.wait_for, [go])
    for timeout in (0, 0.001):
        with pytest.raises(TimeoutError, match="ask again"):
            results.next(timeout)
    go.set()
    assert results.next(timeout=60) is None


# ---- Backpressure


@each_way
@pytest.mark.parametrize("buffersize", [1, 2, 5, 64])
def test_no_more_is_drawn_than_there_is_room_for(
    pool: treadle.Pool, way: str, buffersize: int
) -> None:
    numbers = Counted()
    results = getattr(pool, way)(abs, numbers, buffersize=buffersize)
    for taken in range(3 * buffersize):
        until(lambda taken=taken: results._job.results.qsize() + taken == numbers.drawn)
        assert numbers.drawn <= taken + buffersize
        next(results)
    results.close()
    numbers.ended.wait()


@each_way
@pytest.mark.parametrize("buffersize", [1, 4])
def test_all_that_there_is_room_for_is_drawn_and_done(
    pool: treadle.Pool, way: str, buffersize: int
) -> None:
    """Before anything is taken."""
    done: treadle.Queue[int] = treadle.Queue()
    numbers = Counted()
    results = getattr(pool, way)(lambda x: tasks.note(done, x), numbers, buffersize=buffersize)
    assert sorted(done.get() for _ in range(buffersize)) == list(range(1, buffersize + 1))
    assert numbers.drawn == buffersize
    results.close()


@pytest.mark.parametrize("chunksize", [None, 3, 100])
def test_chunks_draw_no_more_either(pool: treadle.Pool, chunksize: int | None) -> None:
    numbers = Counted()
    results = pool.imap(abs, numbers, chunksize, buffersize=10)
    for taken in range(1, 50):
        assert next(results) == taken
        assert numbers.drawn <= taken + 10
    results.close()


@each_way
def test_an_endless_input_with_the_default_buffer(pool: treadle.Pool, way: str) -> None:
    numbers = Counted()
    results = getattr(pool, way)(abs, numbers)
    got = [next(results) for _ in range(1000)]
    if way == "imap":
        assert got == list(range(1, 1001))
    assert len(set(got)) == 1000
    assert numbers.drawn <= 1000 + 64
    results.close()


def test_an_input_may_wait_for_what_comes_of_the_results(pool: treadle.Pool) -> None:
    """As a crawler's does: what is found decides what is asked for next."""
    found: treadle.Queue[int] = treadle.Queue(shared=False)
    found.put(1)
    results = pool.imap_unordered(tasks.square, iter(found.get, None))
    got = []
    for value in results:
        got.append(value)
        found.put(None if value > 10 else value + 1)
    assert got == [1, 4, 25]


def test_the_results_of_one_pool_may_be_the_input_of_another_call(pool: treadle.Pool) -> None:
    squares = pool.imap(tasks.square, itertools.count(), buffersize=4)
    fourth = pool.imap(tasks.square, squares, buffersize=4)
    assert [next(fourth) for _ in range(50)] == [x**4 for x in range(50)]
    fourth.close()
    squares.close()


@pytest.mark.parametrize("buffersize", [0, -1])
def test_a_buffer_has_room(pool: treadle.Pool, buffersize: int) -> None:
    with pytest.raises(ValueError, match=f"buffersize must be 1 or more, not {buffersize}"):
        pool.imap(abs, [], buffersize=buffersize)


# ---- Errors


@each_way
@pytest.mark.parametrize("chunksize", CHUNKSIZES)
def test_an_error_comes_in_its_place_and_the_iteration_goes_on(
    pool: treadle.Pool, way: str, chunksize: int | None
) -> None:
    results = getattr(pool, way)(tasks.positive_square, [1, -2, 3, -4, 5], chunksize)
    got: list[Any] = []
    while True:
        try:
            got.append(next(results))
        except StopIteration:
            break
        except ValueError as error:
            got.append(str(error))
    expected = [1, "-2 is negative", 9, "-4 is negative", 25]
    assert got == expected if way == "imap" else sorted(map(str, got)) == sorted(map(str, expected))


def _raising_after(count: int, kind: type[BaseException]) -> Iterator[int]:
    yield from range(count)
    raise kind("the input is broken")


@each_way
@pytest.mark.parametrize("chunksize", CHUNKSIZES)
@pytest.mark.parametrize("kind", [LookupError, SystemExit])
def test_what_the_input_raises_comes_after_the_results(
    pool: treadle.Pool, way: str, chunksize: int | None, kind: type[BaseException]
) -> None:
    results = getattr(pool, way)(tasks.square, _raising_after(3, kind), chunksize)
    got = set()
    with pytest.raises(kind, match="the input is broken"):
        for _ in range(4):
            got.add(next(results))
    got.update(results)
    assert got == {0, 1, 4}


@each_way
def test_an_input_that_is_none(pool: treadle.Pool, way: str) -> None:
    results = getattr(pool, way)(abs, 5)
    with pytest.raises(TypeError, match="not iterable"):
        next(results)
    assert list(results) == []


# ---- The end


@each_way
def test_closing_draws_no_more_and_stops_what_runs(pool: treadle.Pool, way: str) -> None:
    begun: treadle.Queue[int] = treadle.Queue()
    numbers = Counted()
    results = getattr(pool, way)(lambda x: tasks.put_and_stay(begun, x), numbers)
    begun.get()
    results.close()
    results.close()
    numbers.ended.wait()
    with pytest.raises(StopIteration):
        next(results)
    assert pool.map(tasks.square, range(4)) == [0, 1, 4, 9]  # both workers are free


def test_dropping_an_iterator_closes_it(pool: treadle.Pool) -> None:
    numbers = Counted()
    results = pool.imap(abs, numbers)
    assert next(results) == 1
    del results
    gc.collect()
    numbers.ended.wait()
    assert pool.apply(abs, (-1,)) == 1


def test_breaking_out_of_a_loop_closes_the_iterator(pool: treadle.Pool) -> None:
    numbers = Counted()
    for value in pool.imap(abs, numbers):
        if value == 10:
            break
    numbers.ended.wait()
