"""A pool that cannot start leaves nothing behind."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import threading
import weakref
from concurrent.futures import BrokenExecutor

import pytest

import treadle


def test_a_pool_that_gets_no_thread_leaves_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "treadle-pool":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    before = set(multiprocessing.active_children())
    with pytest.raises(RuntimeError, match="can't start new thread"):
        treadle.Pool(2, start_method="fork")
    assert set(multiprocessing.active_children()) == before


@pytest.mark.parametrize("most", [0, -1, 0.5, 1.5, "12"])
def test_max_tasks_per_worker_is_a_whole_number_from_1_on(most: object) -> None:
    with pytest.raises(ValueError, match="max_tasks_per_worker must be a whole number from 1 on"):
        treadle.Pool(1, kind="thread", max_tasks_per_worker=most)  # type: ignore[arg-type]


class Argument:
    """Something that can be referred to weakly."""


def use(_: Argument) -> None:
    """An initializer."""


def fail(_: Argument) -> None:
    raise ValueError("in the initializer")


@pytest.mark.parametrize("initializer", [use, fail])
def test_what_the_initializer_was_given_lives_no_longer_than_the_pool(initializer: object) -> None:
    argument = Argument()
    there = weakref.ref(argument)
    gc.disable()
    try:
        executor = treadle.Executor(
            1, start_method="fork", initializer=initializer, initargs=(argument,)
        )
        with contextlib.suppress(BrokenExecutor):
            executor.submit(int).result()
        executor.shutdown()
        del argument, executor
        assert there() is None
    finally:
        gc.enable()
