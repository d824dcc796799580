"""Event."""

from __future__ import annotations

import math
import threading
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.sync.children import Child
from tests.sync.kinds import both_storages
from tests.sync.threads import OtherThread, until, until_parked

pytestmark = both_storages


def test_it_is_set_and_cleared(shared: bool) -> None:
    event = treadle.Event(shared=shared)
    for _ in range(2):
        assert event.is_set() is False
        event.clear()
        assert event.is_set() is False
        event.set()
        assert event.is_set() is True
        event.set()
        assert event.is_set() is True
        event.clear()


def test_a_wait_for_what_is_set_does_not_block(shared: bool) -> None:
    event = treadle.Event(shared=shared)
    event.set()
    for arguments in ((), (None,), (0,), (-1,), (60,)):
        assert event.wait(*arguments) is True
    assert event.wait(timeout=0) is True


def test_a_wait_that_may_not_last_says_that_it_is_not_set(shared: bool) -> None:
    event = treadle.Event(shared=shared)
    for timeout in (0, -1, -math.inf, 0.001):
        assert event.wait(timeout) is False


def test_a_set_wakes_all_who_wait(shared: bool) -> None:
    event = treadle.Event(shared=shared)
    threads = [OtherThread() for _ in range(6)]
    waiting = [thread.start(event.wait) for thread in threads]
    for thread in threads:
        until_parked(event, thread.native_id)
    event.set()
    assert [w.result() for w in waiting] == [True] * 6
    for thread in threads:
        thread.end()


def test_a_set_wakes_all_processes_that_wait(shared: bool) -> None:
    event = treadle.Event(shared=shared)
    if not shared:
        event.set()  # a child has a private event of its own, in the state that it had at the fork
    children = [Child(_wait, event) for _ in range(4)]
    try:
        if shared:
            until(lambda: event.statistics().waiting == 4)
            event.set()
        for child in children:
            child.expect(True)
            child.join()
    finally:
        for child in children:
            child.dispose()


def test_who_waited_sees_a_set_that_was_cleared_at_once(shared: bool, other: OtherThread) -> None:
    event = treadle.Event(shared=shared)
    for _ in range(50):
        waiting = other.start(event.wait)
        until_parked(event, other.native_id)
        event.set()
        event.clear()
        assert waiting.result() is True
    assert event.wait(0) is False


def test_what_was_written_before_the_set_is_seen_after_the_wait(
    shared: bool, other: OtherThread
) -> None:
    go, gone = treadle.Event(shared=shared), treadle.Event(shared=shared)
    written: list[int] = []

    def write(count: int) -> None:
        for number in range(count):
            go.wait()
            go.clear()
            written.append(number)
            gone.set()

    writing = other.start(write, 500)
    for number in range(500):
        go.set()
        gone.wait()
        gone.clear()
        assert written[-1] == number
    writing.result()


@pytest.mark.parametrize(
    ("timeout", "error"),
    [(math.nan, ValueError), (math.inf, OverflowError), (1e100, OverflowError),
     (threading.TIMEOUT_MAX * 2, OverflowError), ("1", TypeError)],
)  # fmt: skip
def test_a_timeout_that_is_none_is_refused(
    shared: bool, timeout: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        treadle.Event(shared=shared).wait(timeout)


def test_it_is_not_taken_for_a_bool(shared: bool) -> None:
    event = treadle.Event(shared=shared)
    with pytest.raises(TypeError, match=r"event\.is_set\(\)"):
        bool(event)


def _wait(line: Connection, event: treadle.Event) -> None:
    line.send(event.wait())
