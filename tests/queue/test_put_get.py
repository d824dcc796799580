"""put and get mean what they mean for queue.Queue."""

from __future__ import annotations

import copy
import math
import pickle
import queue as stdlib
import threading
import time
import weakref
from typing import Any

import pytest

import treadle
from tests.queue.kinds import ascending, every_kind
from tests.queue.workers import until_waiting
from tests.sync.threads import OtherThread

# What is shown of both is what the two have in common.
both = pytest.mark.parametrize("make", [stdlib.Queue, treadle.Queue], ids=["stdlib", "treadle"])


@both
def test_smoke(make: Any) -> None:
    queue = make()
    queue.put("item")
    assert (queue.qsize(), queue.empty(), queue.full()) == (1, False, False)
    assert queue.get() == "item"
    assert (queue.qsize(), queue.empty(), queue.full()) == (0, True, False)


@both
def test_first_in_first_out(make: Any) -> None:
    queue = make()
    for number in range(10_000):
        queue.put(number)
    assert [queue.get() for _ in range(10_000)] == list(range(10_000))


@both
def test_the_arguments_may_be_given_by_position_and_by_name(make: Any) -> None:
    queue = make(2)
    queue.put(1, True, 1)
    queue.put(item=2, block=False, timeout=None)
    assert queue.get(True, 1) == 1
    assert queue.get(block=False, timeout=None) == 2


@both
def test_without_blocking_full_and_empty_are_told_at_once(make: Any) -> None:
    queue = make(1)
    for get in (queue.get_nowait, lambda: queue.get(False), lambda: queue.get(False, 100)):
        with pytest.raises(stdlib.Empty):
            get()
    queue.put_nowait(1)
    for arguments in ((False,), (False, 100), (False, None)):
        with pytest.raises(stdlib.Full):
            queue.put(2, *arguments)
    with pytest.raises(stdlib.Full):
        queue.put_nowait(2)
    assert queue.get_nowait() == 1


@both
def test_a_timeout_is_waited_for_and_then_told(make: Any) -> None:
    queue = make(1)
    began = time.monotonic()
    with pytest.raises(stdlib.Empty):
        queue.get(timeout=0.02)
    assert time.monotonic() - began >= 0.02
    queue.put(1)
    began = time.monotonic()
    with pytest.raises(stdlib.Full):
        queue.put(2, timeout=0.02)
    assert time.monotonic() - began >= 0.02
    assert queue.qsize() == 1


@both
def test_a_timeout_of_nothing_does_not_wait(make: Any) -> None:
    queue = make(1)
    with pytest.raises(stdlib.Empty):
        queue.get(timeout=0)
    queue.put(1, timeout=0)
    with pytest.raises(stdlib.Full):
        queue.put(1, timeout=0)
    assert queue.get(timeout=0) == 1


@both
def test_a_negative_timeout_is_refused_unless_it_does_not_matter(make: Any) -> None:
    queue = make(1)
    for call in (lambda: queue.get(timeout=-0.1), lambda: queue.get(True, -1)):
        with pytest.raises(ValueError, match="'timeout' must be a non-negative number"):
            call()
    queue.put(1)
    with pytest.raises(ValueError, match="'timeout' must be a non-negative number"):
        queue.put(2, timeout=-0.1)
    with pytest.raises(stdlib.Full):
        queue.put(2, False, -0.1)
    assert queue.get(False, -0.1) == 1


@both
@pytest.mark.parametrize("maxsize", [0, -1, -100])
def test_no_size_is_no_limit(make: Any, maxsize: int) -> None:
    queue = make(maxsize)
    for number in range(1000):
        queue.put_nowait(number)
    assert not queue.full()


def test_the_exceptions_are_the_standard_library_s() -> None:
    assert treadle.Empty is stdlib.Empty
    assert treadle.Full is stdlib.Full
    assert treadle.ShutDown is getattr(stdlib, "ShutDown", treadle.ShutDown)


@every_kind
def test_get_waits_for_a_put(queue: treadle.Queue, other: OtherThread) -> None:
    got = other.start(queue.get)
    until_waiting(queue)
    assert not got.done()
    queue.put("item")
    assert got.result() == "item"


@every_kind
def test_get_with_a_timeout_takes_what_comes_in_time(
    queue: treadle.Queue, other: OtherThread
) -> None:
    got = other.start(queue.get, True, 1000)
    until_waiting(queue)
    queue.put("item")
    assert got.result() == "item"


def test_put_waits_for_room(other: OtherThread) -> None:
    queue = treadle.Queue(1)
    queue.put(1)
    put = other.start(queue.put, 2)
    until_waiting(queue)
    assert not put.done()
    assert queue.get() == 1
    put.result()
    assert queue.get() == 2


