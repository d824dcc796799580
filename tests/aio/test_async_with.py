"""``async with`` over the object itself: as over its ``.aio``."""

from __future__ import annotations

import asyncio
import gc
from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from typing import Any

import pytest

import treadle
from tests.aio.loops import Loop, settle, spawn
from tests.sync.kinds import both_storages
from tests.sync.threads import OtherThread

every_kind = pytest.mark.parametrize(
    "of",
    [
        treadle.Lock,
        treadle.RLock,
        treadle.Semaphore,
        treadle.BoundedSemaphore,
        treadle.Condition,
    ],
)


@both_storages
@every_kind
def test_a_task_enters_and_waits_for_its_turn(of: Any, shared: bool, loop: Loop) -> None:
    async def main() -> None:
        lock, inside = of(shared=shared), []

        async def use(name: str) -> None:
            async with lock:
                inside.append(name)

        async with lock:
            assert not lock.acquire(False)
            waiting = spawn(use("the other"))
            await settle()
            assert inside == []
        await waiting
        assert inside == ["the other"]
        with pytest.raises(ZeroDivisionError):
            async with lock:
                raise ZeroDivisionError
        assert lock.acquire(False)

    loop.run(main())


@both_storages
def test_it_is_the_task_that_enters(shared: bool, loop: Loop) -> None:
    async def main() -> None:
        lock = treadle.RLock(shared=shared)
        async with lock, lock.aio, lock:
            assert lock.statistics().recursion == 3
            assert await spawn(lock.aio._acquire(None, False, -1)) is False
        assert not lock.locked()
        condition = treadle.Condition(shared=shared)
        async with condition:
            assert await condition.aio.wait(timeout=0.01) is False

    loop.run(main())


@both_storages
def test_closed_while_it_holds_an_rlock_it_frees_it(shared: bool, closable_loop: Loop) -> None:
    lock = treadle.RLock(shared=shared)

    async def hold() -> None:
        async with lock, lock:
            await asyncio.get_running_loop().create_future()

    loop = closable_loop.new_event_loop()
    holder = loop.create_task(hold())
    loop.run_until_complete(settle())
    assert lock.statistics().recursion == 2
    loop.close()
    with suppress(AttributeError):
        holder._log_destroy_pending = False
    del holder
    gc.collect()
    assert not lock.locked()


@both_storages
def test_closed_in_a_wait_while_another_task_has_the_lock_it_leaves_it_to_that_one(
    shared: bool, other: OtherThread, closable_loop: Loop
) -> None:
    condition = treadle.Condition(shared=shared)

    async def wait() -> None:
        async with condition, condition:
            await condition.aio.wait()

    async def close(victim: Any) -> None:
        async with condition:
            victim.close()
            assert not other.do(condition.acquire, False)
        assert other.do(condition.acquire, False)
        other.do(condition.release)

    loop = closable_loop.new_event_loop()
    waiting = wait()
    victim = loop.create_task(waiting)
    loop.run_until_complete(settle())
    loop.run_until_complete(close(waiting))
    assert not condition.locked()
    assert condition.statistics().waiting == 0
    victim.cancel()
    with suppress(asyncio.CancelledError, RuntimeError):
        loop.run_until_complete(victim)
    loop.close()


def test_what_can_be_entered_to_read_or_to_write_says_so(loop: Loop) -> None:
    lock: Any = treadle.RWLock(label="index")
    expected = r"lock 'index' is entered to read or to write: use with lock\.read\(\) or with lock"
    with pytest.raises(TypeError, match=expected), lock:
        pass
    for view in (lock, lock.aio):

        async def enter(view: Any = view) -> None:
            async with view:
                pass

        with pytest.raises(TypeError, match=r"async with lock\.aio\.read\(\) or async with lock"):
            loop.run(enter())
        assert not hasattr(view, "__aenter__")
        assert not isinstance(view, AbstractAsyncContextManager)
    assert not hasattr(lock, "__enter__")
    assert not isinstance(lock, AbstractContextManager)
