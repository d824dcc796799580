"""What the workers are: initializer and state, their number, memory, CPUs, and when they go."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import treadle
from tests.pool import tasks
from tests.pool.kinds import each_kind, new_executor, new_pool, thread_or_process
from treadle._running.ends import Ends

pytestmark = pytest.mark.slow

MEGABYTE = 1 << 20


# ---- initializer, state


def load(name: str, *, times: int = 1) -> None:
    state = treadle.current_worker().state
    state.name, state.count = name * times, 0


def count(_: object = None) -> tuple[str, int, int]:
    worker = treadle.current_worker()
    worker.state.count += 1
    return worker.state.name, worker.state.count, worker.index


@each_kind
def test_a_worker_keeps_a_state_of_its_own(kind: str) -> None:
    with new_pool(kind, 2, initializer=load, initargs=["ab"]) as pool:
        counted = pool.map(count, range(200), 1)
    assert {name for name, _, _ in counted} == {"ab"}
    for worker in (0, 1):
        counts = [number for _, number, index in counted if index == worker]
        assert counts == list(range(1, len(counts) + 1))


def test_a_worker_tells_its_pool_and_its_number() -> None:
    assert treadle.current_worker() is None
    with new_pool("thread", 1, label="readers") as pool:
        worker = pool.apply(treadle.current_worker)
    assert isinstance(worker, treadle.Worker)
    assert (worker.index, worker.label) == (0, "readers")
    assert repr(worker) == "<treadle.Worker 0 of 'readers'>"
    assert treadle.current_worker() is None


@thread_or_process
def test_a_thread_that_a_task_starts_is_no_worker(kind: str) -> None:
    def ask_another_thread() -> object:
        thread = treadle.Thread(target=treadle.current_worker)
        thread.start()
        return thread.result()

    with new_pool(kind) as pool:
        assert pool.apply(ask_another_thread) is None


def test_a_worker_that_is_replaced_hands_its_number_on() -> None:
    with new_pool("fork", 1, initializer=load, initargs=["a"]) as pool:
        before = pool.apply(tasks.where)
        assert pool.apply(count)[1] == 1
        with pytest.raises(treadle.WorkerDiedError):
            pool.apply(tasks.kill_self)
        after = pool.apply(tasks.where)
        assert pool.apply(count)[1] == 1  # the state is a new one
    assert before[0] == after[0] == 0
    assert before[1] != after[1]


@thread_or_process
def test_an_initializer_may_be_a_closure(kind: str) -> None:
    name = "of the closure"
    with new_pool(kind, initializer=lambda: load(name)) as pool:
        assert pool.apply(count) == (name, 1, 0)


# ---- Initializers that fail


def _raise() -> None:
    raise LookupError("no model")


def _check_broken(pool: treadle.Pool, error: type[BaseException], told: str) -> None:
    with pytest.raises(error, match=told):
        pool.apply(tasks.square, (3,))  # which comes before the end of the pool, or after
    pool._engine.over.wait()
    for call in (pool.apply, pool.apply_async, pool.imap, pool.map):
        with pytest.raises(error, match=told):
            call(int, [])
    with pytest.raises(error, match=told), pool:
        pass
    assert "broken" in repr(pool)
    pool.terminate()
    pool.join()


@thread_or_process
def test_an_initializer_that_raises_breaks_the_pool_with_its_error(kind: str) -> None:
    _check_broken(new_pool(kind, 2, initializer=_raise), LookupError, "no model")


@pytest.mark.parametrize(
    ("initializer", "error", "told"),
    [
        (tasks.kill_self, treadle.WorkerDiedError, r"killed by SIGKILL before it was ready"),
        (lambda: os._exit(3), treadle.WorkerDiedError, r"exit code 3 before it was ready"),
        (lambda: os._exit(0), treadle.WorkerDiedError, r"exit code 0 before it was ready"),
        (lambda: exit(4), SystemExit, "4"),
        (lambda: [].pop(), IndexError, "pop from empty list"),
    ],
    ids=["killed", "_exit", "_exit 0", "exit", "error"],
)
def test_an_initializer_in_which_a_worker_ends(
    initializer: Callable[[], object], error: type[BaseException], told: str
) -> None:
    _check_broken(new_pool("fork", 2, initializer=initializer), error, told)


def test_work_that_is_outstanding_when_a_pool_breaks_fails() -> None:
    """The workers end after one task; then no new ones come up."""
    good = treadle.Event()
    good.set()

    def work_at_first() -> None:
        if not good.is_set():
            raise LookupError("no model")

    with new_pool("fork", 1, initializer=work_at_first, max_tasks_per_worker=1) as pool:
        began, go = treadle.Event(), treadle.Event()
        first = pool.apply_async(tasks.begin_and_wait, (began, go, "done"))
        began.wait()
        good.clear()
        waiting = pool.apply_async(tasks.square, (2,))
        mapped = pool.map_async(tasks.square, range(1000))
        drawn = pool.imap(tasks.square, iter(int, 1))
        go.set()
        assert first.get() == "done"
        for result in (waiting, mapped):
            with pytest.raises(LookupError, match="no model"):
                result.get()
        with pytest.raises(LookupError, match="no model"):
            list(drawn)


def test_failures_between_which_a_worker_came_up_do_not_add_up() -> None:
    starts: treadle.Queue[int] = treadle.Queue()

    def fail_every_other_time() -> None:
        starts.put(0)
        if starts.qsize() % 2:
            raise LookupError

    with new_pool("fork", initializer=fail_every_other_time, max_tasks_per_worker=1) as pool:
        assert [pool.apply(tasks.square, (x,)) for x in range(6)] == [0, 1, 4, 9, 16, 25]


def test_workers_that_are_killed_while_they_start() -> None:
    """Two in a row are no reason to give up."""
    with new_pool("fork", 2) as pool:
        for pid in pool.statistics().pids:
            os.kill(pid, signal.SIGKILL)
        assert pool.map(tasks.square, range(4)) == [0, 1, 4, 9]


@thread_or_process
def test_an_executor_with_a_broken_initializer_says_so(kind: str) -> None:
    from concurrent.futures import BrokenExecutor

    with new_executor(kind, 2, initializer=_raise) as executor:
        executor._engine.over.wait()
        with pytest.raises(BrokenExecutor, match="the workers cannot start: LookupError"):
            executor.submit(int)


@pytest.mark.parametrize("initializer", [5, "text"])
def test_an_initializer_must_be_callable(initializer: Any) -> None:
    with pytest.raises(TypeError, match="initializer must be a callable"):
        treadle.Pool(1, initializer=initializer)


def test_an_initializer_that_cannot_be_sent() -> None:
    with pytest.raises(TypeError, match="pickle"):
        new_pool("spawn", initializer=load, initargs=[threading.Lock()])


# ---- Their number


def test_by_default_there_are_as_many_as_cpus() -> None:
    with new_pool("thread", None) as pool:
        assert pool.statistics().workers == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("workers", [0, -1])
def test_there_must_be_one_at_least(workers: int) -> None:
    with pytest.raises(ValueError, match="Number of processes must be at least 1"):
        treadle.Pool(workers)
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        treadle.Executor(workers)


def test_what_kinds_there_are() -> None:
    with pytest.raises(ValueError, match="kind must be 'process' or 'thread', not 'fibre'"):
        treadle.Pool(1, kind="fibre")
    with pytest.raises(ValueError, match="threads have no start_method"):
        treadle.Pool(1, kind="thread", start_method="fork")
    with pytest.raises(ValueError, match=r"no such way|cannot find context"):
        treadle.Pool(1, start_method="no such way")


# ---- max_tasks_per_worker


@thread_or_process
@pytest.mark.parametrize("chunksize", [1, 5])
def test_a_worker_goes_after_so_many_tasks(kind: str, chunksize: int) -> None:
    def who(_: object) -> int:
        return os.getpid() if kind == "fork" else threading.get_native_id()

    with new_pool(kind, 1, max_tasks_per_worker=3) as pool:
        took = pool.map(who, range(30), chunksize)
        figures = pool.statistics()
    by_worker = [took[start : start + 3 * chunksize] for start in range(0, 30, 3 * chunksize)]
    assert all(len(set(each)) == 1 for each in by_worker)
    if kind == "fork":
        assert len(set(took)) == len(by_worker)
    assert figures.deaths == 0


def test_the_limit_of_tasks_is_a_positive_number() -> None:
    with pytest.raises(
        ValueError, match="max_tasks_per_worker must be a whole number from 1 on, not 0"
    ):
        treadle.Pool(1, max_tasks_per_worker=0)


# ---- memory_limit


def _take(size: int) -> int:
    return len(bytearray(size))


@pytest.mark.parametrize("kind", ["fork", "forkserver"])
def test_a_task_that_wants_too_much_memory_fails_with_the_figures(kind: str) -> None:
    limit = _in_use() + 100 * MEGABYTE
    with new_pool(kind, 1, memory_limit=limit) as pool:
        before = pool.apply(os.getpid)
        with pytest.raises(
            treadle.WorkerMemoryError, match=rf"_take\(\) ran out of the {limit} bytes"
        ) as caught:
            pool.apply(_take, (limit,))
        assert isinstance(caught.value, MemoryError)
        assert caught.value.limit == limit
        assert caught.value.peak > 0
        assert pool.apply(_take, (MEGABYTE,)) == MEGABYTE
        assert pool.apply(os.getpid) != before  # what it had is the system's again


def test_others_of_a_map_have_their_memory() -> None:
    limit = _in_use() + 100 * MEGABYTE
    with new_pool("fork", 1, memory_limit=limit) as pool:
        results = pool.imap(_take, [1, limit, 2, limit, 3], 5)
        got: list[Any] = []
        for _ in range(5):
            try:
                got.append(next(results))
            except treadle.WorkerMemoryError:
                got.append("too much")
    assert got == [1, "too much", 2, "too much", 3]


def test_an_argument_that_is_more_than_a_worker_may_have() -> None:
    """It is told, and is in nobody's way: no worker could ever take it."""
    limit = _in_use() + 50 * MEGABYTE
    too_much = bytearray(60 * MEGABYTE)
    with new_pool("fork", 1, memory_limit=limit) as pool:
        for _ in range(2):
            result = pool.apply_async(len, (too_much,))
            later = pool.apply_async(tasks.square, (3,))
            with pytest.raises(treadle.WorkerMemoryError, match="memory_limit") as caught:
                result.get()
            assert caught.value.limit == limit
            assert later.get() == 9
        with pytest.raises(treadle.WorkerMemoryError):
            pool.map(len, [b"", too_much, b""], 1)
        assert pool.statistics().deaths == 0


