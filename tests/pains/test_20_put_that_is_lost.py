"""A put() whose pickling fails is lost (python/cpython#84376)."""

from __future__ import annotations

import subprocess
import threading
from typing import Any

import pytest

import treadle
from tests.pains.programs import output_of, seen_in_this_version


@pytest.mark.slow
@seen_in_this_version
def test_in_the_standard_library_the_put_goes_well_and_nothing_comes() -> None:
    said = output_of(
        """
import multiprocessing, threading
queue = multiprocessing.Queue()
queue.put(threading.Lock())
queue.put("next")
print(queue.get())
""",
        stderr=subprocess.DEVNULL,  # where another thread has printed what went wrong
    )
    assert said == "next\n"


class Stubborn:
    def __reduce__(self) -> Any:
        raise ValueError("I stay here")


@pytest.mark.parametrize(
    ("item", "error"),
    [
        (threading.Lock(), TypeError),
        ((1, [threading.Lock()]), TypeError),
        ((n for n in "abc"), TypeError),
        (Stubborn(), ValueError),
    ],
    ids=["a lock", "a lock inside", "a generator", "an error of its own"],
)
def test_treadle_raises_where_it_is_put(item: object, error: type[Exception]) -> None:
    queue = treadle.Queue()
    for put in (queue.put, queue.put_nowait, lambda item: queue.put_many(["before", item])):
        with pytest.raises(error):
            put(item)
        assert queue.empty()
        assert queue.join(timeout=0)  # no task that nobody will ever see
    queue.put("next")
    assert queue.get() == "next"