@pytest.mark.parametrize("bad", [math.nan, "1", [], 1j])
@every_kind
def test_a_timeout_that_is_no_time_is_refused(queue: treadle.Queue, bad: Any) -> None:
    for call in (
        lambda: queue.get(timeout=bad),
        lambda: queue.put(1, timeout=bad),
        lambda: queue.get_many(1, timeout=bad),
        lambda: queue.put_many([1], timeout=bad),
        lambda: queue.lease(timeout=bad),
        lambda: queue.join(timeout=bad),
    ):
        with pytest.raises((TypeError, ValueError)):
            call()
    assert queue.empty()


@pytest.mark.parametrize("huge", [math.inf, 1e300, threading.TIMEOUT_MAX * 2])
@every_kind
def test_a_timeout_beyond_the_platform_s_is_refused_as_by_locks(
    queue: treadle.Queue, huge: float
) -> None:
    with pytest.raises(OverflowError, match="TIMEOUT_MAX"):
        queue.get(timeout=huge)


@pytest.mark.parametrize("bad", ["1", 1.5, 1.0, None, [], 1 + 0j, object()])
def test_limits_are_integers(bad: Any) -> None:
    with pytest.raises(TypeError):
        treadle.Queue(bad)
    with pytest.raises(TypeError):
        treadle.Queue(maxbytes=bad)


def test_limits_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="maxbytes must be 0"):
        treadle.Queue(maxbytes=-1)
    for limits in ({"maxsize": 1 << 64}, {"maxbytes": 1 << 64}):
        with pytest.raises(OverflowError):
            treadle.Queue(**limits)
    assert treadle.Queue((1 << 64) - 1).maxsize == (1 << 64) - 1
    treadle.Queue(maxbytes=(1 << 64) - 1).put(1)


@pytest.mark.parametrize("bad", [1, 1.0, [], object()])
def test_a_label_is_text(bad: Any) -> None:
    with pytest.raises(TypeError, match="label must be a str"):
        treadle.Queue(label=bad)


def test_it_says_what_it_is() -> None:
    queue = treadle.Queue(3, maxbytes=1000, label="jobs")
    queue.put(1)
    assert (queue.maxsize, queue.maxbytes, queue.label) == (3, 1000, "jobs")
    assert repr(queue) == "<treadle.Queue 'jobs', shared: qsize=1/3>"
    queue.shutdown()
    assert repr(queue) == "<treadle.Queue 'jobs', shared: qsize=1/3 shut down>"


def test_without_a_label_it_is_called_by_the_line_that_made_it() -> None:
    queue = treadle.Queue()
    line = test_without_a_label_it_is_called_by_the_line_that_made_it.__code__.co_firstlineno + 1
    assert queue.label == f"{__name__}:{line}"[-48:]


@pytest.mark.parametrize("label", ["", "a" * 51, "a" * 500, "ö" * 100, "\0", "\udc80", "a\0b"])
def test_any_label_is_taken_if_perhaps_shortened(label: str) -> None:
    queue = treadle.Queue(label=label)
    queue.put(1)
    assert len(queue.label.encode()) <= 3 * 51
    assert queue.get() == 1


@every_kind
def test_statistics_count(queue: treadle.Queue) -> None:
    queue.put_many(range(5))
    queue.get()
    lease = queue.lease()
    figures = queue.statistics()
    assert (figures.qsize, figures.puts, figures.gets, figures.leased) == (3, 5, 2, 1)
    assert (figures.unfinished, figures.redelivered, figures.waiting) == (5, 0, 0)
    key = 16 if isinstance(queue, treadle.PriorityQueue) else 0
    assert figures.bytes == 3 * (key + 16 + 16)  # a header each, and an int with its tag, padded
    lease.nack()
    queue.get()
    assert queue.statistics().redelivered == 1


@every_kind
def test_a_copy_is_another_handle_of_the_same_queue(queue: treadle.Queue) -> None:
    for duplicate in (copy.copy, copy.deepcopy, lambda q: pickle.loads(pickle.dumps(q))):
        twin = duplicate(queue)
        twin.put("item")
        assert queue.get() == "item"


@every_kind
def test_it_can_be_weakly_referred_to_and_subscripted(queue: treadle.Queue) -> None:
    weakly = weakref.ref(queue)
    assert weakly() is queue
    assert treadle.Queue[int].__origin__ is treadle.Queue


def test_what_is_changed_after_the_put_is_not_changed_in_the_queue(queue: treadle.Queue) -> None:
    item = ["as it was"]
    queue.put(item)
    item.append("changed")
    assert queue.get() == ["as it was"]


@ascending
def test_an_iteration_gives_items_until_the_shutdown(
    queue: treadle.Queue, other: OtherThread
) -> None:
    seen = other.start(list, queue)
    for number in range(100):
        queue.put(number)
    until_waiting(queue)
    queue.shutdown()
    assert seen.result() == list(range(100))
    assert list(queue) == []
