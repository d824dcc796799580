"""Large arrays crawl through queues (joblib/joblib#1094): they are copied too often.

Copies and bytes are counted here, not seconds; those are the benchmark's.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import treadle
from tests.pains.programs import output_of, seen_in_this_version

MEGABYTES = 64
BYTES = MEGABYTES << 20
LITTLE = 1 << 20


def peak_of(call: Callable[[], Any]) -> int:
    """What Python's memory grew by at most, in bytes, during the call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def through_files() -> int:
    """How many bytes this process has read and written so far, pipes included."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"]) + int(fields["wchar"])


def in_arena(array: np.ndarray[Any, Any]) -> bool:
    """Whether the array's bytes lie in shared memory."""
    begin = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "/memfd:treadle" in line:
            low, high = (int(end, 16) for end in line.split()[0].split("-"))
            if low <= begin and begin + array.nbytes <= high:
                return True
    return False


@pytest.fixture
def array() -> np.ndarray[Any, Any]:
    return np.arange(BYTES // 8)


@pytest.mark.slow
@seen_in_this_version
def test_the_standard_library_pickles_and_pipes_every_byte() -> None:
    said = output_of(
        """
import multiprocessing, threading, tracemalloc
import numpy
from tests.pains.test_13_large_arrays import BYTES, through_files
queue = multiprocessing.SimpleQueue()
array = numpy.arange(BYTES // 8)
tracemalloc.start()
before = through_files()
reader = threading.Thread(target=queue.get)
reader.start()
queue.put(array)
reader.join()
print(tracemalloc.get_traced_memory()[1] >= BYTES, through_files() - before >= 2 * BYTES)
"""
    )
    assert said == "True True\n"


def test_putting_copies_once_into_shared_memory(array: np.ndarray[Any, Any]) -> None:
    queue = treadle.Queue()
    before, moved = treadle.arena_statistics().used, through_files()
    assert peak_of(lambda: queue.put(("an array", array))) < LITTLE
    assert BYTES <= treadle.arena_statistics().used - before < BYTES + LITTLE
    assert through_files() - moved < LITTLE


def test_getting_without_a_copy_copies_nothing(array: np.ndarray[Any, Any]) -> None:
    queue = treadle.Queue()
    queue.put(("an array", array))
    before, moved = treadle.arena_statistics().used, through_files()
    views = []
    assert peak_of(lambda: views.append(queue.get(copy=False)[1])) < LITTLE
    assert in_arena(views[0])
    assert treadle.arena_statistics().used == before
    assert through_files() - moved < LITTLE
    assert np.array_equal(views[0], array)


def test_getting_copies_once_out_of_shared_memory(array: np.ndarray[Any, Any]) -> None:
    queue = treadle.Queue()
    queue.put(("an array", array))
    before, moved, resident = treadle.arena_statistics().used, through_files(), anonymous()
    copies = []
    assert peak_of(lambda: copies.append(queue.get()[1])) < BYTES + LITTLE
    assert not in_arena(copies[0])
    assert BYTES <= anonymous() - resident < BYTES + 8 * LITTLE
    assert treadle.arena_statistics().used <= before - BYTES
    assert through_files() - moved < LITTLE
    assert np.array_equal(copies[0], array)


def anonymous() -> int:
    """The private memory of this process that is there, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no RssAnon in /proc/self/status")


def test_many_arrays_in_one_item_are_copied_no_more_often() -> None:
    arrays = {number: np.full(1 << 17, number) for number in range(MEGABYTES)}
    queue = treadle.Queue()
    before = treadle.arena_statistics().used
    assert peak_of(lambda: queue.put(arrays)) < LITTLE
    assert treadle.arena_statistics().used - before < BYTES + LITTLE
    views: list[Any] = []
    assert peak_of(lambda: views.append(queue.get(copy=False))) < LITTLE
    assert all(in_arena(views[0][number]) for number in arrays)
