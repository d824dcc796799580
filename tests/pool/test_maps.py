"""Pool.map, starmap and their asynchronous forms: order, errors, chunks, and what is sent when."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest

import treadle
from tests.pool import tasks
from tests.pool.kinds import over

pytestmark = [pytest.mark.slow, over("thread", "fork")]

CHUNKSIZES = (None, 1, 7, 1000)


@pytest.mark.parametrize("chunksize", CHUNKSIZES)
@pytest.mark.parametrize("count", [0, 1, 2, 99, 1000])
def test_map_gives_the_values_in_order(
    pool: treadle.Pool, count: int, chunksize: int | None
) -> None:
    values = [x * x for x in range(count)]
    assert pool.map(tasks.square, range(count), chunksize) == values
    assert pool.map_async(tasks.square, range(count), chunksize).get() == values


@pytest.mark.parametrize("chunksize", CHUNKSIZES)
def test_starmap_unpacks_its_items(pool: treadle.Pool, chunksize: int | None) -> None:
    pairs = [(x, y) for x in range(1, 8) for y in range(1, 8)]
    values = [divmod(*pair) for pair in pairs]
    assert pool.starmap(divmod, pairs, chunksize) == values
    assert pool.starmap_async(divmod, map(list, pairs), chunksize).get() == values
    assert pool.starmap(math.prod, [([2, 3],), iter([(4, 5)])], chunksize) == [6, 20]


@pytest.mark.parametrize("make", [list, tuple, iter, set, lambda items: (each for each in items)])
def test_any_iterable_will_do(pool: treadle.Pool, make: Any) -> None:
    assert sorted(pool.map(abs, make([-3, 1, -2]))) == [1, 2, 3]


def test_items_may_be_anything(pool: treadle.Pool) -> None:
    items = [None, True, 1, 1.5, "text", b"bytes", (1, 2), [3], {"a": 4}, {5}, 1 << 100, len]
    assert pool.map(lambda item: (item, type(item)), items, 3) == [(x, type(x)) for x in items]


def test_more_items_than_are_sent_at_once(pool: treadle.Pool) -> None:
    assert pool.map(abs, range(100_000)) == list(range(100_000))


# ---- Errors


@pytest.mark.parametrize("chunksize", CHUNKSIZES)
def test_an_error_is_raised_when_all_is_done(pool: treadle.Pool, chunksize: int | None) -> None:
    done: treadle.Queue[int] = treadle.Queue()

    def note_unless_bad(x: int) -> int:
        done.put(x)
        if x == 3:
            raise ValueError(f"{x} is bad")
        return x

    with pytest.raises(ValueError, match="3 is bad"):
        pool.map(note_unless_bad, range(20), chunksize)
    assert sorted(done.get_many(100)) == list(range(20))  # each once


def test_every_item_may_fail(pool: treadle.Pool) -> None:
    with pytest.raises(LookupError):
        pool.map(tasks.fail, range(100))
    assert pool.map(tasks.square, range(3)) == [0, 1, 4]


def test_an_input_that_raises_raises_at_once(pool: treadle.Pool) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    for method in (pool.map, pool.map_async):
        with pytest.raises(LookupError, match="no more"):
            method(abs, items())
    with pytest.raises(TypeError):
        pool.starmap(abs, [1, 2])  # not tuples of arguments
    with pytest.raises(TypeError):
        pool.map(abs, 5)


def test_a_chunksize_must_be_positive(pool: treadle.Pool) -> None:
    for method in (pool.map, pool.map_async, pool.imap, pool.imap_unordered):
        with pytest.raises(ValueError, match="chunksize must be 1 or more, not 0"):
            method(abs, [1], 0)


# ---- MapResult


def test_a_map_result_is_ready_when_all_is_done(pool: treadle.Pool) -> None:
    began, go = treadle.Event(), treadle.Event()
    result = pool.starmap_async(tasks.begin_and_wait, [(began, go, 1), (began, go, 2)], 1)
    began.wait()
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(TimeoutError):
        result.get(timeout=0.001)
    go.set()
    assert result.get() == [1, 2]
    assert result.ready()
    assert result.successful()


def test_a_failed_map_is_not_successful(pool: treadle.Pool) -> None:
    result = pool.map_async(tasks.positive_square, [1, -1, 2])
    result.wait()
    assert not result.successful()


def test_callbacks_of_a_map(pool: treadle.Pool) -> None:
    called: treadle.Queue[Any] = treadle.Queue(shared=False)
    pool.map_async(tasks.square, range(4), 2, called.put, called.shutdown)
    assert called.get() == [0, 1, 4, 9]
    pool.map_async(tasks.positive_square, [1, -1], 2, called.shutdown, called.put)
    assert isinstance(called.get(), ValueError)
    pool.map_async(tasks.square, [], callback=called.put)
    assert called.get() == []
    pool.starmap_async(pow, [(2, 3)], callback=called.put)
    assert called.get() == [8]


def test_several_maps_at_once(pool: treadle.Pool) -> None:
    results = [pool.map_async(tasks.square, range(n)) for n in range(100)]
    assert [result.get() for result in results] == [[x * x for x in range(n)] for n in range(100)]


def test_a_call_need_not_wait_for_a_long_map(pool: treadle.Pool) -> None:
    """A map sends no more than keeps the workers busy; so what comes later is taken amid it."""
    go, done = treadle.Event(), treadle.Queue()

    def wait_and_note(x: int) -> None:
        go.wait()
        done.put(x)

    result = pool.map_async(wait_and_note, range(1000), 1)
    amid = pool.apply_async(done.put, (-1,))
    go.set()
    amid.get()
    result.get()
    assert list(done.get_many(1001)).index(-1) < 500


# ---- Chunks


def chunks_of(pool: treadle.Pool, chunksize: int | None, count: int) -> list[int]:
    """The lengths of the runs of items that a worker's thread took one after the other."""
    begun: treadle.Queue[tuple[int, int]] = treadle.Queue()
    worker = treadle.current_worker

    def note(x: int) -> None:
        begun.put((worker().index, x))

    pool.map(note, range(count), chunksize)
    by_item = {x: index for index, x in begun.get_many(count)}
    runs = itertools.groupby(range(count), by_item.__getitem__)
    return [len(list(run)) for _, run in runs]


def test_the_items_of_a_chunk_are_done_by_one_worker(pool: treadle.Pool) -> None:
    assert all(run % 5 == 0 for run in chunks_of(pool, 5, 40))


def test_without_a_chunksize_short_tasks_come_in_chunks(pool: treadle.Pool) -> None:
    assert max(chunks_of(pool, None, 2000)) > 1


def test_long_tasks_are_spread_however_many_were_short(pool: treadle.Pool) -> None:
    """A chunk measured by short tasks must not hold the long ones up that wait for each other."""
    barrier = treadle.Barrier(2)

    def meet_at_the_end(x: int) -> int:
        if x >= 1998:
            barrier.wait()
        return treadle.current_worker().index

    assert sorted(pool.map(meet_at_the_end, range(2000))[-2:]) == [0, 1]
