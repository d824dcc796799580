"""How a pool ends: close, terminate, join, with, the collector; and what it says of itself."""

from __future__ import annotations

import dataclasses
import gc
import os
import pickle
import threading
import weakref
from concurrent.futures import CancelledError
from typing import Any

import pytest

import treadle
from tests.pool import tasks
from tests.pool.kinds import new_pool, thread_or_process
from tests.sync.threads import until

pytestmark = [pytest.mark.slow, thread_or_process]


def is_gone(pid: int) -> bool:
    return not os.path.exists(f"/proc/{pid}")


# ---- close, join


def test_a_closed_pool_does_what_it_was_given_before(kind: str) -> None:
    pool = new_pool(kind, 2)
    go = treadle.Event()
    waiting = pool.apply_async(tasks.wait_for, (go, 1))
    mapped = pool.map_async(tasks.square, range(1000))
    drawn = pool.imap(tasks.square, range(300), buffersize=2)  # more than is drawn so far
    pool.close()
    pool.close()
    go.set()
    assert waiting.get() == 1
    assert mapped.get() == [x * x for x in range(1000)]
    assert list(drawn) == [x * x for x in range(300)]
    pool.join()
    pool.join()
    assert pool.statistics().pids == ()


def test_a_closed_pool_takes_nothing_new(kind: str) -> None:
    pool = new_pool(kind)
    pool.close()
    _check_refuses_all(pool)
    pool.join()
    _check_refuses_all(pool)


def test_a_terminated_pool_takes_nothing_new(kind: str) -> None:
    pool = new_pool(kind)
    pool.terminate()
    _check_refuses_all(pool)
    pool.join()


def _check_refuses_all(pool: treadle.Pool) -> None:
    calls: list[Any] = [pool.apply, pool.apply_async]
    maps = [pool.map, pool.map_async, pool.starmap, pool.starmap_async]
    maps += [pool.imap, pool.imap_unordered]
    for call in calls:
        with pytest.raises(ValueError, match=r"^Pool not running$"):
            call(int)
    for each in maps:
        with pytest.raises(ValueError, match=r"^Pool not running$"):
            each(int, [])
    with pytest.raises(ValueError, match=r"^Pool not running$"), pool:
        pass


def test_a_running_pool_cannot_be_joined(kind: str) -> None:
    with new_pool(kind) as pool, pytest.raises(ValueError, match=r"^Pool is still running$"):
        pool.join()


def test_a_death_after_the_close_is_made_up_for(kind: str) -> None:
    if kind == "thread":
        pytest.skip("threads are not killed")
    pool = new_pool(kind)
    go = treadle.Event()
    results = [pool.apply_async(tasks.wait_for, (go,)) for _ in range(3)]
    dying = pool.apply_async(tasks.kill_self)
    results += [pool.apply_async(tasks.wait_for, (go,)) for _ in range(3)]
    pool.close()
    go.set()
    for result in results:
        assert result.get() is None
    with pytest.raises(treadle.WorkerDiedError):
        dying.get()
    pool.join()


# ---- terminate, with


def test_what_is_not_done_is_cancelled_by_a_terminate(kind: str) -> None:
    pool = new_pool(kind)
    began = treadle.Event()
    running = pool.apply_async(tasks.begin_and_stay, (began,))
    waiting = pool.apply_async(tasks.square, (2,))
    mapped = pool.map_async(tasks.square, range(1000))
    drawn = pool.imap(tasks.square, iter(int, 1))
    began.wait()
    pool.terminate()
    pool.terminate()
    for result in (running, waiting, mapped):
        with pytest.raises(CancelledError, match=r"Pool-\d+ was terminated"):
            result.get()
    with pytest.raises(CancelledError):
        list(drawn)
    pool.join()


def test_terminating_ends_a_chunk_amid_it(kind: str) -> None:
    begun: treadle.Queue[int] = treadle.Queue()
    pool = new_pool(kind)
    result = pool.map_async(lambda x: tasks.put_and_stay(begun, x), range(10), 10)
    begun.get()
    pool.terminate()
    with pytest.raises(CancelledError):
        result.get()
    pool.join()
    assert begun.empty()


@pytest.mark.parametrize("calls", [0, 1, 10])
def test_terminating_at_any_moment(kind: str, calls: int) -> None:
    """Before the workers have begun, or amid their beginning."""
    for _ in range(10):
        pool = new_pool(kind, 2)
        results = [pool.apply_async(tasks.begin_and_stay, (treadle.Event(),)) for _ in range(calls)]
        pool.terminate()
        for result in results:
            with pytest.raises(CancelledError):
                result.get()
        pool.join()


