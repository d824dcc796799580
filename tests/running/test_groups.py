"""Group: nothing outlives its block, one failure cancels the rest, and errors arrive as a group."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import treadle
from tests.sync.threads import OtherThread, is_parked, until

Group = treadle.Group


async def _with(body: Callable[[Group], Any]) -> None:
    with Group() as group:
        body(group)


async def _async_with(body: Callable[[Group], Any]) -> None:
    async with Group() as group:
        body(group)


both = pytest.mark.parametrize("use", [_with, _async_with], ids=["with", "async with"])
Use = Callable[[Callable[[Group], Any]], Awaitable[None]]


def _fail(what: str = "no") -> None:
    raise ValueError(what)


def _work_in_python() -> None:
    while True:
        time.sleep(0.001)


def _ignore_terminate(ready: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.set()
    while True:
        signal.pause()


def _caught(use: Use, body: Callable[[Group], Any]) -> list[BaseException]:
    """What the block raised, as a group."""
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(use(body))
    return list(caught.value.exceptions)


@both
def test_it_waits_for_all(use: Use) -> None:
    workers: list[Any] = []

    def body(group: Group) -> None:
        workers.extend(group.thread(pow, 2, n) for n in range(3))
        workers.append(group.process(pow, 2, 10))

    asyncio.run(use(body))
    assert [worker.result(timeout=0) for worker in workers] == [1, 2, 4, 1024]
    assert not any(worker.is_alive() for worker in workers)


@both
def test_it_may_be_empty(use: Use) -> None:
    asyncio.run(use(lambda group: None))


@both
@pytest.mark.parametrize("failing", ["thread", "process"])
def test_one_failure_cancels_the_rest(
    use: Use, failing: str, capfd: pytest.CaptureFixture[str]
) -> None:
    workers: list[Any] = []

    def body(group: Group) -> None:
        workers.append(group.process(time.sleep, 1000))
        workers.append(group.thread(_work_in_python))
        workers.append(group.thread(group.cancelled.wait))
        getattr(group, failing)(_fail)

    (error,) = _caught(use, body)
    assert isinstance(error, ValueError)
    assert not any(worker.is_alive() for worker in workers)
    assert workers[0].exitcode == -signal.SIGTERM
    assert capfd.readouterr().err == ""  # it is raised, and not printed as well


@both
def test_the_failure_of_a_process_has_its_traceback_there_as_cause(use: Use) -> None:
    (error,) = _caught(use, lambda group: group.process(_fail))
    assert isinstance(error.__cause__, treadle.RemoteTraceback)
    assert "in _fail" in str(error.__cause__)


@both
def test_a_death_is_a_failure(use: Use) -> None:
    def body(group: Group) -> None:
        group.thread(group.cancelled.wait)
        os.kill(group.process(time.sleep, 1000).pid or 0, signal.SIGKILL)

    (error,) = _caught(use, body)
    assert isinstance(error, treadle.WorkerDiedError)


@both
def test_what_its_body_raises_cancels_all(use: Use) -> None:
    workers: list[Any] = []

    def body(group: Group) -> None:
        workers.extend([group.process(time.sleep, 1000), group.thread(_work_in_python)])
        _fail("in the body")

    (error,) = _caught(use, body)
    assert str(error) == "in the body"
    assert not any(worker.is_alive() for worker in workers)


@both
def test_several_errors_arrive_together(use: Use) -> None:
    barrier = treadle.Barrier(2, shared=False)

    def fail_together(what: str) -> None:
        barrier.wait()
        _fail(what)

    def body(group: Group) -> None:
        for what in "ab":
            group.thread(fail_together, what)

    errors = _caught(use, body)
    assert {str(error) for error in errors} <= {"a", "b"}
    assert errors


@pytest.mark.slow
@both
def test_a_process_that_ignores_it_is_killed(use: Use) -> None:
    ready = treadle.Event()
    workers: list[Any] = []

    def body(group: Group) -> None:
        workers.append(group.process(_ignore_terminate, ready))
        ready.wait()
        group.cancel()

    asyncio.run(use(body))
    assert workers[0].exitcode == -signal.SIGKILL


@both
def test_cancelled_from_within(use: Use) -> None:
    """That is no failure, and nothing more starts."""

    def body(group: Group) -> None:
        group.process(time.sleep, 1000)
        group.thread(_work_in_python)
        group.cancel()
        for start in (group.thread, group.process):
            with pytest.raises(RuntimeError, match="cancelled: it starts nothing more"):
                start(print)

    asyncio.run(use(body))


@both
def test_it_is_good_for_one_block(use: Use) -> None:
    groups: list[Group] = []
    asyncio.run(use(groups.append))
    with pytest.raises(RuntimeError, match="make another"), groups[0]:
        pass
    with pytest.raises(RuntimeError):
        groups[0].thread(print)
    with pytest.raises(RuntimeError, match="within its block"):
        Group().process(print)


def test_a_failure_cancels_the_others_while_the_body_is_busy() -> None:
    """Else a body that waits for them would wait for ever."""
    with pytest.raises(ExceptionGroup), Group() as group:
        process = group.process(time.sleep, 1000)
        group.thread(_fail)
        until(lambda: not process.is_alive())


def test_tasks_need_an_async_with() -> None:
    with Group() as group, pytest.raises(RuntimeError, match="'async with'"):
        group.task(asyncio.sleep(0))


# ---- Tasks


def test_tasks_threads_and_processes_together() -> None:
    async def main() -> list[Any]:
        async with Group() as group:
            workers = [group.thread(pow, 2, 3), group.process(pow, 2, 4)]
            task = group.task(asyncio.sleep(0, "slept"), name="sleeper")
            assert task.get_name() == "sleeper"
        return [task.result(), *(worker.result() for worker in workers)]

    assert asyncio.run(main()) == ["slept", 8, 16]


@pytest.mark.parametrize("failing", ["task", "thread", "process"])
def test_a_failure_cancels_tasks_and_the_body(failing: str) -> None:
    async def fail() -> None:
        _fail()

    async def main() -> None:
        async with Group() as group:
            workers.append(group.process(time.sleep, 1000))
            tasks.append(group.task(asyncio.sleep(1000)))
            if failing == "task":
                group.task(fail())
            else:
                getattr(group, failing)(_fail)
            try:
                await asyncio.sleep(1000)
            finally:
                seen.append("the body is cancelled")
        raise AssertionError

    async def outer() -> None:
        with pytest.raises(ExceptionGroup):
            await main()

    seen: list[str] = []
    workers: list[Any] = []
    tasks: list[Any] = []
    asyncio.run(outer())
    assert seen == ["the body is cancelled"]
    assert tasks[0].cancelled()
    assert workers[0].exitcode == -signal.SIGTERM


def test_who_cancels_the_task_of_the_block_cancels_all() -> None:
    async def main() -> None:
        async with Group() as group:
            workers.extend([group.process(time.sleep, 1000), group.thread(_work_in_python)])

    async def outer() -> None:
        task = asyncio.create_task(main())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    workers: list[Any] = []
    asyncio.run(outer())
    assert not any(worker.is_alive() for worker in workers)


def test_tasks_are_cancelled_from_another_thread() -> None:
    async def main() -> asyncio.Task[None]:
        async with Group() as group:
            task = group.task(asyncio.sleep(1000))
            threading.Thread(target=group.cancel).start()
        return task

    assert asyncio.run(main()).cancelled()


# ---- Ctrl-C


def test_ctrl_c_ends_all_and_is_raised_as_it_is() -> None:
    workers: list[Any] = []
    with pytest.raises(KeyboardInterrupt), Group() as group:
        workers.extend([group.process(time.sleep, 1000), group.thread(_work_in_python)])
        signal.raise_signal(signal.SIGINT)
    assert not any(worker.is_alive() for worker in workers)


def test_ctrl_c_while_the_block_waits() -> None:
    workers: list[Any] = []
    main = threading.main_thread().ident or 0

    def interrupt(over: treadle.Event) -> None:
        until(lambda: group._over)
        signal.pthread_kill(main, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), Group() as group:
        workers.append(group.process(time.sleep, 1000))
        group.thread(interrupt, treadle.Event(shared=False))
    assert not any(worker.is_alive() for worker in workers)


@both
def test_ctrl_c_while_a_thread_is_started(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not begin after its block, nor does it tell a descriptor that is somebody else's."""
    began: list[int] = []
    go, ended = threading.Event(), threading.Event()

    def run_late(target: Callable[..., None], args: Any) -> None:
        go.wait()
        try:
            target(*args)
        finally:
            ended.set()

    def body(group: Group) -> None:
        group.thread(int)  # so that the group has what it needs
        start = threading._start_new_thread  # type: ignore[attr-defined]

        def start_late(target: Callable[..., None], args: Any) -> None:
            start(run_late, (target, args))
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(threading, "_start_new_thread", start_late)
            group.thread(began.append, 1)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(use(body))
    go.set()
    ended.wait()
    assert not began


