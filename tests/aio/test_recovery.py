"""A task repairs what a lock guards; waiting for that, it does not hold its loop up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import treadle
from tests.aio.loops import settle
from tests.sync.children import Child, forked, hold, killed_while
from tests.sync.threads import OtherThread


@dataclass(frozen=True)
class Kind:
    make: Callable[..., Any]
    take: str = "acquire"
    free: str = "release"

    def killed_holding(self) -> Any:
        lock = self.make()
        killed_while(getattr(lock, self.take))
        return lock

    async def try_to_take(self, lock: Any) -> Any:
        return await getattr(lock.aio, self.take)()

    def acquire(self, lock: Any) -> Any:
        return getattr(lock, self.take)(False)

    def release(self, lock: Any) -> None:
        getattr(lock, self.free)()


_KINDS = {
    "Lock": Kind(treadle.Lock),
    "RLock": Kind(treadle.RLock),
    "RWLock": Kind(treadle.RWLock, "acquire_write", "release_write"),
    "Condition": Kind(treadle.Condition),
}
pytestmark = pytest.mark.slow
every_kind = pytest.mark.parametrize("kind", _KINDS.values(), ids=_KINDS)


@every_kind
def test_a_task_recovers_what_a_dead_process_held(kind: Kind) -> None:
    async def main() -> None:
        lock = kind.killed_holding()
        with pytest.raises(treadle.OwnerDiedError):
            await kind.try_to_take(lock)
        async with lock.aio.recover() as needed:
            assert needed is True
            assert lock.locked()
        async with lock.aio.recover() as needed:
            assert needed is False
        assert kind.acquire(lock) is True

    asyncio.run(main())


@every_kind
def test_a_recovery_that_fails_leaves_it_to_the_next(kind: Kind) -> None:
    async def main() -> None:
        lock = kind.killed_holding()
        for error in (ZeroDivisionError, asyncio.CancelledError):
            with pytest.raises(error):
                async with lock.aio.recover():
                    raise error
            with pytest.raises(treadle.OwnerDiedError):
                await kind.try_to_take(lock)
        async with lock.aio.recover() as needed:
            assert needed is True
        await kind.try_to_take(lock)

    asyncio.run(main())


@every_kind
def test_closed_within_it_leaves_it_to_the_next(kind: Kind) -> None:
    lock = kind.killed_holding()

    async def recover() -> None:
        async with lock.aio.recover():
            await asyncio.get_running_loop().create_future()

    async def main() -> None:
        recovering = recover()
        task = asyncio.create_task(recovering)
        await settle()
        assert lock.locked()
        recovering.close()
        async with lock.aio.recover() as needed:
            assert needed is True
        task.cancel()

    asyncio.run(main())


@every_kind
def test_it_waits_until_the_lock_is_free_and_the_loop_goes_on(
    kind: Kind, other: OtherThread
) -> None:
    async def main() -> None:
        lock = kind.make()
        other.do(kind.acquire, lock)
        recovering = asyncio.create_task(_recover(lock))
        await settle()
        assert not recovering.done()
        other.start(kind.release, lock)
        assert await recovering is False
        assert kind.acquire(lock) is True

    asyncio.run(main())


async def _recover(lock: Any, timeout: float = -1) -> bool:
    async with lock.aio.recover(timeout) as needed:
        return bool(needed)


@every_kind
@pytest.mark.parametrize("timeout", [0, 0.01])
def test_out_of_time_it_says_so_and_is_gone(kind: Kind, timeout: float, other: OtherThread) -> None:
    async def main() -> None:
        lock = kind.make(label="books")
        other.do(kind.acquire, lock)
        with pytest.raises(TimeoutError, match="'books' could not be had"):
            await _recover(lock, timeout)
        other.do(kind.release, lock)
        assert kind.acquire(lock) is True

    asyncio.run(main())


@every_kind
def test_cancelled_while_it_waits_it_is_gone(kind: Kind, other: OtherThread) -> None:
    async def main() -> None:
        lock = kind.make()
        other.do(kind.acquire, lock)
        recovering = asyncio.create_task(_recover(lock))
        await settle()
        recovering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await recovering
        other.do(kind.release, lock)
        assert kind.acquire(lock) is True

    asyncio.run(main())


@every_kind
def test_of_many_one_repairs(kind: Kind) -> None:
    """The others find it repaired, in this process and in another."""

    async def main() -> None:
        lock = kind.killed_holding()
        repaired = treadle.Semaphore(0)
        with forked(_recover_many, lock, repaired):
            await _recover_each(lock, repaired)
        assert repaired.get_value() == 1
        assert kind.acquire(lock) is True

    asyncio.run(main())


async def _recover_each(lock: Any, repaired: treadle.Semaphore) -> None:
    async def recover() -> None:
        async with lock.aio.recover() as needed:
            await asyncio.sleep(0)
            if needed:
                repaired.release()

    await asyncio.gather(*(recover() for _ in range(5)))


def _recover_many(line: Any, lock: Any, repaired: treadle.Semaphore) -> None:
    asyncio.run(_recover_each(lock, repaired))


def test_a_task_that_holds_an_rlock_has_nothing_to_recover() -> None:
    async def main() -> None:
        lock = treadle.RLock()
        async with lock.aio:
            with pytest.raises(RuntimeError, match="this task holds"):
                await _recover(lock)
        with lock, pytest.raises(TimeoutError):  # its thread is another
            await _recover(lock, 0)

    asyncio.run(main())


@every_kind
def test_a_task_that_waits_for_it_learns_of_the_death_meanwhile(kind: Kind) -> None:
    async def main(owner: Child) -> None:
        recovering = asyncio.create_task(_recover(lock))
        await settle()
        owner.kill()
        assert await recovering is True

    lock = kind.make()
    with forked(hold, getattr(lock, kind.take)) as owner:
        owner.expect("holding")
        asyncio.run(main(owner))
