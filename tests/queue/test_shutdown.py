"""shutdown: nothing more goes in, what is in it comes out, and everybody is told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import treadle
from tests.queue.kinds import ascending, every_kind
from tests.queue.workers import KINDS, Start, books, raised_by, until_waiting
from tests.sync.threads import OtherThread

WAITING_CALLS: dict[str, Callable[[treadle.Queue], Any]] = {
    "get": lambda queue: queue.get(),
    "get with a timeout": lambda queue: queue.get(timeout=1000),
    "get_many": lambda queue: queue.get_many(5),
    "lease": lambda queue: queue.lease(),
}
PUTTING_CALLS: dict[str, Callable[[treadle.Queue], Any]] = {
    "put": lambda queue: queue.put(1),
    "put with a timeout": lambda queue: queue.put(1, timeout=1000),
    "put a large item": lambda queue: queue.put(bytes(20_000)),
    "put_many": lambda queue: queue.put_many([1, 2]),
}


@pytest.mark.parametrize("immediate", [False, True])
@pytest.mark.parametrize("put", PUTTING_CALLS)
@every_kind
def test_nothing_more_goes_in(queue: treadle.Queue, put: str, immediate: bool) -> None:
    assert not queue.is_shutdown
    queue.shutdown(immediate=immediate)
    assert queue.is_shutdown
    assert queue.statistics().is_shutdown
    before = books()[0]
    with pytest.raises(treadle.ShutDown):
        PUTTING_CALLS[put](queue)
    with pytest.raises(treadle.ShutDown):
        queue.put_nowait(1)
    assert queue.qsize() == 0
    assert books()[0] == before


@ascending
def test_what_is_in_it_comes_out_and_then_everybody_is_told(queue: treadle.Queue) -> None:
    queue.put_many(range(5))
    queue.shutdown()
    assert queue.qsize() == 5
    assert queue.get() == 0
    assert queue.get_nowait() == 1
    with queue.lease() as lease:
        assert lease.item == 2
    assert queue.get_many(10) == [3, 4]
    for call in (*WAITING_CALLS.values(), treadle.Queue.get_nowait):
        with pytest.raises(treadle.ShutDown):
            call(queue)
    assert list(queue) == []


def test_at_once_what_is_in_it_is_thrown_away(queue: treadle.Queue) -> None:
    queue.put_many([1, bytes(20_000), [2]])
    queue.shutdown(immediate=True)
    assert queue.empty()
    for call in (*WAITING_CALLS.values(), treadle.Queue.get_nowait):
        with pytest.raises(treadle.ShutDown):
            call(queue)
    assert queue.join() is True


@ascending
def test_a_shutdown_can_be_repeated_and_made_immediate(queue: treadle.Queue) -> None:
    queue.put_many("ab")
    queue.shutdown()
    queue.shutdown()
    assert queue.get() == "a"
    queue.shutdown(immediate=True)
    queue.shutdown()
    with pytest.raises(treadle.ShutDown):
        queue.get()


@every_kind
def test_join_after_a_shutdown_still_waits_for_the_tasks(
    queue: treadle.Queue, other: OtherThread
) -> None:
    queue.put("job")
    queue.shutdown()
    joining = other.start(queue.join)
    until_waiting(queue)
    queue.get()
    queue.task_done()
    assert joining.result() is True


# ---- Those who wait already


@pytest.mark.parametrize("immediate", [False, True])
@pytest.mark.parametrize("call", WAITING_CALLS)
@every_kind
def test_who_waits_for_an_item_is_told(
    queue: treadle.Queue, other: OtherThread, call: str, immediate: bool
) -> None:
    waiting = other.start(WAITING_CALLS[call], queue)
    until_waiting(queue)
    queue.shutdown(immediate=immediate)
    with pytest.raises(treadle.ShutDown):
        waiting.result()


@pytest.mark.parametrize("immediate", [False, True])
@pytest.mark.parametrize("call", PUTTING_CALLS)
def test_who_waits_for_room_is_told(other: OtherThread, call: str, immediate: bool) -> None:
    queue = treadle.Queue(1)
    queue.put("there before")
    waiting = other.start(PUTTING_CALLS[call], queue)
    until_waiting(queue)
    queue.shutdown(immediate=immediate)
    with pytest.raises(treadle.ShutDown):
        waiting.result()
    assert list(queue) == ([] if immediate else ["there before"])


@every_kind
def test_at_once_the_joiners_are_let_go(queue: treadle.Queue, other: OtherThread) -> None:
    queue.put(1)
    queue.get()
    joining = other.start(queue.join)
    until_waiting(queue)
    queue.shutdown(immediate=True)
    assert joining.result() is True


@pytest.mark.slow
@pytest.mark.parametrize("immediate", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_everybody_who_waits_anywhere_is_told(start: Start, kind: str, immediate: bool) -> None:
    empty, full, told = treadle.Queue(), treadle.Queue(1), treadle.Queue()
    full.put("there before")
    worker = start(kind, wait_in_every_way, empty, full, told)
    until_waiting(empty, 3)
    until_waiting(full, 3)
    empty.shutdown(immediate)
    full.shutdown(immediate)
    if not immediate:
        assert full.get() == "there before"
        full.task_done()
    assert sorted(told.get() for _ in range(6)) == ["None"] + ["ShutDown"] * 5
    worker.join()


def wait_in_every_way(empty: treadle.Queue, full: treadle.Queue, told: treadle.Queue) -> None:
    def wait(call: Callable[..., Any], *arguments: Any) -> None:
        raised = raised_by(call, *arguments)
        told.put(raised.__name__ if raised else "None")

    threads = [
        threading.Thread(target=wait, args=arguments)
        for arguments in [
            (empty.get,),
            (empty.get_many, 5),
            (empty.lease,),
            (full.put, 1),
            (full.put_many, [1, 2]),
            (full.join,),
        ]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("kind", KINDS)
@every_kind
def test_any_process_can_shut_it_down(queue: treadle.Queue, start: Start, kind: str) -> None:
    queue.put("last")
    start(kind, treadle.Queue.shutdown, queue).join()
    assert list(queue) == ["last"]
    with pytest.raises(treadle.ShutDown):
        queue.put("more")


# ---- With leases out


# ---- In the midst of traffic


@pytest.mark.slow
@pytest.mark.parametrize("immediate", [False, True])
def test_every_put_that_went_well_is_accounted_for(start: Start, immediate: bool) -> None:
    """A put that was under way when the queue was shut down either fails or is got by somebody."""
    rounds = 250
    queues = [treadle.Queue() for _ in range(rounds)]
    gate, counts = treadle.Barrier(3), treadle.Queue()
    workers = [start("fork", role, queues, gate, counts) for role in (put_all, get_all)]
    for number, queue in enumerate(queues):
        gate.wait()
        for _ in range(number % 50):
            pass
        queue.shutdown(immediate)
        gate.wait()
        account = dict([counts.get(), counts.get()])
        assert queue.qsize() == 0
        if not immediate:
            assert account["put"] == account["got"]
        assert account["put"] == queue.statistics().puts
    for worker in workers:
        worker.join()


def put_all(queues: list[treadle.Queue], gate: treadle.Barrier, counts: treadle.Queue) -> None:
    for queue in queues:
        gate.wait()
        count = 0
        try:
            while True:
                queue.put(count)
                count += 1
        except treadle.ShutDown:
            counts.put(("put", count))
        gate.wait()


def get_all(queues: list[treadle.Queue], gate: treadle.Barrier, counts: treadle.Queue) -> None:
    for queue in queues:
        gate.wait()
        counts.put(("got", sum(1 for _ in queue)))
        gate.wait()