@both
def test_an_interrupt_while_a_process_is_started(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is started all the same, and does not outlive its block."""
    made: list[treadle.Process] = []
    make = treadle.Process._Popen  # type: ignore[attr-defined]
    main = threading.main_thread().ident or 0

    def make_and_interrupt(process: treadle.Process) -> Any:
        popen = make(process)
        made.append(process)
        signal.pthread_kill(main, signal.SIGUSR1)
        interrupted.wait()
        return popen

    def interrupt(*_: object) -> None:
        interrupted.set()
        raise InterruptedError

    interrupted = threading.Event()
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with monkeypatch.context() as patch, pytest.raises(ExceptionGroup):
            patch.setattr(treadle.Process, "_Popen", staticmethod(make_and_interrupt))
            asyncio.run(use(lambda group: group.process(time.sleep, 1000)))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert made[0].exitcode == -signal.SIGTERM


def test_a_process_is_started_as_if_by_the_thread_that_asks() -> None:
    """Which a fork's child sees, where it goes on in the thread that has started it."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")
    variable.set(3)

    def seen() -> tuple[int, str, bool, bool]:
        here = threading.current_thread()
        return variable.get(), here.name, here.daemon, here is threading.main_thread()

    with Group() as group:
        process = group.process(seen)
    assert process.result() == (3, "MainThread", False, True)


@both
def test_cancelled_by_a_signal_handler_while_a_process_is_started(
    use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = threading.main_thread().ident or 0
    start = treadle.Process.start
    members: list[treadle.Process] = []

    def start_late(self: treadle.Process) -> None:
        signal.pthread_kill(main, signal.SIGUSR1)
        groups[0].cancelled.wait()
        start(self)

    def body(group: Group) -> None:
        groups.append(group)
        members.append(group.process(time.sleep, 1000))

    groups: list[Group] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: groups[0].cancel())
    try:
        with monkeypatch.context() as patch:
            patch.setattr(treadle.Process, "start", start_late)
            asyncio.run(use(body))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert members[0].exitcode == -signal.SIGTERM


# ---- What goes wrong with one member holds up none


@both
def test_a_process_that_the_body_closes(use: Use) -> None:
    """Its failure counts all the same."""

    def body(group: Group) -> None:
        for function in (int, _fail):
            process = group.process(function)
            process.join()
            process.close()

    (error,) = _caught(use, body)
    assert str(error) == "no"


class Exiting:
    def __reduce__(self) -> Any:
        return sys.exit, (3,)


@both
def test_a_result_whose_rebuilding_exits(use: Use) -> None:
    (error,) = _caught(use, lambda group: group.process(Exiting))
    assert isinstance(error, treadle.ItemError)


@both
def test_a_member_whose_end_cannot_be_understood(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise LookupError

    monkeypatch.setattr(treadle.Process, "exception", fail)
    (error,) = _caught(use, lambda group: group.process(int))
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
    (raised,) = _caught(use, lambda group: getattr(group, kind)(sys.exit, 3))
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
@pytest.mark.parametrize("inner", [_with, _async_with], ids=["with", "async with"])
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


# ---- cancel() and the body of an async with


def test_cancel_ends_the_body_and_the_block_ends_normally() -> None:
    async def main() -> None:
        seen: list[str] = []
        async with Group() as group:
            process = group.process(time.sleep, 1000)
            asyncio.get_running_loop().call_soon(group.cancel)
            try:
                await asyncio.sleep(1000)
            finally:
                seen.append("the body is cancelled")
        assert seen
        assert process.exitcode == -signal.SIGTERM
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
        await asyncio.sleep(0)  # and nothing is left of it

    asyncio.run(main())


def test_cancel_by_the_body_itself_ends_it_where_it_waits_next() -> None:
    async def main() -> None:
        async with Group() as group:
            group.cancel()
            for start in (group.thread, group.process):
                with pytest.raises(RuntimeError, match="starts nothing more"):
                    start(print)
            with pytest.raises(RuntimeError, match="starts nothing more"):
                group.task(asyncio.sleep(0))
            await asyncio.sleep(1000)
            raise AssertionError

    asyncio.run(main())


def test_cancel_does_not_reach_beyond_its_block() -> None:
    async def main() -> None:
        async with Group() as group:
            group.cancel()
        await asyncio.sleep(0)
        group.cancel()
        await asyncio.sleep(0)
        async with asyncio.timeout(1000), Group() as outer:
            async with Group() as inner:
                inner.cancel()
                await asyncio.sleep(1000)
            assert not outer.cancelled.is_set()

    asyncio.run(main())


def test_who_cancels_the_task_of_a_cancelled_group_is_heard() -> None:
    async def main() -> None:
        async with Group() as group:
            group.cancel()
            await asyncio.sleep(1000)

    async def outer() -> None:
        task = asyncio.create_task(main())
        await asyncio.sleep(0)
        task.cancel()  # in the same step as the group's
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(outer())


def test_a_failure_in_a_cancelled_body_is_raised() -> None:
    async def main() -> None:
        async with Group() as group:
            group.cancel()
            try:
                await asyncio.sleep(1000)
            finally:
                _fail("while it cleans up")

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(main())
    assert [str(error) for error in caught.value.exceptions] == ["while it cleans up"]


def test_a_cancelled_group_whose_loop_is_over_can_be_cancelled_again() -> None:
    groups: list[Group] = []
    asyncio.run(_async_with(groups.append))
    groups[0].cancel()
