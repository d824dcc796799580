"""Condition for tasks: cancelled or not, ``wait`` comes back with the lock held."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext as _nothing
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

import treadle
from tests.aio.loops import (
    Loop,
    OtherLoop,
    cancellation,
    gather,
    settle,
    spawn,
    spawn_in_turn,
    steps,
)
from tests.sync.kinds import both_storages
from tests.sync.threads import OtherThread

every_lock = pytest.mark.parametrize("of", [treadle.Lock, treadle.RLock])


@both_storages
@every_lock
@pytest.mark.parametrize("notified", [True, False])
def test_cancelled_it_comes_back_with_the_lock_held(
    shared: bool, of: Any, notified: bool, loop: Loop
) -> None:
    async def main(between: int, contended: bool) -> None:
        condition = treadle.Condition(of(shared=shared), shared=shared)
        ends: list[BaseException] = []

        async def wait() -> None:
            async with condition.aio:
                try:
                    await condition.aio.wait()
                except cancellation() as error:
                    assert condition.aio._lock._is_owned()
                    assert not condition.acquire(False)
                    ends.append(error)
                    raise

        victim = spawn(wait())
        await settle()
        condition.acquire()
        if notified:
            condition.notify()
        if not contended:
            condition.release()
        await steps(between)
        victim.cancel()
        if contended:
            await steps(between)
            assert not victim.done()
            condition.release()
        cancelled = (await gather(victim, return_exceptions=True))[0]
        assert (cancelled is None) == (not ends)
        assert condition.acquire(False)
        assert condition.statistics().waiting == 0
        condition.release()

    for between in range(5):
        for contended in (True, False):
            loop.run(main(between, contended))


@both_storages
@every_lock
def test_cancelled_again_and_again_it_keeps_to_that(shared: bool, of: Any, loop: Loop) -> None:
    async def main() -> None:
        condition = treadle.Condition(of(shared=shared), shared=shared)

        async def wait() -> None:
            async with condition.aio:
                await condition.aio.wait()

        victim = spawn(wait())
        await settle()
        with condition:
            for _ in range(5):
                victim.cancel()
                await steps(3)
            assert not victim.done()
        with pytest.raises(asyncio.CancelledError):
            await victim
        assert condition.acquire(False)

    loop.run(main())


@both_storages
@pytest.mark.parametrize(
    ("of", "explicit"),
    # Whoever closes is not the task, which alone may release an RLock.
    [(treadle.Lock, True), (treadle.Lock, False), (treadle.RLock, False)],
)
@pytest.mark.parametrize("notified", [True, False])
def test_closed_while_another_has_the_lock_it_leaves_it_to_that_one(
    shared: bool, of: Any, notified: bool, explicit: bool, other: OtherThread, closable_loop: Loop
) -> None:
    """As when its loop has ended: it cannot wait, and may not release what it holds no longer."""
    condition = treadle.Condition(of(shared=shared), shared=shared)

    async def wait() -> None:
        if explicit:
            await condition.aio.acquire()
            try:
                await condition.aio.wait()
            finally:
                condition.aio.release()
        else:
            async with condition.aio, condition.aio if of is treadle.RLock else _nothing():
                await condition.aio.wait()

    loop = closable_loop.new_event_loop()
    waiting = wait()
    victim = loop.create_task(waiting)
    loop.run_until_complete(settle())
    other.do(condition.acquire)
    if notified:
        other.do(condition.notify)
        loop.run_until_complete(settle())  # it has come to where it waits for the lock
    waiting.close()
    assert not condition.acquire(False)
    assert condition.locked()
    other.do(condition.release)
    assert condition.acquire(False)
    assert not other.do(condition.acquire, False)
    condition.release()
    assert not condition.locked()
    assert condition.statistics().waiting == 0
    victim.cancel()
    with suppress(asyncio.CancelledError, RuntimeError):
        loop.run_until_complete(victim)
    loop.close()


@both_storages
def test_closed_while_it_holds_locks_it_frees_them(shared: bool, closable_loop: Loop) -> None:
    lock = treadle.RLock(shared=shared)
    read, written = treadle.RWLock(shared=shared), treadle.RWLock(shared=shared)

    async def hold() -> None:
        async with lock.aio, lock.aio, read.aio.read(), read.aio.read(), written.aio.write():
            await asyncio.get_running_loop().create_future()

    loop = closable_loop.new_event_loop()
    holding = hold()
    holder = loop.create_task(holding)
    loop.run_until_complete(settle())
    assert lock.statistics().recursion == 2
    holding.close()
    assert not lock.locked()
    assert read.readers == 0
    assert not written.locked()
    holder.cancel()
    with suppress(asyncio.CancelledError, RuntimeError):
        loop.run_until_complete(holder)
    loop.close()


@both_storages
@every_lock
def test_a_notification_of_one_that_is_cancelled_goes_to_the_next(
    shared: bool, of: Any, loop: Loop
) -> None:
    async def main(between: int) -> None:
        condition = treadle.Condition(of(shared=shared), shared=shared)

        async def wait() -> bool:
            async with condition.aio:
                return await condition.aio.wait()

        victim, heir = await spawn_in_turn(wait(), wait())
        await settle()
        with condition:
            condition.notify(1)
        await steps(between)
        victim.cancel()
        if (await gather(victim, return_exceptions=True))[0] is True:
            with condition:
                condition.notify(1)
        assert await heir is True

    for between in range(6):
        loop.run(main(between))


@both_storages
def test_a_recursion_is_given_up_whole_and_restored(
    shared: bool, other: OtherThread, loop: Loop
) -> None:
    async def main() -> None:
        condition = treadle.Condition(shared=shared)
        lock = condition._lock

        async def wait() -> None:
            async with condition.aio, condition.aio:
                assert await condition.aio.wait()
                assert lock.statistics().recursion == 2

        waiter = spawn(wait())
        await settle()
        other.do(_notify, condition)
        await waiter
        assert not lock.locked()

    loop.run(main())


def _notify(condition: treadle.Condition) -> None:
    with condition:
        condition.notify()


@both_storages
def test_notify_wakes_as_many_as_it_says(shared: bool, other_loop: OtherLoop, loop: Loop) -> None:
    async def main() -> None:
        condition = treadle.Condition(shared=shared)

        async def wait() -> bool:
            async with condition.aio:
                return await condition.aio.wait()

        tasks = await spawn_in_turn(*(wait() for _ in range(4)))
        await settle()
        async with condition.aio:
            condition.aio.notify(3)
        assert await gather(*tasks[:3]) == [True] * 3
        assert not tasks[3].done()
        async with condition.aio:
            condition.aio.notify_all()
        assert await tasks[3]

    loop.run(main())


@both_storages
def test_who_does_not_hold_the_lock_neither_waits_nor_notifies(shared: bool, loop: Loop) -> None:
    async def main() -> None:
        condition = treadle.Condition(shared=shared)
        for call in (condition.aio.wait, partial(condition.aio.wait_for, lambda: False)):
            with pytest.raises(RuntimeError, match="un-acquired"):
                await call()
        with pytest.raises(RuntimeError, match="un-acquired"):
            condition.aio.notify()

    loop.run(main())


def test_a_lock_that_tasks_cannot_wait_for_is_refused() -> None:
    import threading

    condition = treadle.Condition(threading.Lock(), shared=False)
    with pytest.raises(TypeError, match=r"treadle\.Lock"):
        condition.aio.notify()
