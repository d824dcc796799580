"""Latch."""

from __future__ import annotations

import math
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.sync.children import Child, forked, killed_while
from tests.sync.kinds import both_storages
from tests.sync.threads import OtherThread, until, until_parked

pytestmark = both_storages


def test_it_opens_at_zero_and_stays_open(shared: bool) -> None:
    latch = treadle.Latch(3, shared=shared)
    assert latch.wait(0) is False
    latch.count_down()
    assert latch.count == 2
    latch.count_down(2)
    assert latch.count == 0
    for timeout in (None, 0, -1, 60):
        assert latch.wait(timeout) is True


def test_one_without_a_count_says_what_is_missing(shared: bool) -> None:
    with pytest.raises(TypeError, match=r"a Latch needs its count, .*: Latch\(3\)"):
        treadle.Latch(shared=shared)  # type: ignore[call-arg]


def test_what_is_counted_beyond_zero_is_ignored(shared: bool) -> None:
    latch = treadle.Latch(2, shared=shared)
    latch.count_down(10**30)
    assert latch.count == 0
    latch.count_down()
    assert latch.count == 0
    assert latch.wait() is True


def test_one_of_zero_is_open(shared: bool) -> None:
    assert treadle.Latch(0, shared=shared).wait() is True


def test_counts_that_are_none_are_refused(shared: bool) -> None:
    refused: list[tuple[Any, type[Exception]]] = [
        (-1, ValueError), (2**31, OverflowError), (1.5, TypeError), ("1", TypeError),
    ]  # fmt: skip
    for count, error in refused:
        with pytest.raises(error):
            treadle.Latch(count, shared=shared)
    latch = treadle.Latch(2**31 - 1, shared=shared)
    for n in (0, -1, -(10**30)):
        with pytest.raises(ValueError, match="one or more"):
            latch.count_down(n)
    for wrong in (1.5, "1", None):
        with pytest.raises(TypeError):
            latch.count_down(wrong)  # type: ignore[arg-type]
    assert latch.count == 2**31 - 1


def test_all_who_wait_are_woken_by_the_last_count_down(shared: bool) -> None:
    latch = treadle.Latch(2, shared=shared)
    threads = [OtherThread() for _ in range(5)]
    waiting = [thread.start(latch.wait) for thread in threads]
    for thread in threads:
        until_parked(latch, thread.native_id)
    latch.count_down()
    assert not any(w.done() for w in waiting)
    latch.count_down()
    assert [w.result() for w in waiting] == [True] * 5
    for thread in threads:
        thread.end()


def test_processes_count_down_and_wait(shared: bool) -> None:
    latch = treadle.Latch(3, shared=shared)
    if not shared:
        latch.count_down(3)  # a child has a private latch of its own, as it was at the fork
    children = [Child(_count_down_and_wait, latch) for _ in range(3)]
    try:
        for child in children:
            child.expect(True)
            child.join()
    finally:
        for child in children:
            child.dispose()
    assert latch.wait() is True


def test_who_dies_before_it_has_counted_down_is_missed(shared: bool) -> None:
    if not shared:
        return  # nobody dies alone in one process
    latch = treadle.Latch(2)
    killed_while(latch.count_down)
    killed_while(lambda: None)
    assert latch.count == 1
    assert latch.wait(timeout=0.01) is False
    latch.count_down()
    assert latch.wait() is True


def test_who_dies_waiting_harms_nobody(shared: bool, other: OtherThread) -> None:
    latch = treadle.Latch(1, shared=shared)
    with forked(_wait, latch) as child:
        until(lambda: not shared or latch.statistics().waiting == 1)
        waiting = other.start(latch.wait)
        until_parked(latch, other.native_id)
        child.kill()
    latch.count_down()
    assert waiting.result() is True


@pytest.mark.parametrize(
    ("timeout", "error"),
    [(math.nan, ValueError), (math.inf, OverflowError), ("1", TypeError)],
)
def test_a_timeout_that_is_none_is_refused(
    shared: bool, timeout: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        treadle.Latch(1, shared=shared).wait(timeout)


def _count_down_and_wait(line: Connection, latch: treadle.Latch) -> None:
    latch.count_down()
    line.send(latch.wait())


def _wait(line: Connection, latch: treadle.Latch) -> None:
    latch.wait()
