"""``imap`` eats its whole input, whoever takes the results (python/cpython#101586)."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest

from tests.pains.programs import output_of, seen_in_this_version
from tests.pool import tasks
from tests.pool.kinds import new_executor, new_pool, thread_or_process

pytestmark = pytest.mark.slow


@seen_in_this_version
def test_the_standard_library_draws_all_of_it() -> None:
    said = output_of(
        """
import multiprocessing, threading
drawn_all = threading.Event()
def numbers():
    yield from range(5_000)
    drawn_all.set()
with multiprocessing.get_context("fork").Pool(1) as pool:
    results = pool.imap(abs, numbers())
    next(results)
    drawn_all.wait()
print("all of it")
"""
    )
    assert said == "all of it\n"


@thread_or_process
@pytest.mark.parametrize("way", ["imap", "imap_unordered"])
def test_with_treadle_no_more_is_drawn_than_there_is_room_for(kind: str, way: str) -> None:
    drawn = 0
    ended = threading.Event()

    def numbers() -> Iterator[int]:
        nonlocal drawn
        try:
            while True:
                drawn += 1
                yield drawn
        finally:
            ended.set()

    with new_pool(kind, 2) as pool:
        results = getattr(pool, way)(tasks.square, numbers(), buffersize=10)
        for taken in range(1, 100):
            next(results)
            assert drawn <= taken + 10
        results.close()
        ended.wait()


@thread_or_process
def test_with_treadle_an_executors_map_does_so_if_told_to(kind: str) -> None:
    numbers = itertools.count(1)
    with new_executor(kind, 2) as executor:
        results = executor.map(tasks.square, numbers, buffersize=10)
        assert [next(results) for _ in range(100)] == [x * x for x in range(1, 101)]
        results.close()
    assert next(numbers) <= 100 + 10 + 1