def test_threads_have_no_memory_of_their_own() -> None:
    with pytest.raises(ValueError, match="threads share their memory"):
        treadle.Pool(1, kind="thread", memory_limit=MEGABYTE)


def _in_use() -> int:
    """The data of this process, which a fork begins with."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmData:\s+(\d+) kB", status)[1]) * 1024


# ---- CPUs


@each_kind
def test_each_worker_stays_on_one_cpu_if_told_so(kind: str) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    barrier = treadle.Barrier(3)

    def which() -> tuple[int, set[int]]:
        barrier.wait()
        return treadle.current_worker().index, os.sched_getaffinity(0)

    with new_pool(kind, 3, pin=True) as pool:
        results = [pool.apply_async(which) for _ in range(3)]
        for index, stays_on in (result.get() for result in results):
            assert stays_on == {cpus[index % len(cpus)]}
    assert sorted(os.sched_getaffinity(0)) == cpus


BLAS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@pytest.mark.parametrize("kind", ["fork", "spawn"])
def test_linear_algebra_gets_its_share_of_the_cpus(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in BLAS:
        monkeypatch.delenv(name, raising=False)

    def settings() -> set[str | None]:
        return {os.environ.get(name) for name in BLAS}

    cpus = len(os.sched_getaffinity(0))
    with new_pool(kind, cpus) as pool:
        assert pool.apply(settings) == {"1"}
    with new_pool(kind, 1, blas_threads=7) as pool:
        assert pool.apply(settings) == {"7"}
    with new_pool(kind, 1, blas_threads=0) as pool:
        assert pool.apply(settings) == {None}
    assert settings() == {None}


def test_what_the_user_has_set_for_linear_algebra_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with new_pool("fork", 1, blas_threads=7) as pool:
        assert pool.apply(os.environ.get, ("OMP_NUM_THREADS",)) == "3"


def test_threads_cannot_have_linear_algebra_of_their_own() -> None:
    with pytest.raises(ValueError, match="blas_threads"):
        treadle.Pool(1, kind="thread", blas_threads=1)


def test_a_worker_that_cannot_be_watched_is_not_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody would ever notice its end."""
    workers: list[treadle.Process] = []

    def fail(self: Ends, process: treadle.Process) -> None:
        workers.append(process)
        raise OSError("too many open files")

    monkeypatch.setattr(Ends, "watch", fail)
    with pytest.raises(OSError, match="too many"):
        treadle.Pool(1)
    assert workers[0].exitcode == -signal.SIGKILL
