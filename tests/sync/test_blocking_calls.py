"""What holds for every call that blocks: it ends when it is due, and costs nothing until then."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from typing import Any

import pytest

from tests.sync.children import forked
from tests.sync.kinds import BLOCKING_CALLS, BlockingCall, all_blocking_calls, both_storages
from tests.sync.threads import OtherThread, until, until_parked

with_timeout = pytest.mark.parametrize(
    "call", [call for call in BLOCKING_CALLS if call.takes_timeout], ids=lambda call: call.name
)


@both_storages
@all_blocking_calls
def test_a_thread_is_woken(call: BlockingCall, shared: bool, other: OtherThread) -> None:
    thing = call.make(shared)
    blocked = other.start(call.block, thing, None)
    until_parked(call.parks_on(thing), other.native_id)
    assert not blocked.done()
    call.unblock(thing)
    assert blocked.result() is True
    call.usable(thing)


@all_blocking_calls
def test_a_process_is_woken(call: BlockingCall) -> None:
    thing = call.make(True)
    waiting_before = _waiting(call, thing)
    with forked(_block, call, thing) as child:
        until(lambda: _waiting(call, thing) > waiting_before)
        assert not child.line.poll()
        call.unblock(thing)
        child.expect(True)
        child.join()
        call.usable(thing)


@pytest.mark.parametrize(
    "call",
    [call for call in BLOCKING_CALLS if not call.only_its_owner_unblocks],
    ids=lambda call: call.name,
)
def test_a_thread_is_woken_by_another_process(call: BlockingCall, other: OtherThread) -> None:
    thing = call.make(True)
    blocked = other.start(call.block, thing, None)
    until_parked(call.parks_on(thing), other.native_id)
    with forked(_unblock, call, thing):
        assert blocked.result() is True
    call.usable(thing)


@both_storages
@with_timeout
def test_a_timeout_ends_the_wait_and_not_before_its_time(
    call: BlockingCall, shared: bool, other: OtherThread
) -> None:
    for timeout in (0, 0.02):
        thing = other.do(call.make, shared)
        began = time.monotonic()
        _be_late(call, thing, timeout)
        elapsed = time.monotonic() - began
        # Not about speed: it is this timeout that has ended the wait.
        assert timeout <= elapsed < timeout + 10


@pytest.mark.slow
def test_a_blocked_waiter_uses_no_cpu() -> None:
    """Less than a thousandth of a core, while the one whom it waits for is another process."""
    seconds = 3.0
    with forked(_make_all) as child:
        made = child.hear()
        calls = [call for call in BLOCKING_CALLS if call.takes_timeout]
        threads = [OtherThread(call.name) for call in calls]
        running = [
            thread.start(_cpu_share, call, thing, seconds)
            for thread, call, thing in zip(threads, calls, made, strict=True)
        ]
        shares = {call.name: run.result() for call, run in zip(calls, running, strict=True)}
        child.say("enough")
    for thread in threads:
        thread.end()
    assert max(shares.values()) < 0.001, shares


def _be_late(call: BlockingCall, thing: Any, timeout: float) -> None:
    if call.too_late is False:
        assert call.block(thing, timeout) is False
    else:
        with pytest.raises(call.too_late):
            call.block(thing, timeout)


def _waiting(call: BlockingCall, thing: Any) -> int:
    statistics = call.parks_on(thing).statistics()
    waiting: int = statistics.waiting
    return waiting


def _block(line: Connection, call: BlockingCall, thing: Any) -> None:
    line.send(call.block(thing, None))


def _unblock(line: Connection, call: BlockingCall, thing: Any) -> None:
    call.unblock(thing)


def _make_all(line: Connection) -> None:
    made = [call.make(True) for call in BLOCKING_CALLS if call.takes_timeout]
    line.send(made)
    line.recv()


def _cpu_share(call: BlockingCall, thing: Any, seconds: float) -> float:
    cpu, clock = time.thread_time(), time.monotonic()
    _be_late(call, thing, seconds)
    elapsed = time.monotonic() - clock
    assert elapsed >= seconds
    return (time.thread_time() - cpu) / elapsed
