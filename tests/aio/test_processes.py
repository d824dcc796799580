"""Tasks of one process and threads and tasks of another wait for each other."""

from __future__ import annotations

from typing import Any

import pytest

import treadle
from tests.aio.kinds import NAMED, WAITS, TaskWait
from tests.aio.loops import Loop, gather, installed, loop_named, settle, sleep, spawn
from tests.queue.workers import Start

_SHARED = [wait.name for wait in WAITS if wait.shared_too]
_ROUNDS = 5

Things = dict[str, Any]


def _things() -> Things:
    return {name: NAMED[name].make(True) for name in _SHARED}


def _rounds(wait: TaskWait) -> int:
    return _ROUNDS if wait.name not in ("Event.wait", "Latch.wait") else 1


def let_through(
    things: Things, held: treadle.Semaphore, go: treadle.Semaphore, done: treadle.Semaphore
) -> None:
    """The other process, by its main thread."""
    for name, thing in things.items():
        wait = NAMED[name]
        for _ in range(_rounds(wait)):
            wait.hold(thing)
            held.release()
            go.acquire()
            wait.end(thing)
            done.acquire()
        held.release()


def let_through_by_task(
    loop: Loop,
    things: Things,
    held: treadle.Semaphore,
    go: treadle.Semaphore,
    done: treadle.Semaphore,
) -> None:
    """The other process, by a task."""

    async def main() -> None:
        for name, thing in things.items():
            wait = NAMED[name]
            for _ in range(_rounds(wait)):
                await wait.hold_by_task(thing)
                held.release()
                await go.aio.acquire()
                await wait.end_by_task(thing)
                await done.aio.acquire()
            held.release()

    loop.run(main())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fork", "spawn"])
@pytest.mark.parametrize("by", ["thread", "asyncio", "trio"])
def test_another_process_lets_tasks_through(start: Start, kind: str, by: str, loop: Loop) -> None:
    things = _things()
    held, go, done = (treadle.Semaphore(0) for _ in range(3))
    if by == "thread":
        worker = start(kind, let_through, things, held, go, done)
    else:
        worker = start(kind, let_through_by_task, loop_named(by), things, held, go, done)

    async def main() -> None:
        for name, thing in things.items():
            wait = NAMED[name]
            for _ in range(_rounds(wait)):
                await held.aio.acquire()
                task = spawn(wait.use(thing))
                await settle()
                assert not task.done(), name
                go.release()
                assert await task is True
                done.release()
            await held.aio.acquire()
            wait.settled(thing)

    loop.run(main())
    worker.join()


def use_many(loop: Loop, name: str, thing: Any, count: int) -> None:
    """The other process: tasks that all wait at once."""

    async def main() -> None:
        assert all(await gather(*(NAMED[name].use(thing) for _ in range(count))))

    loop.run(main())


@pytest.mark.slow
@pytest.mark.parametrize("name", _SHARED)
def test_tasks_of_several_processes_wait_for_one_object(start: Start, name: str) -> None:
    wait = NAMED[name]
    thing = wait.make(True)
    wait.hold(thing)
    workers = [start("fork", use_many, loop, name, thing, 8) for loop in installed()]
    for _ in range(8 * len(workers) if wait.one_each else 1):
        wait.end(thing)
    for worker in workers:
        worker.join()
    wait.settled(thing)


def cancel_at_random(loop: Loop, name: str, thing: Any, seed: int, count: int) -> None:
    """The other process: of its tasks, which wait at once, all are cancelled and begun anew."""
    import random

    dice = random.Random(seed)

    async def main() -> None:
        left = count
        while left > 0:
            tasks = [spawn(NAMED[name].use(thing)) for _ in range(min(left, 4))]
            await sleep(dice.random() * 0.002)
            for task in tasks:
                task.cancel()
            ends = await gather(*tasks, return_exceptions=True)
            left -= sum(end is True for end in ends)

    loop.run(main())


@pytest.mark.slow
@pytest.mark.parametrize("name", [wait.name for wait in WAITS if wait.one_each and wait.shared_too])
def test_cancellations_in_several_processes_lose_nothing(start: Start, name: str) -> None:
    wait = NAMED[name]
    thing = wait.make(True)
    workers = [
        start("fork", cancel_at_random, loop, name, thing, seed, 30)
        for seed, loop in enumerate(installed())
    ]
    for _ in range(30 * len(workers)):
        wait.end(thing)
    for worker in workers:
        worker.join()
    wait.settled(thing)
