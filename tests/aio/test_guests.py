"""A run of trio's as the guest of an asyncio loop: two loops take turns in one thread."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

import treadle
from tests.aio.kinds import TaskWait, every_wait
from tests.aio.loops import Loop, settle
from tests.sync.kinds import both_storages

trio = pytest.importorskip("trio")


@pytest.fixture(params=["guest-waits", "host-waits"])
def guest_waits(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "guest-waits")


class Guest(trio.abc.Instrument):  # type: ignore[misc]
    """A run of trio's within the running loop; awaited, it gives what the function returns."""

    def __init__(self, function: Callable[[], Awaitable[Any]]) -> None:
        loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[Any] = loop.create_future()
        self._idle = asyncio.Event()
        trio.lowlevel.start_guest_run(
            function,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=self._end,
            host_uses_signal_set_wakeup_fd=True,
            instruments=[self],
        )

    def __await__(self) -> Any:
        return self._ended.__await__()

    async def settle(self) -> None:
        """Let every task of it come to where it waits for something that is not the run's."""
        self._idle.clear()
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._idle.clear)  # it may have been idle before
            await self._idle.wait()

    def before_run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()

    def before_io_wait(self, timeout: float) -> None:
        if timeout > 0:
            self._idle.set()

    def _end(self, outcome: Any) -> None:
        self._idle.set()
        try:
            self._ended.set_result(outcome.unwrap())
        except Exception as error:
            self._ended.set_exception(error)


@every_wait
def test_a_guest_and_its_host_let_each_other_through(
    wait: TaskWait, shared: bool, closable_loop: Loop, guest_waits: bool
) -> None:
    async def main() -> None:
        thing = wait.make(shared)
        waits, let_through, go = asyncio.Event(), asyncio.Event(), trio.Event()

        async def end() -> None:
            await wait.hold_by_task(thing)
            waits.set()
            await (let_through if guest_waits else go).wait()
            await wait.end_by_task(thing)

        if guest_waits:
            ending: Any = asyncio.create_task(end())
            await waits.wait()
            using: Any = Guest(lambda: wait.use(thing))
            await using.settle()
            let_through.set()
        else:
            ending = Guest(end)
            await waits.wait()
            using = asyncio.create_task(wait.use(thing))
            await settle()
            go.set()
        assert await using is True
        await ending
        wait.settled(thing)

    closable_loop.run(main())


@every_wait
def test_a_guest_waits_no_longer_than_it_wants(
    wait: TaskWait, shared: bool, closable_loop: Loop
) -> None:
    async def main() -> None:
        thing = wait.make(shared)
        wait.hold(thing)
        if wait.too_late is None:
            assert await Guest(lambda: wait.use(thing, 0.01)) is False
        else:
            with pytest.raises(wait.too_late):
                await Guest(lambda: wait.use(thing, 0.01))
        wait.end(thing)
        assert await Guest(lambda: wait.use(thing, 30)) is True
        wait.settled(thing)

    closable_loop.run(main())


@both_storages
def test_neither_a_guest_nor_its_host_enters_what_the_other_holds(
    shared: bool, closable_loop: Loop
) -> None:
    async def is_kept_out(lock: treadle.RLock) -> None:
        assert await lock.aio.acquire(False) is False
        with pytest.raises(RuntimeError, match="un-acquired"):
            lock.aio.release()

    async def main() -> None:
        lock = treadle.RLock(shared=shared)
        async with lock.aio:
            await Guest(lambda: is_kept_out(lock))

        async def hold() -> None:
            async with lock.aio:
                held.set()
                await seen.wait()

        held, seen = asyncio.Event(), trio.Event()
        holding = Guest(hold)
        await held.wait()
        await is_kept_out(lock)
        seen.set()
        await holding
        async with lock.aio:
            pass

    closable_loop.run(main())


@both_storages
@pytest.mark.parametrize("of", [treadle.Lock, treadle.RLock])
def test_a_condition_of_a_guest_that_is_cancelled_has_its_lock_back(
    shared: bool, of: Any, closable_loop: Loop
) -> None:
    async def main() -> None:
        condition = treadle.Condition(of(shared=shared), shared=shared)

        async def wait() -> bool:
            with trio.CancelScope() as scope:
                async with condition.aio:
                    waits.set_result(scope)
                    try:
                        await condition.aio.wait()
                    finally:
                        assert condition.aio._lock._is_owned()
            return bool(scope.cancelled_caught)

        waits: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiting = Guest(wait)
        scope = await waits
        await waiting.settle()
        async with condition.aio:
            scope.cancel()
            await waiting.settle()
        assert await waiting is True
        assert condition.acquire(False)

    closable_loop.run(main())
