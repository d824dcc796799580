"""Group: members that go wrong, start others, end themselves, or have groups of their own."""

from __future__ import annotations

import asyncio
import functools
import signal
import sys
import threading
import time
from typing import Any

import pytest

import treadle
from tests.running.groups import (
    Group,
    Use,
    async_with,
    both,
    caught_by,
    fail,
    with_,
)
from tests.sync.threads import OtherThread, is_parked, until

# ---- What goes wrong with one member holds up none


@both
def test_a_process_that_the_body_closes(use: Use) -> None:
    """Its failure counts all the same."""

    def body(group: Group) -> None:
        for function in (int, fail):
            process = group.process(function)
            process.join()
            process.close()

    (error,) = caught_by(use, body)
    assert str(error) == "no"


class Exiting:
    def __reduce__(self) -> Any:
        return sys.exit, (3,)


@both
def test_a_result_whose_rebuilding_exits(use: Use) -> None:
    (error,) = caught_by(use, lambda group: group.process(Exiting))
    assert isinstance(error, treadle.ItemError)


@both
def test_a_member_whose_end_cannot_be_understood(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise LookupError

    monkeypatch.setattr(treadle.Process, "exception", fail)
    (error,) = caught_by(use, lambda group: group.process(int))
    assert isinstance(error, LookupError)


@both
def test_a_process_that_cannot_be_watched_is_killed(
    use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes: list[treadle.Process] = []

    def fail(self: treadle.Process) -> int:
        processes.append(self)
        raise OSError("too many open files")

    def body(group: Group) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(treadle.Process, "_opened_end", fail)
            with pytest.raises(OSError, match="too many"):
                group.process(time.sleep, 1000)

    asyncio.run(use(body))
    assert processes[0].exitcode == -signal.SIGKILL


@both
def test_a_member_that_cannot_be_started(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block goes on without it."""

    def fail(*_: object) -> None:
        raise OSError("no")

    def body(group: Group) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(treadle.Process, "start", fail)
            with pytest.raises(OSError, match="no"):
                group.process(int)
        with monkeypatch.context() as patch:
            patch.setattr(threading, "_start_new_thread", fail)
            with pytest.raises(OSError, match="no"):
                group.thread(int)
        members.append(group.thread(int))

    members: list[Any] = []
    asyncio.run(use(body))
    assert members[0].result() == 0


def test_cancelled_by_two_threads_at_once_each_member_is_stopped_once(
    monkeypatch: pytest.MonkeyPatch, other: OtherThread
) -> None:
    timers: list[Any] = []
    asked: list[Any] = []
    terminate = treadle.Process.terminate

    def counted(*args: Any) -> treadle.Timer:
        timers.append(treadle.Timer(*args))
        return timers[-1]

    def terminate_amid_another_cancel(self: treadle.Process) -> None:
        if not asked:
            asked.append(None)
            asked[0] = cancelling = other.start(group.cancel)
            until(lambda: cancelling.done() or is_parked(group._changing, other.native_id))
        terminate(self)

    monkeypatch.setattr("treadle._running.groups.Timer", counted)
    monkeypatch.setattr(treadle.Process, "terminate", terminate_amid_another_cancel)
    with Group() as group:
        group.process(signal.pause)
        group.cancel()
        asked[0].result()
    assert len(timers) == 1


# ---- Members that start others, end themselves, or have groups of their own


@both
def test_a_member_starts_others_when_the_body_has_ended(use: Use) -> None:
    """In an ``async with``, tasks do; its threads have no loop to start one from."""
    started: list[Any] = []

    async def start_later(group: Group) -> None:
        started.append(group.thread(pow, 2, 3))

    def start(group: Group) -> None:
        until(lambda: group._over)
        started.extend([group.thread(pow, 2, 3), group.process(pow, 2, 3)])

    def body(group: Group) -> None:
        if group._loop is None:
            group.thread(start, group)
        else:
            group.task(start_later(group))

    asyncio.run(use(body))
    assert {worker.result() for worker in started} == {8}


@both
@pytest.mark.parametrize("kind", ["thread", "process"])
@pytest.mark.parametrize("code", [None, 0])
def test_a_member_that_exits_with_success_has_not_failed(
    use: Use, kind: str, code: int | None
) -> None:
    members: list[Any] = []
    asyncio.run(use(lambda group: members.append(getattr(group, kind)(sys.exit, code))))
    assert members[0].result() is None
    assert members[0].exception() is None


@both
@pytest.mark.parametrize(
    ("kind", "error"), [("thread", treadle.TaskError), ("process", treadle.WorkerDiedError)]
)
def test_a_member_that_exits_otherwise_has_failed(
    use: Use, kind: str, error: type[Exception]
) -> None:
    (raised,) = caught_by(use, lambda group: getattr(group, kind)(sys.exit, 3))
    assert isinstance(raised, error)


@both
@pytest.mark.parametrize("kind", ["thread", "process"])
def test_a_coroutine_function_is_refused(use: Use, kind: str) -> None:
    def body(group: Group) -> None:
        for function in (_asleep, functools.partial(_asleep)):
            with pytest.raises(TypeError, match=r"coroutine function.* group\.task\("):
                getattr(group, kind)(function)

    asyncio.run(use(body))


async def _asleep() -> None:
    await asyncio.sleep(1000)


@both
@pytest.mark.parametrize("inner", [with_, async_with], ids=["with", "async with"])
def test_cancelling_a_group_cancels_those_that_its_threads_are_in(use: Use, inner: Use) -> None:
    """Whose blocks wait, as for a process, or for ever."""
    waiting = treadle.Event(shared=False)
    groups: list[Group] = []
    members: list[Any] = []

    def inner_body(group: Group) -> None:
        groups.append(group)
        members.append(group.process(time.sleep, 1000))
        members.append(group.thread(group.cancelled.wait))
        waiting.set()

    def body(group: Group) -> None:
        members.append(group.thread(lambda: asyncio.run(inner(inner_body))))
        waiting.wait()
        group.cancel()

    asyncio.run(use(body))
    assert groups[0].cancelled.is_set()
    assert not any(member.is_alive() for member in members)
