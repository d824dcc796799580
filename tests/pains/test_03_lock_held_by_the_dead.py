"""A lock held by a dead process is held for ever (python/cpython#88304)."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.aio.loops import settle
from tests.names.conftest import Start
from tests.sync.children import Child, forked, hold, killed_while

LOCKS = ["Lock", "RLock", "BoundedSemaphore"]

# How a lock is taken that only one can have.
_ALONE = {treadle.Lock: "acquire", treadle.RLock: "acquire", treadle.RWLock: "acquire_write"}
every_lock = pytest.mark.parametrize("of", _ALONE)


@pytest.mark.parametrize("name", LOCKS)
def test_the_standard_library_waits_for_ever(name: str) -> None:
    """For as long as one cares to wait, that is; nobody is told why."""
    lock = getattr(multiprocessing.get_context("fork"), name)()
    killed_while(lock.acquire)
    assert lock.acquire(timeout=0.2) is False


@every_lock
def test_treadle_tells_who_died_and_lets_the_next_one_repair(of: Callable[..., Any]) -> None:
    lock = of(label="jobs")
    acquire = getattr(lock, _ALONE[of])
    pid = killed_while(acquire)
    expected = rf"lock 'jobs' was held by pid {pid} .*; call recover\(\) before use"
    with pytest.raises(treadle.OwnerDiedError, match=expected):
        acquire()
    with lock.recover() as needed:
        assert needed is True
    assert acquire() is True
    assert lock.owner.pid == os.getpid()


@every_lock
def test_treadle_goes_on_by_itself_where_it_is_told_to(of: Callable[..., Any]) -> None:
    lock = of(on_owner_death="recover")
    acquire = getattr(lock, _ALONE[of])
    pid = killed_while(acquire)
    with pytest.warns(treadle.OwnerDiedWarning, match=f"pid {pid} "):
        assert acquire() is True


def test_treadle_forgets_a_reader_who_has_changed_nothing() -> None:
    lock = treadle.RWLock()
    killed_while(lock.acquire_read)
    with lock.write():
        pass


def test_treadle_tells_readers_that_a_writer_died() -> None:
    lock = treadle.RWLock()
    pid = killed_while(lock.acquire_write)
    with pytest.raises(treadle.OwnerDiedError, match=f"pid {pid} "):
        lock.acquire_read()


def test_treadle_gives_permits_back() -> None:
    semaphore = treadle.BoundedSemaphore(1)
    pid = killed_while(semaphore.acquire)
    with pytest.warns(treadle.OwnerDiedWarning, match=f"pid {pid} "):
        assert semaphore.acquire() is True


# ---- Tasks, and unrelated programs


@every_lock
def test_treadle_tells_a_task_that_waits(of: Callable[..., Any]) -> None:
    lock = of()

    async def main(owner: Child) -> None:
        waiting = asyncio.create_task(getattr(lock.aio, _ALONE[of])())
        await settle()
        owner.kill()
        with pytest.raises(treadle.OwnerDiedError, match=f"pid {owner.pid} "):
            await waiting
        async with lock.aio.recover() as needed:
            assert needed is True
        assert await getattr(lock.aio, _ALONE[of])() is True

    with forked(hold, getattr(lock, _ALONE[of])) as owner:
        owner.expect("holding")
        asyncio.run(main(owner))


def hold_by_task(line: Connection, lock: Any, acquire: str) -> None:
    async def main() -> None:
        await getattr(lock.aio, acquire)()
        line.send("holding")
        await asyncio.get_running_loop().create_future()

    asyncio.run(main())


@every_lock
def test_treadle_tells_of_a_task_that_died_with_its_process(of: Callable[..., Any]) -> None:
    lock = of()
    with forked(hold_by_task, lock, _ALONE[of]) as owner:
        owner.expect("holding")
        owner.kill()
    with pytest.raises(treadle.OwnerDiedError, match=f"pid {owner.pid} "):
        getattr(lock, _ALONE[of])()
    with lock.recover() as needed:
        assert needed is True


@pytest.mark.slow
@every_lock
def test_treadle_tells_an_unrelated_program(of: Callable[..., Any], start_program: Start) -> None:
    one, two = start_program(), start_program()
    for program in one, two:
        program.tell(f"lock = treadle.{of.__name__}(name='jobs')")
    one.tell(f"lock.{_ALONE[of]}()")
    two.begin(f"lock.{_ALONE[of]}()")
    one.kill()
    answer = two.answer()
    assert answer.startswith(f"OwnerDiedError: lock 'jobs' was held by pid {one.pid} ")
    two.tell("with lock.recover(): pass")
    assert two.tell(f"lock.{_ALONE[of]}()") is True
