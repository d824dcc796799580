"""What refers to a task that waits: asyncio itself does only weakly."""

from __future__ import annotations

import asyncio
import gc
import weakref

from tests.aio.kinds import TaskWait, every_wait
from tests.aio.loops import settle, until


@every_wait
def test_a_task_that_nobody_refers_to_is_woken(wait: TaskWait, shared: bool) -> None:
    async def main() -> None:
        thing = wait.make(shared)
        wait.hold(thing)
        ended: list[bool] = []

        async def come() -> None:
            ended.append(await wait.use(thing))

        asyncio.create_task(come())  # noqa: RUF006  that is the point
        await settle()
        gc.collect()
        wait.end(thing)
        await until(lambda: ended or not asyncio.all_tasks() - {asyncio.current_task()})
        assert ended == [True]
        wait.settled(thing)

    asyncio.run(main())


@every_wait
def test_a_task_ends_with_its_loop(wait: TaskWait, shared: bool) -> None:
    thing = wait.make(shared)
    wait.hold(thing)
    loop = asyncio.new_event_loop()
    task = loop.create_task(_use(wait, thing))
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.run_until_complete(settle())
    assert not task.done()
    loop.close()
    remains = weakref.ref(task)
    del task, loop
    gc.collect()
    assert remains() is None
    wait.end(thing)


async def _use(wait: TaskWait, thing: object) -> None:
    await wait.use(thing)