def test_the_end_of_a_with_terminates(kind: str) -> None:
    began = treadle.Event()
    with new_pool(kind) as pool:
        result = pool.apply_async(tasks.begin_and_stay, (began,))
        began.wait()
    with pytest.raises(CancelledError):
        result.get()
    pool.join()
    for pid in pool.statistics().pids:
        assert is_gone(pid)


def test_an_error_in_a_with_is_raised(kind: str) -> None:
    with pytest.raises(LookupError, match="mine"), new_pool(kind):
        raise LookupError("mine")


def test_terminating_a_closed_pool(kind: str) -> None:
    began = treadle.Event()
    pool = new_pool(kind)
    result = pool.apply_async(tasks.begin_and_stay, (began,))
    began.wait()
    pool.close()
    pool.terminate()
    pool.join()
    with pytest.raises(CancelledError):
        result.get()


def test_no_thread_and_no_process_is_left(kind: str) -> None:
    pool = new_pool(kind, 2)
    pids = [pid for pid in pool.statistics().pids if pid != os.getpid()]
    pool.map(tasks.square, range(10))
    pool.close()
    pool.join()
    assert all(map(is_gone, pids))
    until(lambda: not any(pool._engine.label in each.name for each in threading.enumerate()))
    until(lambda: "treadle-pool" not in {each.name for each in threading.enumerate()})


# ---- The garbage collector


def test_a_pool_that_is_dropped_ends_and_says_so(kind: str) -> None:
    pool = new_pool(kind, label="the dropped one")
    engine = pool._engine
    with pytest.warns(ResourceWarning, match="the dropped one was never closed: use 'with'"):
        del pool
        gc.collect()
    engine.over.wait()


def test_a_closed_pool_is_dropped_silently(kind: str) -> None:
    pool = new_pool(kind)
    engine = pool._engine
    pool.close()
    del pool
    gc.collect()
    engine.over.wait()


def test_results_that_are_outstanding_keep_their_pool(kind: str) -> None:
    go = treadle.Event()
    pool = new_pool(kind)
    there, engine = weakref.ref(pool), pool._engine
    result = pool.apply_async(tasks.wait_for, (go, 1))
    results = pool.imap(tasks.square, range(3))
    mapped = pool.map_async(tasks.square, range(3))
    del pool
    gc.collect()
    assert there() is not None
    with pytest.warns(ResourceWarning, match="was never closed"):
        go.set()
        assert result.get() == 1
        assert mapped.get() == [0, 1, 4]
        assert list(results) == [0, 1, 4]
        until(lambda: gc.collect() >= 0 and there() is None)
        engine.over.wait()


def test_what_was_sent_is_let_go(kind: str) -> None:
    with new_pool(kind) as pool:
        thing = set[int]()
        there = weakref.ref(thing)
        assert pool.apply(len, (thing,)) == 0
        assert pool.map(len, [thing]) == [0]
        assert list(pool.imap(len, [thing])) == [0]
        del thing
        until(lambda: gc.collect() >= 0 and there() is None)


# ---- What it says of itself


def test_its_repr(kind: str) -> None:
    with new_pool(kind, 2, label="mine") as pool:
        name = "thread" if kind == "thread" else "process"
        assert repr(pool) == f"<treadle.Pool 'mine': 2 {name} workers, running>"
        pool.close()
        assert repr(pool).endswith("workers, closed>")
        pool.terminate()
        assert repr(pool).endswith("workers, terminated>")
    pool.join()


def test_its_statistics(kind: str) -> None:
    began, go = treadle.Event(), treadle.Event()
    with new_pool(kind, 2, label="mine") as pool:
        pool.map(tasks.square, range(10))
        with pytest.raises(LookupError):
            pool.apply(tasks.fail)
        waiting = pool.apply_async(tasks.begin_and_wait, (began, go))
        began.wait()
        figures = pool.statistics()
        assert dataclasses.is_dataclass(figures)
        assert (figures.label, figures.workers, figures.busy) == ("mine", 2, 1)
        assert (figures.submitted, figures.finished, figures.failed) == (12, 10, 1)
        assert (figures.retried, figures.deaths) == (0, 0)
        assert len(figures.pids) == 2
        go.set()
        waiting.get()
        until(lambda: pool.statistics().busy == 0)
        assert pool.statistics().finished == 11
    pool.join()


def test_a_pool_cannot_be_sent(kind: str) -> None:
    with (
        new_pool(kind) as pool,
        pytest.raises(NotImplementedError, match=r"cannot be passed between processes.*make a"),
    ):
        pickle.dumps(pool)
