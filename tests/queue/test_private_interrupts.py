"""Ctrl-C and forks, while calls of a private queue wait: nothing is lost, nothing is locked."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.queue.kinds import every_private_and_simple_kind, every_private_kind
from tests.sync.children import forked
from tests.sync.threads import OtherThread, until, until_parked
from treadle import queue as dropin

Make = Callable[..., Any]


@contextmanager
def interrupted(queue: Any) -> Iterator[None]:
    """Ctrl-C comes when the main thread sleeps in a call of the queue, and ends it."""
    main = threading.main_thread()
    assert main.ident is not None and main.native_id is not None
    started: list[bool] = []

    def send() -> None:
        until(lambda: started)  # else the main thread may be asleep in start()
        until_parked(queue, main.native_id)  # type: ignore[arg-type]
        signal.pthread_kill(main.ident, signal.SIGINT)  # type: ignore[arg-type]

    # In a shell's background job it is ignored, and Python leaves it so.
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread = threading.Thread(target=send)
        thread.start()
        started.append(True)
        with pytest.raises(KeyboardInterrupt):
            yield
        thread.join()
    finally:
        signal.signal(signal.SIGINT, former)


@every_private_and_simple_kind
@pytest.mark.parametrize(
    "call",
    [
        lambda queue: queue.get(),
        lambda queue: queue.get(timeout=1000),
        lambda queue: queue.get_many(3),
        lambda queue: queue.lease(),
        lambda queue: next(iter(queue)),
    ],
    ids=["get", "get in time", "get_many", "lease", "iteration"],
)
def test_ctrl_c_ends_a_wait_for_an_item_and_takes_none(
    make: Make, call: Callable[[Any], Any], other: OtherThread
) -> None:
    queue = make()
    with interrupted(queue):
        call(queue)
    getting = other.start(queue.get)  # the one that is gone is not woken in its place
    until_parked(queue, other.native_id)
    queue.put("next")
    assert getting.result() == "next"
    assert queue.empty()


@every_private_kind
@pytest.mark.parametrize(
    "call",
    [
        lambda queue, item: queue.put(item),
        lambda queue, item: queue.put(item, timeout=1000),
        lambda queue, item: queue.put_many([item]),
    ],
    ids=["put", "put in time", "put_many"],
)
def test_ctrl_c_ends_a_wait_for_room_and_puts_nothing(
    make: Make, call: Callable[..., Any], other: OtherThread
) -> None:
    queue = make(1)
    queue.put("there before")
    before = queue.statistics()
    with interrupted(queue):
        call(queue, "interrupted")
    assert queue.statistics() == before
    putting = other.start(queue.put, "next")
    until_parked(queue, other.native_id)
    assert queue.get() == "there before"
    putting.result()
    assert queue.get() == "next"


@every_private_and_simple_kind
def test_ctrl_c_ends_a_wait_for_the_end_of_work(make: Make) -> None:
    queue = make()
    queue.put("job")
    with interrupted(queue):
        queue.join()
    queue.get()
    queue.task_done()
    queue.join()


@pytest.mark.slow
@every_private_and_simple_kind
def test_exceptions_of_handlers_at_any_time_lose_nothing_that_was_on_lease(make: Make) -> None:
    """Wherever they strike in the consumer, it gets every item; what it had begun comes back."""

    class Interrupt(Exception):
        pass

    queue, seen, interrupts, count = make(), set(), 0, 300
    armed: list[bool] = []
    main = threading.main_thread().ident
    assert main is not None

    def interrupt(*_: object) -> None:
        if armed:
            armed.clear()
            raise Interrupt

    def feed() -> None:
        for number in range(count):
            signal.pthread_kill(main, signal.SIGUSR1)
            queue.put(number)
            while number not in seen:
                time.sleep(0)  # lets the consumer run

    former = signal.signal(signal.SIGUSR1, interrupt)
    try:
        feeder = threading.Thread(target=feed)
        feeder.start()
        while len(seen) < count:
            try:
                armed.append(True)
                while len(seen) < count:
                    with queue.lease() as lease:
                        seen.add(lease.item)
                armed.clear()
            except Interrupt:
                interrupts += 1
        feeder.join()
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert interrupts > 0
    assert queue.statistics().leased == 0
    while not queue.empty():  # it was seen, and the interrupt came before it was acknowledged
        queue.lease().ack()
    assert treadle.Queue.join(queue, 0)


# ---- Forks


@every_private_and_simple_kind
def test_a_child_of_a_fork_has_a_usable_copy_while_threads_of_the_parent_wait(make: Make) -> None:
    queue = make()
    others = [OtherThread() for _ in range(3)]
    getting = [other.start(queue.get) for other in others]
    for other in others:
        until_parked(queue, other.native_id)

    def child(line: Connection) -> None:
        queue.put_many([1, 2, 3])  # the parent's threads are not here to take any
        line.send(sorted(queue.get_many(3)))
        thread = threading.Thread(target=lambda: line.send(queue.get()))
        thread.start()
        until_parked(queue, thread.native_id or 0)
        queue.put("woken")
        thread.join()
        for _ in range(4):
            queue.task_done()
        queue.join()

    with forked(child) as process:
        process.expect([1, 2, 3])
        process.expect("woken")
    queue.put_many([4, 5, 6])
    assert sorted(get.result() for get in getting) == [4, 5, 6]
    for other in others:
        other.end()


@every_private_kind
def test_a_child_has_the_items_and_the_bound_of_the_fork(make: Make) -> None:
    queue = make(2)
    queue.put_many([1, 2])
    putter = OtherThread()
    putting = putter.start(queue.put, 3)
    until_parked(queue, putter.native_id)

    def child(line: Connection) -> None:
        line.send(queue.full())
        line.send(sorted(queue.get_many(5)))
        queue.put_many([7, 8])
        line.send(queue.full())

    with forked(child) as process:
        process.expect(True)
        process.expect([1, 2])
        process.expect(True)
    assert queue.qsize() == 2
    queue.get()
    putting.result()
    putter.end()


class Slow:
    """Its comparison says that it has begun, and waits."""

    begun, go_on = threading.Event(), threading.Event()

    def __lt__(self, other: object) -> bool:
        self.begun.set()
        self.go_on.wait()
        return False


class SlowHook(dropin.Queue):
    def _put(self, item: Any) -> None:
        item < item  # noqa: B015
        super()._put(item)


@pytest.mark.parametrize("kind", [dropin.PriorityQueue, SlowHook])
def test_a_child_of_a_fork_in_the_midst_of_python_code_of_the_queue(
    kind: Any, other: OtherThread
) -> None:
    """The thread that was inside does not exist in the child, which goes on without it."""
    queue = kind()
    Slow.go_on.set()
    queue.put(Slow())
    Slow.go_on.clear()
    Slow.begun.clear()
    putting = other.start(queue.put, Slow())
    Slow.begun.wait()

    def child(line: Connection) -> None:
        Slow.go_on = threading.Event()
        Slow.go_on.set()
        line.send(queue.qsize())
        queue.put(Slow())
        line.send(len(queue.get_many(5)))
        line.send(os.getppid() != os.getpid())

    with forked(child) as process:
        process.expect(1)
        process.expect(2)
        process.expect(True)
    Slow.go_on.set()
    putting.result()
    assert len(queue.get_many(5)) == 2
