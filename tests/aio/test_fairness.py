"""Threads and tasks that wait for the same both get their share: neither kind starves."""

from __future__ import annotations

import asyncio
import multiprocessing
from typing import Any

import pytest

import treadle
from tests.sync.kinds import both_storages
from tests.sync.threads import OtherThread

_SHARE = 40  # what each is to get
_ROUNDS = 20_000  # of so many at most: whoever runs may pass who is being woken, but not for ever

every_kind = pytest.mark.parametrize("of", [treadle.Semaphore, treadle.Queue, treadle.LifoQueue])


class Table:
    """Where one thing is handed out at a time; the next comes when the last has been taken."""

    def __init__(self, of: Any, shared: bool) -> None:
        of_semaphore = of is treadle.Semaphore
        self._thing = of(0, shared=shared)
        self._give = self._thing.release if of_semaphore else self._put
        self._take = self._thing.acquire if of_semaphore else self._thing.get
        self._begun = treadle.Event(shared=shared)
        self._over = treadle.Event(shared=shared)
        self._turn = treadle.Semaphore(0, shared=shared)
        self._by_thread = treadle.Semaphore(0, shared=shared)
        self._by_task = treadle.Semaphore(0, shared=shared)

    def _put(self) -> None:
        self._thing.put("thing")

    def shares(self) -> tuple[int, int]:
        return self._by_thread.get_value(), self._by_task.get_value()

    def hand_out(self) -> None:
        self._begun.wait()
        for _ in range(_ROUNDS):
            if min(self.shares()) >= _SHARE:
                break
            self._give()
            self._turn.acquire()

    def take(self) -> None:
        self._begun.set()
        while self._take() and not self._over.is_set():
            self._by_thread.release()
            self._turn.release()

    async def take_by_task(self) -> None:
        view = self._thing.aio
        take = view.acquire if isinstance(self._thing, treadle.Semaphore) else view.get
        while await take():
            self._by_task.release()
            self._turn.release()

    def end(self) -> None:
        """The thread, alone by now, ends."""
        self._over.set()
        self._give()


async def _hand_out_beside_a_task(table: Table, giver: OtherThread) -> None:
    taking = asyncio.create_task(table.take_by_task())
    await asyncio.wrap_future(giver.start(table.hand_out))
    taking.cancel()


@both_storages
@pytest.mark.slow
@every_kind
def test_a_thread_and_a_task_both_get_a_share(shared: bool, of: Any, other: OtherThread) -> None:
    table = Table(of, shared)
    taker = OtherThread("taker")
    taking = taker.start(table.take)
    asyncio.run(_hand_out_beside_a_task(table, other))
    table.end()
    taking.result()
    taker.end()
    assert min(table.shares()) >= _SHARE, table.shares()


@pytest.mark.slow
@every_kind
def test_a_task_and_a_thread_of_another_process_both_get_a_share(
    of: Any, other: OtherThread
) -> None:
    table = Table(of, shared=True)
    child = multiprocessing.get_context("spawn").Process(target=table.take)
    child.start()
    asyncio.run(_hand_out_beside_a_task(table, other))
    table.end()
    child.join()
    assert min(table.shares()) >= _SHARE, table.shares()
