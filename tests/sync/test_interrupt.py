"""Ctrl-C ends every blocking call, and leaves the object usable; other signals end none."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.sync.children import forked
from tests.sync.kinds import BLOCKING_CALLS, BlockingCall, all_blocking_calls, both_storages
from tests.sync.threads import OtherThread, is_parked, until, until_parked


@both_storages
@all_blocking_calls
def test_ctrl_c_ends_the_call_and_the_object_stays_usable(call: BlockingCall, shared: bool) -> None:
    with forked(_be_interrupted, call, shared, _interrupt_process) as child:
        child.expect("interrupted")
        child.expect("usable")


@all_blocking_calls
def test_ctrl_c_that_another_thread_receives_ends_the_call(call: BlockingCall) -> None:
    """The kernel may give a process's signal to any of its threads."""
    with forked(_be_interrupted, call, True, _interrupt_this_thread) as child:
        child.expect("interrupted")
        child.expect("usable")


@both_storages
@all_blocking_calls
def test_a_signal_whose_handler_returns_does_not_end_the_call(
    call: BlockingCall, shared: bool
) -> None:
    with forked(_be_signalled, call, shared) as child:
        child.expect(True)


@both_storages
@pytest.mark.parametrize(
    "call", [call for call in BLOCKING_CALLS if call.takes_timeout], ids=lambda call: call.name
)
def test_signals_do_not_put_off_the_deadline(call: BlockingCall, shared: bool) -> None:
    with forked(_be_late_amid_signals, call, shared) as child:
        child.expect("late")


@both_storages
def test_an_interrupted_waiter_leaves_the_notification_to_the_next(shared: bool) -> None:
    with forked(_leave_notification, shared) as child:
        child.expect("the other was notified")


@both_storages
@pytest.mark.parametrize("of", [treadle.Lock, treadle.RLock])
def test_a_waiter_that_is_interrupted_as_it_takes_the_lock_again_holds_it(
    of: Callable[..., Any], shared: bool
) -> None:
    """As with threading.Condition: else the end of the with block would release what it has not."""
    with forked(_be_interrupted_after_notification, of, shared) as child:
        child.expect("it held the lock")
        child.expect("the other was notified")


# ---- What the children do


def _be_interrupted(
    line: Connection, call: BlockingCall, shared: bool, interrupt: Callable[[], None]
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    other = OtherThread()
    thing = other.do(call.make, shared)
    other.start(_once_main_is_parked, call.parks_on(thing), interrupt)
    with pytest.raises(KeyboardInterrupt):
        call.block(thing, None)
    line.send("interrupted")
    other.do(call.unblock, thing)
    call.usable(thing)
    other.do(call.usable, thing)
    line.send("usable")


def _once_main_is_parked(thing: Any, act: Callable[[], None]) -> None:
    until_parked(thing, os.getpid())  # a main thread's id is its process's
    act()


def _interrupt_process() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def _interrupt_this_thread() -> None:
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)


class _Count:
    """A signal handler that counts, and returns."""

    def __init__(self, number: int) -> None:
        self.value = 0
        signal.signal(number, self._handle)

    def _handle(self, number: int, frame: object) -> None:
        self.value += 1


def _be_signalled(line: Connection, call: BlockingCall, shared: bool) -> None:
    handled = _Count(signal.SIGUSR1)
    other = OtherThread()
    thing = other.do(call.make, shared)

    def signal_thrice_then_unblock() -> None:
        for n in range(3):
            until_parked(call.parks_on(thing), os.getpid())
            os.kill(os.getpid(), signal.SIGUSR1)
            until(lambda n=n: handled.value > n)
        call.unblock(thing)

    signalling = other.start(signal_thrice_then_unblock)
    answer = call.block(thing, None)
    signalling.result()
    assert handled.value == 3
    line.send(answer)


def _be_late_amid_signals(line: Connection, call: BlockingCall, shared: bool) -> None:
    seconds = 0.05
    while not _is_late_amid_signals(call, shared, seconds):
        seconds *= 4  # the machine was too busy for two signals in that time
    line.send("late")


def _is_late_amid_signals(call: BlockingCall, shared: bool, seconds: float) -> bool:
    handled = _Count(signal.SIGUSR1)
    other = OtherThread()
    thing = other.do(call.make, shared)
    late = False

    def signal_until_late() -> None:
        while not late:
            until(lambda: late or is_parked(call.parks_on(thing), os.getpid()))
            os.kill(os.getpid(), signal.SIGUSR1)

    signalling = other.start(signal_until_late)
    began = time.monotonic()
    try:
        assert call.block(thing, seconds) is False
    except Exception as error:
        assert type(error) is call.too_late, error
    late = True
    assert time.monotonic() - began >= seconds
    signalling.result()
    return handled.value > 1


def _leave_notification(line: Connection, shared: bool) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    condition = treadle.Condition(shared=shared)
    second, third = OtherThread(), OtherThread()
    waiting = third.start(_let_second_wait_then_interrupt, condition, second)
    with pytest.raises(KeyboardInterrupt), condition:
        condition.wait()
    with condition:
        condition.notify(1)
    assert waiting.result().result() is True
    line.send("the other was notified")


def _let_second_wait_then_interrupt(
    condition: treadle.Condition, second: OtherThread
) -> Future[bool]:
    until_parked(condition, os.getpid())
    waiting = second.start(_wait, condition)
    until_parked(condition, second.native_id)
    _interrupt_process()
    return waiting


def _wait(condition: treadle.Condition) -> bool:
    with condition:
        return condition.wait()


def _be_interrupted_after_notification(
    line: Connection, of: Callable[..., Any], shared: bool
) -> None:
    events = []

    def interrupt(number: int, frame: object) -> None:
        events.append("interrupting")
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    lock = of(shared=shared)
    condition = treadle.Condition(lock, shared=shared)
    second, third = OtherThread(), OtherThread()

    def notify_and_interrupt() -> Future[bool]:
        until_parked(condition, os.getpid())
        waiting = second.start(_wait, condition)
        until_parked(condition, second.native_id)
        with condition:
            condition.notify(1)
            until_parked(lock, os.getpid())
            _interrupt_process()
            until(lambda: events)
            until_parked(lock, os.getpid())
            events.append("released")
        return waiting

    releasing = third.start(notify_and_interrupt)
    with pytest.raises(KeyboardInterrupt), condition:
        try:
            condition.wait()
        finally:
            events.append("interrupted")
    assert events == ["interrupting", "released", "interrupted"]
    line.send("it held the lock")
    assert releasing.result().result() is True
    line.send("the other was notified")
