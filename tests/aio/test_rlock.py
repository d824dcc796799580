"""RLock and RWLock of tasks: the task owns them, not its thread."""

from __future__ import annotations

import gc
import os
from typing import Any

import pytest

import treadle
from tests.aio.loops import Loop, OtherLoop, new_event, settle, spawn
from tests.sync.kinds import both_storages
from tests.sync.threads import OtherThread


@both_storages
def test_a_task_enters_again(shared: bool, loop: Loop) -> None:
    async def main() -> None:
        lock = treadle.RLock(shared=shared)
        async with lock.aio, lock.aio:
            assert lock.statistics().recursion == 2
        assert not lock.locked()

    loop.run(main())


@both_storages
def test_neither_another_task_nor_the_thread_enters_or_releases(shared: bool, loop: Loop) -> None:
    async def main() -> None:
        lock = treadle.RLock(shared=shared)
        async with lock.aio:
            await spawn(_is_kept_out(lock))
            assert lock.acquire(False) is False
            with pytest.raises(RuntimeError, match="un-acquired"):
                lock.release()
            assert lock.locked()

    loop.run(main())


@both_storages
def test_a_task_does_not_enter_what_its_thread_holds(shared: bool, loop: Loop) -> None:
    async def main() -> None:
        lock = treadle.RLock(shared=shared)
        with lock:
            await _is_kept_out(lock)
        async with lock.aio:
            pass

    loop.run(main())


@both_storages
def test_a_task_of_another_loop_is_kept_out(
    shared: bool, other_loop: OtherLoop, loop: Loop
) -> None:
    async def main() -> None:
        lock = treadle.RLock(shared=shared)
        async with lock.aio:
            other_loop.do(_is_kept_out, lock)

    loop.run(main())


async def _is_kept_out(lock: Any) -> None:
    assert await lock.aio.acquire(False) is False
    assert await lock.aio.acquire(timeout=0.01) is False
    with pytest.raises(RuntimeError, match="un-acquired"):
        lock.aio.release()


@both_storages
def test_the_holder_is_named_by_its_task(shared: bool, loop: Loop) -> None:
    async def main() -> None:
        lock = treadle.RLock(shared=shared)
        async with lock.aio:
            if shared:
                assert lock.owner is not None
                assert lock.owner.thread_name == "the holder"
            assert lock.statistics().locked

    async def named() -> None:
        await spawn(main(), name="the holder")

    loop.run(named())


@pytest.mark.slow
def test_a_task_that_ended_holding_counts_as_dead(loop: Loop) -> None:
    async def hold(lock: treadle.RLock) -> None:
        await lock.aio.acquire()

    async def main() -> None:
        lock = treadle.RLock(label="left")
        await spawn(hold(lock), name="careless")
        gc.collect()
        with pytest.raises(treadle.OwnerDiedError, match="'left'"):
            await lock.aio.acquire()
        with lock.recover():
            pass
        async with lock.aio:
            pass

    loop.run(main())


@pytest.mark.slow
def test_a_thread_finds_that_a_task_ended_holding(other: OtherThread, loop: Loop) -> None:
    async def hold(lock: treadle.RLock) -> None:
        await lock.aio.acquire()

    lock = treadle.RLock(on_owner_death="recover")
    loop.run(hold(lock))
    gc.collect()
    with pytest.warns(treadle.OwnerDiedWarning):
        assert other.do(lock.acquire) is True


@pytest.mark.slow
def test_a_task_that_waits_finds_that_another_ended_holding(loop: Loop) -> None:
    async def hold(lock: treadle.RLock, go: Any) -> None:
        await lock.aio.acquire()
        await go.wait()

    async def main() -> None:
        lock, go = treadle.RLock(), new_event()
        holder = spawn(hold(lock, go))
        await settle()
        waiter = spawn(lock.aio.acquire())
        await settle()
        go.set()
        await holder
        del holder
        gc.collect()
        with pytest.raises(treadle.OwnerDiedError):
            await waiter

    loop.run(main())


@both_storages
def test_a_task_that_writes_keeps_readers_and_writers_out(shared: bool, loop: Loop) -> None:
    async def main() -> None:
        lock = treadle.RWLock(shared=shared)

        async def is_kept_out() -> None:
            assert await lock.aio.acquire_read(False) is False
            assert await lock.aio.acquire_write(timeout=0.01) is False

        async with lock.aio.write():
            await spawn(is_kept_out())
        async with lock.aio.read():
            assert await spawn(_reads(lock))
            assert await spawn(_writes(lock)) is False
        assert not lock.locked()

    async def _reads(lock: treadle.RWLock) -> bool:
        async with lock.aio.read():
            return True

    async def _writes(lock: treadle.RWLock) -> bool:
        return await lock.aio.acquire_write(False)

    loop.run(main())


_left_by_a_task = pytest.mark.parametrize(
    ("make", "acquire"),
    [
        (treadle.RLock, lambda lock: lock.aio.acquire()),
        (treadle.RWLock, lambda lock: lock.aio.acquire_write()),
    ],
    ids=["RLock", "RWLock"],
)


@pytest.mark.slow
@_left_by_a_task
def test_who_finds_that_a_task_ended_holding_is_told_which(
    make: Any, acquire: Any, loop: Loop
) -> None:
    """Also by a task that the arena hears of only now: it is not given the dead one's record."""
    ended = (
        rf"lock 'left' was held by pid {os.getpid()} \(task careless\); the task ended without "
        r"releasing it, its process lives; call recover\(\) before use\. "
        r"asyncio\.wait_for\(\) may .* use timeout= instead"
    )

    async def hold(lock: Any) -> None:
        await acquire(lock)

    async def take(lock: Any) -> None:
        with pytest.raises(treadle.OwnerDiedError, match=ended):
            await acquire(lock)

    async def main() -> None:
        lock = make(label="left")
        await spawn(hold(lock), name="careless")
        gc.collect()
        assert "(task careless)" in repr(lock)
        await spawn(take(lock))
        assert "(task careless)" in repr(lock)
        await spawn(take(lock))  # who comes later is told the same

    loop.run(main())


def test_a_release_by_another_task_says_whose_lock_it_is(loop: Loop) -> None:
    async def release(release: Any, expected: str) -> None:
        with pytest.raises(RuntimeError, match=expected):
            release()

    async def main() -> None:
        lock, rwlock = treadle.RLock(label="jobs"), treadle.RWLock(label="index")
        mine = rf"pid {os.getpid()} \(task mine\) holds it, not this task; asyncio\.wait_for\(\) "
        async with lock.aio, rwlock.aio.write():
            expected = f"un-acquired lock 'jobs': {mine}"
            await spawn(release(lock.aio.release, expected))
            expected = f"this task does not hold lock 'index' for writing: {mine}"
            await spawn(release(rwlock.aio.release_write, expected))
        private = treadle.RLock(shared=False)
        async with private.aio, rwlock.aio.read():
            expected = r"another task, or a thread, holds it.*asyncio\.wait_for\(\)"
            await spawn(release(private.aio.release, expected))
            expected = r"for reading; another task, or a thread, does.*asyncio\.wait_for\(\)"
            await spawn(release(rwlock.aio.release_read, expected))
        with pytest.raises(RuntimeError) as caught:
            lock.aio.release()
        assert "wait_for" not in str(caught.value)  # nobody holds it

    async def named() -> None:
        await spawn(main(), name="mine")

    loop.run(named())
