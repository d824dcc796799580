"""Every wait of a task, in one loop, between loops, and between threads and tasks."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest

import treadle
from tests.aio.kinds import TaskWait, every_wait
from tests.aio.loops import (
    Loop,
    OtherLoop,
    gather,
    outcome,
    settle,
    spawn,
    spawn_in_turn,
    threadsafe_call,
)
from tests.sync.kinds import both_storages
from tests.sync.threads import OtherThread


@every_wait
def test_a_task_waits_until_it_is_let_through(wait: TaskWait, shared: bool, loop: Loop) -> None:
    async def main() -> None:
        thing = wait.make(shared)
        wait.hold(thing)
        task = spawn(wait.use(thing))
        await settle()
        assert not task.done()
        wait.end(thing)
        assert await task is True
        wait.settled(thing)

    loop.run(main())


@every_wait
def test_a_task_that_need_not_wait_does_not(wait: TaskWait, shared: bool, loop: Loop) -> None:
    async def main() -> None:
        thing = wait.make(shared)
        wait.hold(thing)
        wait.end(thing)
        with pytest.raises(StopIteration) as returned:
            wait.use(thing).__await__().send(None)
        assert returned.value.value is True
        wait.settled(thing)

    loop.run(main())


@every_wait
@pytest.mark.parametrize("seconds", [0, 0.01])
def test_a_task_waits_no_longer_than_it_wants(
    wait: TaskWait, shared: bool, seconds: float, loop: Loop
) -> None:
    async def main() -> None:
        thing = wait.make(shared)
        wait.hold(thing)
        if wait.too_late is None:
            assert await wait.use(thing, seconds) is False
        else:
            with pytest.raises(wait.too_late):
                await wait.use(thing, seconds)
        wait.end(thing)
        assert await wait.use(thing, 30) is True
        wait.settled(thing)

    loop.run(main())


@every_wait
def test_tasks_are_let_through_as_they_came(wait: TaskWait, shared: bool, loop: Loop) -> None:
    async def main() -> None:
        thing = wait.make(shared)
        came: list[int] = []

        async def come(number: int) -> None:
            await wait.use(thing)
            came.append(number)

        wait.hold(thing)
        tasks = await spawn_in_turn(*(come(number) for number in range(5)))
        await settle()
        for number in range(5 if wait.one_each else 1):
            wait.end(thing)
            if wait.one_each:
                await tasks[number]
        await gather(*tasks)
        if wait.together and loop.name == "trio":  # which runs those that are ready in any order
            came.sort()
        assert came == [0, 1, 2, 3, 4]
        wait.settled(thing)

    loop.run(main())


@every_wait
def test_a_thread_lets_a_task_through(
    wait: TaskWait, shared: bool, other: OtherThread, loop: Loop
) -> None:
    async def main() -> None:
        thing = wait.make(shared)
        for _ in range(10 if wait.one_each else 1):
            other.do(wait.hold, thing)
            task = spawn(wait.use(thing))
            await settle()
            other.start(wait.end, thing)
            assert await task is True
        wait.settled(thing)

    loop.run(main())


@every_wait
def test_a_task_lets_a_task_of_another_loop_through(
    wait: TaskWait, shared: bool, other_loop: OtherLoop, loop: Loop
) -> None:
    async def main() -> None:
        thing = wait.make(shared)
        for _ in range(10 if wait.one_each else 1):
            other_loop.do(wait.hold_by_task, thing)
            task = spawn(wait.use(thing))
            await settle()
            other_loop.start(wait.end_by_task, thing)
            assert await task is True
        wait.settled(thing)

    loop.run(main())


@every_wait
def test_a_task_lets_a_task_of_its_loop_through(wait: TaskWait, shared: bool, loop: Loop) -> None:
    async def main() -> None:
        thing = wait.make(shared)
        await wait.hold_by_task(thing)
        task = spawn(wait.use(thing))
        await settle()
        assert not task.done()
        await wait.end_by_task(thing)
        assert await task is True
        wait.settled(thing)

    loop.run(main())


@every_wait
def test_tasks_of_several_loops_wait_at_once(
    wait: TaskWait, shared: bool, other_loop: OtherLoop, other: OtherThread, loop: Loop
) -> None:
    async def main() -> None:
        thing = wait.make(shared)
        other.do(wait.hold, thing)
        there: list[Any] = [other_loop.spawn(wait.use(thing)) for _ in range(4)]
        here = [spawn(wait.use(thing)) for _ in range(4)]
        await settle()
        for _ in range(8 if wait.one_each else 1):
            other.start(wait.end, thing)
        assert await gather(*here, *map(outcome, there)) == [True] * 8
        other.do(int)  # it has ended what it was told
        wait.settled(thing)

    loop.run(main())


@every_wait
def test_a_view_waits_in_any_loop(wait: TaskWait, shared: bool, loop: Loop) -> None:
    thing = wait.make(shared)
    for _ in range(2 if wait.one_each else 1):
        wait.hold(thing)

        async def main() -> None:
            task = spawn(wait.use(thing))
            await settle()
            threadsafe_call()(partial(wait.end, thing))
            assert await task is True

        loop.run(main())
    wait.settled(thing)


@every_wait
@pytest.mark.parametrize(
    ("timeout", "error"), [(math.nan, ValueError), (math.inf, OverflowError), ("1", TypeError)]
)
def test_a_timeout_that_is_none_is_refused(
    timeout: Any, error: type[Exception], wait: TaskWait, shared: bool, loop: Loop
) -> None:
    """As by the calls that block; else it would be a wait for ever, or an error of the loop's."""
    thing = wait.make(shared)
    wait.hold(thing)
    with pytest.raises(error):
        loop.run(wait.use(thing, timeout))
    wait.end(thing)
    assert loop.run(wait.use(thing)) is True
    wait.settled(thing)


@both_storages
def test_a_timeout_is_by_the_clock_of_the_trio_run(shared: bool) -> None:
    """Which a test of the user's may replace."""
    trio = pytest.importorskip("trio")
    testing = pytest.importorskip("trio.testing")

    async def main() -> None:
        begun = trio.current_time()
        assert await treadle.Event(shared=shared).aio.wait(1e6) is False
        assert trio.current_time() - begun >= 1e6

    trio.run(main, clock=testing.MockClock(autojump_threshold=0))
