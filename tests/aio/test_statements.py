"""The statements that views are made for: ``async with``, ``async for``."""

from __future__ import annotations

from typing import Any

import pytest

import treadle
from tests.aio.loops import Loop, gather, settle, spawn
from tests.sync.kinds import LOCK_TYPES, LockType, both_storages


@both_storages
@pytest.mark.parametrize("kind", LOCK_TYPES, ids=lambda kind: kind.name)
def test_async_with_excludes_others(kind: LockType, shared: bool, loop: Loop) -> None:
    async def main() -> None:
        lock = kind.factory(shared=shared)
        inside: list[int] = []

        async def enter(number: int) -> None:
            async with lock.aio.write() if isinstance(lock, treadle.RWLock) else lock.aio:
                inside.append(number)
                await settle()
                assert inside == [number]
                inside.remove(number)

        await gather(*(enter(number) for number in range(3)))
        assert lock.acquire(False)

    loop.run(main())


@both_storages
def test_async_with_gives_back_what_it_took_when_its_block_fails(shared: bool, loop: Loop) -> None:
    async def main() -> None:
        lock, read = treadle.RLock(shared=shared), treadle.RWLock(shared=shared)
        tickets = treadle.BoundedSemaphore(1, shared=shared)
        for manager in (lock.aio, read.aio.read(), read.aio.write(), tickets.aio):
            with pytest.raises(ZeroDivisionError):
                async with manager:
                    raise ZeroDivisionError
        assert not lock.locked()
        assert not read.locked()
        assert read.readers == 0
        assert tickets.get_value() == 1

    loop.run(main())


@both_storages
@pytest.mark.parametrize("of", [treadle.Queue, treadle.LifoQueue, treadle.PriorityQueue])
def test_async_for_takes_items_until_the_queue_is_shut_down(
    shared: bool, of: Any, loop: Loop
) -> None:
    async def main() -> None:
        queue = of(2, shared=shared)

        async def take() -> list[int]:
            return [item async for item in queue.aio]

        takers = [spawn(take()) for _ in range(2)]
        await settle()
        for item in range(20):
            await queue.aio.put(item)
        queue.shutdown()
        first, second = await gather(*takers)
        assert sorted([*first, *second]) == list(range(20))

    loop.run(main())


@both_storages
@pytest.mark.parametrize("of", [treadle.Queue, treadle.LifoQueue, treadle.PriorityQueue])
def test_async_with_takes_an_item_on_lease(shared: bool, of: Any, loop: Loop) -> None:
    async def main() -> None:
        queue = of(shared=shared)
        queue.put("job")
        with pytest.raises(ZeroDivisionError):
            async with queue.aio.lease() as lease:
                assert (lease.item, lease.deliveries) == ("job", 1)
                raise ZeroDivisionError
        async with queue.aio.lease(timeout=60) as lease:
            assert (lease.item, lease.deliveries) == ("job", 2)
        assert queue.join(timeout=0)
        with pytest.raises(treadle.Empty):
            async with queue.aio.lease(timeout=0):
                pass

    loop.run(main())


def test_a_lease_to_be_taken_is_a_coroutine_as_all_of_aio(loop: Loop) -> None:
    async def main() -> None:
        queue = treadle.Queue()
        leasing = spawn(queue.aio.lease())
        await settle()
        queue.put("job")
        [lease] = await gather(leasing)
        assert lease.item == "job"
        lease.ack()
        forgotten = queue.aio.lease()
        forgotten.close()

    loop.run(main())
