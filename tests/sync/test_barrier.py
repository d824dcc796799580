"""Barrier."""

from __future__ import annotations

import math
import threading
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.sync.children import Child
from tests.sync.kinds import both_storages
from tests.sync.threads import OtherThread, until

pytestmark = both_storages


def _all_at(barrier: treadle.Barrier, threads: list[OtherThread]) -> list[Any]:
    waits = [thread.start(barrier.wait) for thread in threads]
    until(lambda: barrier.n_waiting == len(threads) or barrier.broken)
    return waits


@pytest.fixture
def three() -> list[OtherThread]:
    return [OtherThread() for _ in range(3)]


def test_the_last_to_come_lets_all_go(shared: bool, three: list[OtherThread]) -> None:
    barrier = treadle.Barrier(4, shared=shared)
    for _ in range(70):  # more rounds than it remembers
        waits = _all_at(barrier, three)
        assert not any(w.done() for w in waits)
        assert barrier.n_waiting == 3
        mine = barrier.wait()
        assert sorted([mine, *(w.result() for w in waits)]) == [0, 1, 2, 3]
        assert barrier.n_waiting == 0
        assert barrier.broken is False


def test_nobody_is_a_round_ahead(shared: bool, three: list[OtherThread]) -> None:
    barrier = treadle.Barrier(4, shared=shared)
    rounds = [0] * 4

    def go_round(number: int) -> None:
        for _ in range(100):
            rounds[number] += 1
            barrier.wait()
            assert max(rounds) - min(rounds) <= 1
            assert min(rounds) >= rounds[number]
            barrier.wait()

    going = [thread.start(go_round, number) for number, thread in enumerate(three)]
    go_round(3)
    for g in going:
        g.result()


def test_processes_meet_at_it(shared: bool) -> None:
    barrier = treadle.Barrier(3, shared=shared)
    if not shared:
        # A child has a private barrier of its own: nobody else will come.
        with pytest.raises(treadle.BrokenBarrierError):
            barrier.wait(timeout=0.01)
        return
    children = [Child(_go_round, barrier) for _ in range(2)]
    try:
        places = [barrier.wait() for _ in range(50)]
        for child in children:
            others = child.hear()
            assert all(a != b for a, b in zip(places, others, strict=True))
            child.join()
    finally:
        for child in children:
            child.dispose()


def test_the_action_runs_once_before_anyone_goes_on(shared: bool, three: list[OtherThread]) -> None:
    runs: list[int] = []
    barrier = treadle.Barrier(4, lambda: runs.append(barrier.n_waiting), shared=shared)
    for count in range(1, 6):
        waits = _all_at(barrier, three)
        barrier.wait()
        for w in waits:
            w.result()
        assert len(runs) == count


def test_an_action_that_raises_breaks_the_barrier(shared: bool, three: list[OtherThread]) -> None:
    barrier = treadle.Barrier(4, lambda: 1 / 0, shared=shared, label="gate")
    waits = _all_at(barrier, three)
    with pytest.raises(ZeroDivisionError):
        barrier.wait()
    for w in waits:
        with pytest.raises(treadle.BrokenBarrierError, match=r"'gate' is broken.*action"):
            w.result()
    assert barrier.broken is True


def test_a_party_that_gives_up_breaks_it_for_all(shared: bool, three: list[OtherThread]) -> None:
    barrier = treadle.Barrier(5, shared=shared, label="gate")
    waits = _all_at(barrier, three)
    with pytest.raises(treadle.BrokenBarrierError, match=r"'gate' is broken.*in time"):
        barrier.wait(timeout=0.01)
    for w in waits:
        with pytest.raises(treadle.BrokenBarrierError, match="'gate' is broken"):
            w.result()
    assert barrier.broken is True
    assert barrier.n_waiting == 0
    for timeout in (None, 0, 5):
        with pytest.raises(treadle.BrokenBarrierError):
            barrier.wait(timeout)


def test_its_timeout_is_that_of_every_wait(shared: bool) -> None:
    barrier = treadle.Barrier(2, timeout=0.01, shared=shared)
    with pytest.raises(treadle.BrokenBarrierError, match="in time"):
        barrier.wait()


def test_abort_breaks_it_for_who_waits_and_who_comes(
    shared: bool, three: list[OtherThread]
) -> None:
    barrier = treadle.Barrier(4, shared=shared)
    waits = _all_at(barrier, three)
    barrier.abort()
    barrier.abort()
    for w in waits:
        with pytest.raises(treadle.BrokenBarrierError, match="aborted"):
            w.result()
    with pytest.raises(treadle.BrokenBarrierError):
        barrier.wait()


def test_reset_breaks_it_for_who_waits_and_it_is_as_new(
    shared: bool, three: list[OtherThread]
) -> None:
    barrier = treadle.Barrier(4, shared=shared)
    for _ in range(3):
        waits = _all_at(barrier, three)
        barrier.reset()
        for w in waits:
            with pytest.raises(treadle.BrokenBarrierError, match="reset"):
                w.result()
        assert barrier.broken is False
    barrier.abort()
    barrier.reset()
    barrier.reset()
    waits = _all_at(barrier, three)
    assert barrier.wait() == 3
    assert sorted(w.result() for w in waits) == [0, 1, 2]


def test_a_barrier_of_one_never_waits(shared: bool) -> None:
    barrier = treadle.Barrier(1, shared=shared)
    assert [barrier.wait() for _ in range(3)] == [0, 0, 0]
    assert barrier.wait(timeout=0) == 0


@pytest.mark.parametrize(
    ("parties", "error"),
    [(0, ValueError), (-1, ValueError), ("2", TypeError), (1.5, TypeError), (None, TypeError),
     (2**40, (OverflowError, MemoryError))],
)  # fmt: skip
def test_a_number_of_parties_that_is_none_is_refused(
    shared: bool, parties: Any, error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    with pytest.raises(error):
        treadle.Barrier(parties, shared=shared)


@pytest.mark.parametrize(
    ("timeout", "error"),
    [(math.nan, ValueError), (math.inf, OverflowError), ("1", TypeError)],
)
def test_a_timeout_that_is_none_is_refused_and_nobody_has_come(
    shared: bool, timeout: Any, error: type[Exception]
) -> None:
    barrier = treadle.Barrier(2, shared=shared)
    with pytest.raises(error):
        barrier.wait(timeout)
    assert barrier.n_waiting == 0
    assert barrier.broken is False


def test_it_tells_its_number_of_parties(shared: bool) -> None:
    assert treadle.Barrier(7, shared=shared).parties == 7


def _go_round(line: Connection, barrier: treadle.Barrier) -> None:
    line.send([barrier.wait() for _ in range(50)])


def test_who_comes_too_early_for_the_next_round_and_gives_up_breaks_nothing(shared: bool) -> None:
    """The round before is complete, and its action still runs: it waits for nobody."""
    running, may_end = threading.Event(), threading.Event()

    def action() -> None:
        running.set()
        may_end.wait()

    barrier = treadle.Barrier(2, action, shared=shared)
    parties = [OtherThread() for _ in range(2)]
    rounds = [party.start(barrier.wait) for party in parties]
    running.wait()
    with pytest.raises(treadle.BrokenBarrierError):
        barrier.wait(timeout=0.01)
    assert not barrier.broken
    may_end.set()
    assert sorted(r.result() for r in rounds) == [0, 1]
    for party in parties:
        party.end()
