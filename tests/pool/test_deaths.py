"""Workers that are killed: idle, all at once, amid taking a task, running it, returning from it."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

import treadle
from tests.pool import tasks
from tests.pool.kinds import over
from tests.sync.threads import until

pytestmark = [pytest.mark.slow, over("fork")]


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def check_goes_on(pool: treadle.Pool) -> None:
    barrier = treadle.Barrier(2)
    indices = pool.map(lambda _: (barrier.wait(), treadle.current_worker().index), range(2), 1)
    assert {index for _, index in indices} == {0, 1}


# ---- What is told


@pytest.mark.parametrize(
    ("end", "exitcode", "told"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), -9, "was killed by SIGKILL"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), -15, "was killed by SIGTERM"),
        (lambda: os.kill(os.getpid(), 40), -40, "was killed by signal 40"),
        (lambda: os._exit(7), 7, "ended with exit code 7"),
        (lambda: os._exit(0), 0, "ended with exit code 0"),
    ],
    ids=["SIGKILL", "SIGTERM", "a realtime signal", "_exit", "_exit 0"],
)
def test_a_death_is_told_with_all_that_is_known(
    pool: treadle.Pool, end: Any, exitcode: int, told: str
) -> None:
    before = pool.statistics()
    with pytest.raises(
        treadle.WorkerDiedError,
        match=rf"worker \d \(pid \d+\) {told}.* while it ran .*<lambda>\(\)",
    ) as caught:
        pool.apply(end)
    assert caught.value.pid in before.pids
    assert caught.value.exitcode == exitcode
    assert caught.value.signal == (-exitcode if exitcode < 0 else None)
    check_goes_on(pool)
    after = pool.statistics()
    assert after.deaths == before.deaths + 1
    assert caught.value.pid not in after.pids
    assert len(after.pids) == 2


def test_a_task_that_was_stopped_by_nobody_is_not_said_to_be(pool: treadle.Pool) -> None:
    """A timeout and a cancel end workers as well; those are no deaths."""
    before = pool.statistics().deaths
    with pytest.raises(treadle.TaskTimeoutError):
        pool.apply(tasks.begin_and_stay, (treadle.Event(),), timeout=0.01)
    began = treadle.Event()
    result = pool.apply_async(tasks.begin_and_stay, (began,))
    began.wait()
    result.cancel()
    check_goes_on(pool)
    assert pool.statistics().deaths == before


# ---- When


def test_an_idle_worker(pool: treadle.Pool) -> None:
    for pid in pool.statistics().pids:
        kill(pid)
        check_goes_on(pool)


def test_all_idle_workers_at_once(pool: treadle.Pool) -> None:
    for _ in range(3):
        pids = pool.statistics().pids
        for pid in pids:
            kill(pid)
        check_goes_on(pool)
        assert not set(pids) & set(pool.statistics().pids)


def test_all_busy_workers_at_once(pool: treadle.Pool) -> None:
    begun: treadle.Queue[int] = treadle.Queue()
    stuck = [pool.apply_async(tasks.put_and_stay, (begun,)) for _ in range(2)]
    waiting = [pool.apply_async(tasks.square, (x,)) for x in range(20)]
    mapped = pool.map_async(tasks.square, range(1000))
    for pid in [begun.get(), begun.get()]:
        kill(pid)
    for result in stuck:
        with pytest.raises(treadle.WorkerDiedError):
            result.get()
    assert [result.get() for result in waiting] == [x * x for x in range(20)]
    assert mapped.get() == [x * x for x in range(1000)]
    check_goes_on(pool)


def test_a_worker_that_was_stopped_by_a_signal_and_killed(pool: treadle.Pool) -> None:
    """It is amid the call that takes a task, and wakes no more."""
    idle = pool.statistics().pids
    for pid in idle:
        os.kill(pid, signal.SIGSTOP)
    results = [pool.apply_async(tasks.square, (x,)) for x in range(20)]
    for pid in idle:
        kill(pid)
    assert [result.get() for result in results] == [x * x for x in range(20)]
    check_goes_on(pool)


@pytest.mark.parametrize("chunksize", [1, 4, 16])
def test_a_chunk_amid_which_its_worker_is_killed(pool: treadle.Pool, chunksize: int) -> None:
    """The item that it was at fails; the others are done, whether before or after it."""

    def die_at_five(x: int) -> int:
        if x == 5:
            tasks.kill_self()
        return x * x

    results = pool.imap(die_at_five, range(16), chunksize)
    got: list[Any] = []
    for _ in range(16):
        try:
            got.append(next(results))
        except treadle.WorkerDiedError:
            got.append("died")
    assert got == [x * x if x != 5 else "died" for x in range(16)]
    with pytest.raises(treadle.WorkerDiedError):
        pool.map(die_at_five, range(16), chunksize)
    check_goes_on(pool)


def test_every_item_may_kill_its_worker(pool: treadle.Pool) -> None:
    results = pool.imap_unordered(tasks.kill_self, range(6), 3)
    for _ in range(6):
        with pytest.raises(treadle.WorkerDiedError):
            next(results)
    assert list(results) == []
    check_goes_on(pool)


class KillsWhenPickled:
    """Where it is pickled: amid returning the result."""

    def __reduce__(self) -> Any:
        tasks.kill_self()


def test_a_worker_that_dies_when_it_returns_a_result(pool: treadle.Pool) -> None:
    with pytest.raises(treadle.WorkerDiedError, match="SIGKILL"):
        pool.apply(KillsWhenPickled)
    results = pool.imap(lambda x: KillsWhenPickled() if x == 3 else x, range(6), 3)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(treadle.WorkerDiedError):
        next(results)
    assert list(results) == [4, 5]
    check_goes_on(pool)


def test_a_worker_that_dies_after_its_result(pool: treadle.Pool) -> None:
    """The result stands, whenever the end of its worker is noticed."""

    def return_and_die(x: int) -> int:
        thread = threading.Timer(0.01, tasks.kill_self)
        thread.daemon = True
        thread.start()
        return x

    for x in range(5):
        before = pool.statistics().deaths
        assert pool.apply(return_and_die, (x,)) == x
        until(lambda before=before: pool.statistics().deaths > before)
    check_goes_on(pool)


def test_a_dead_worker_holds_nothing_that_others_need(pool: treadle.Pool) -> None:
    """Large arguments and results: the arena's blocks of the dead are given back."""
    begun: treadle.Queue[int] = treadle.Queue()
    data = bytes(1 << 20)

    def kill_one() -> None:
        result = pool.apply_async(tasks.put_and_stay, (begun, data))
        kill(begun.get())
        with pytest.raises(treadle.WorkerDiedError):
            result.get()

    kill_one()
    treadle.sweep()
    before = treadle.arena_statistics().used
    for _ in range(8):
        kill_one()
    check_goes_on(pool)
    until(lambda: treadle.sweep() or treadle.arena_statistics().used <= before + (2 << 20))
