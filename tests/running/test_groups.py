"""Group: nothing outlives its block, one failure cancels the rest, and errors arrive as a group."""

from __future__ import annotations

import asyncio
import os
import signal
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
    ignore_terminate,
    work_in_python,
)
from tests.sync.threads import until


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
        workers.append(group.thread(work_in_python))
        workers.append(group.thread(group.cancelled.wait))
        getattr(group, failing)(fail)

    (error,) = caught_by(use, body)
    assert isinstance(error, ValueError)
    assert not any(worker.is_alive() for worker in workers)
    assert workers[0].exitcode == -signal.SIGTERM
    assert capfd.readouterr().err == ""  # it is raised, and not printed as well


@both
def test_the_failure_of_a_process_has_its_traceback_there_as_cause(use: Use) -> None:
    (error,) = caught_by(use, lambda group: group.process(fail))
    assert isinstance(error.__cause__, treadle.RemoteTraceback)
    assert "in fail" in str(error.__cause__)


@both
def test_a_death_is_a_failure(use: Use) -> None:
    def body(group: Group) -> None:
        group.thread(group.cancelled.wait)
        os.kill(group.process(time.sleep, 1000).pid or 0, signal.SIGKILL)

    (error,) = caught_by(use, body)
    assert isinstance(error, treadle.WorkerDiedError)


@both
def test_what_its_body_raises_cancels_all(use: Use) -> None:
    workers: list[Any] = []

    def body(group: Group) -> None:
        workers.extend([group.process(time.sleep, 1000), group.thread(work_in_python)])
        fail("in the body")

    (error,) = caught_by(use, body)
    assert str(error) == "in the body"
    assert not any(worker.is_alive() for worker in workers)


@both
def test_several_errors_arrive_together(use: Use) -> None:
    barrier = treadle.Barrier(2, shared=False)

    def fail_together(what: str) -> None:
        barrier.wait()
        fail(what)

    def body(group: Group) -> None:
        for what in "ab":
            group.thread(fail_together, what)

    errors = caught_by(use, body)
    assert {str(error) for error in errors} <= {"a", "b"}
    assert errors


@pytest.mark.slow
@both
def test_a_process_that_ignores_it_is_killed(use: Use) -> None:
    ready = treadle.Event()
    workers: list[Any] = []

    def body(group: Group) -> None:
        workers.append(group.process(ignore_terminate, ready))
        ready.wait()
        group.cancel()

    asyncio.run(use(body))
    assert workers[0].exitcode == -signal.SIGKILL


@both
def test_cancelled_from_within(use: Use) -> None:
    """That is no failure, and nothing more starts."""

    def body(group: Group) -> None:
        group.process(time.sleep, 1000)
        group.thread(work_in_python)
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
        group.thread(fail)
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
    async def fail_too() -> None:
        fail()

    async def main() -> None:
        async with Group() as group:
            workers.append(group.process(time.sleep, 1000))
            tasks.append(group.task(asyncio.sleep(1000)))
            if failing == "task":
                group.task(fail_too())
            else:
                getattr(group, failing)(fail)
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
            workers.extend([group.process(time.sleep, 1000), group.thread(work_in_python)])

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
                fail("while it cleans up")

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(main())
    assert [str(error) for error in caught.value.exceptions] == ["while it cleans up"]


def test_a_cancelled_group_whose_loop_is_over_can_be_cancelled_again() -> None:
    groups: list[Group] = []
    asyncio.run(async_with(groups.append))
    groups[0].cancel()
