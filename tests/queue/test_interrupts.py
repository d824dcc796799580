"""Ctrl-C and other signals reach every call that waits, and leave the queue as it was."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import treadle
from tests.queue.kinds import every_kind
from tests.queue.workers import Start, until_waiting
from tests.sync.threads import until


def full_queue() -> treadle.Queue:
    queue = treadle.Queue(1)
    queue.put("there before")
    return queue


def joinable_queue() -> treadle.Queue:
    queue = treadle.Queue()
    queue.put(1)
    queue.get()
    return queue


# What waits, in which queue, and what ends the wait.
CALLS: dict[str, tuple[Callable[[], treadle.Queue], Callable[[treadle.Queue], Any], str]] = {
    "get": (treadle.Queue, lambda q: q.get(), "put"),
    "get with a timeout": (treadle.Queue, lambda q: q.get(timeout=1000), "put"),
    "get_many": (treadle.Queue, lambda q: q.get_many(3), "put"),
    "lease": (treadle.Queue, lambda q: q.lease(), "put"),
    "iteration": (treadle.Queue, lambda q: next(q), "put"),
    "put": (full_queue, lambda q: q.put("more"), "get"),
    "put with a timeout": (full_queue, lambda q: q.put("more", timeout=1000), "get"),
    "put a large item": (full_queue, lambda q: q.put(bytes(50_000)), "get"),
    "put_many": (full_queue, lambda q: q.put_many(["more", "still more"]), "get"),
    "join": (joinable_queue, lambda q: q.join(), "task_done"),
    "join with a timeout": (joinable_queue, lambda q: q.join(timeout=1000), "task_done"),
}
all_calls = pytest.mark.parametrize(("make", "call", "end"), CALLS.values(), ids=CALLS)


@contextmanager
def signalled(
    queue: treadle.Queue, signum: int, then: Callable[[], object] = int
) -> Iterator[None]:
    """The main thread gets the signal when it waits for the queue; afterwards comes ``then``."""
    main = threading.main_thread().ident
    assert main is not None

    def send() -> None:
        until_waiting(queue)
        signal.pthread_kill(main, signum)
        then()

    thread = threading.Thread(target=send)
    thread.start()
    yield
    thread.join()


@all_calls
def test_ctrl_c_ends_the_wait(make: Any, call: Any, end: str) -> None:
    queue = make()
    before = queue.statistics()
    with signalled(queue, signal.SIGINT), pytest.raises(KeyboardInterrupt):
        call(queue)
    assert queue.statistics() == before
    queue.put("next") if end == "put" else getattr(queue, end)()
    if end == "task_done":
        assert queue.join() is True
    else:
        queue.put("last") if end == "get" else None
        assert queue.get() == ("last" if end == "get" else "next")


@all_calls
def test_a_handler_that_returns_does_not_end_the_wait(make: Any, call: Any, end: str) -> None:
    queue = make()
    heard = []

    def finish() -> None:
        until(lambda: heard)
        until_waiting(queue)
        if end == "get":
            while threading.main_thread() and done == []:
                try:
                    queue.get(timeout=0.01)
                except treadle.Empty:
                    pass
        else:
            queue.put("next") if end == "put" else queue.task_done()

    done: list[Any] = []
    former = signal.signal(signal.SIGUSR1, lambda *_: heard.append("signal"))
    try:
        with signalled(queue, signal.SIGUSR1, finish):
            done.append(call(queue))
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert heard == ["signal"]


@all_calls
def test_an_exception_of_a_handler_comes_out(make: Any, call: Any, end: str) -> None:
    queue = make()

    def raise_it(*_: object) -> None:
        raise LookupError("from the handler")

    former = signal.signal(signal.SIGUSR1, raise_it)
    try:
        with signalled(queue, signal.SIGUSR1), pytest.raises(LookupError, match="the handler"):
            call(queue)
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert queue.statistics().waiting == 0


@every_kind
def test_a_signal_does_not_prolong_a_timeout(queue: treadle.Queue) -> None:
    heard = []
    former = signal.signal(signal.SIGUSR1, lambda *_: heard.append("signal"))
    try:
        with signalled(queue, signal.SIGUSR1), pytest.raises(treadle.Empty):
            queue.get(timeout=0.3)
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert heard == ["signal"]


@pytest.mark.slow
@pytest.mark.parametrize("call", ["get", "lease", "join"])
def test_a_program_that_waits_ends_by_ctrl_c_with_one_traceback(call: str) -> None:
    queue = joinable_queue()
    program = subprocess.Popen(
        [sys.executable, "-c", f"import pickle, sys; pickle.load(sys.stdin.buffer).{call}()"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert program.stdin is not None
    pickle.dump(queue, program.stdin)
    program.stdin.flush()
    until_waiting(queue)
    program.send_signal(signal.SIGINT)
    _, said = program.communicate()
    assert program.returncode == -signal.SIGINT
    assert said.count(b"Traceback") == 1
    assert said.endswith(b"KeyboardInterrupt\n")


@pytest.mark.slow
def test_a_consumer_of_leases_loses_nothing_to_interrupts(
    queue: treadle.Queue, start: Start
) -> None:
    """Interrupted again and again, wherever it is then, it still gets every item."""
    armed: list[bool] = []
    seen: set[int] = set()
    interrupts = 0

    class Interrupt(Exception):
        pass

    def interrupt(*_: object) -> None:
        if armed:
            armed.clear()
            raise Interrupt

    former = signal.signal(signal.SIGUSR1, interrupt)
    try:
        feeder = start("fork", feed_and_interrupt, queue, os.getpid())
        ended = False
        while not ended:
            try:
                armed.append(True)
                while not ended:
                    with queue.lease() as lease:
                        if lease.item is None:
                            armed.clear()
                            ended = True
                        else:
                            seen.add(lease.item)
            except Interrupt:
                interrupts += 1
        feeder.join()
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert interrupts > 0
    assert seen == set(range(1000))
    assert queue.join(timeout=0)


def feed_and_interrupt(queue: treadle.Queue, pid: int) -> None:
    until_waiting(queue)
    for number in range(1000):
        os.kill(pid, signal.SIGUSR1)
        queue.put(number)
    queue.put(None)
