"""What becomes of an RWLock whose writer, or one of whose readers, ended while it held it."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.sync.children import Child, forked, hold, killed_while
from tests.sync.threads import OtherThread, until, until_parked

_WAYS: dict[str, Callable[[treadle.RWLock], Any]] = {
    "read": lambda lock: lock.acquire_read(),
    "write": lambda lock: lock.acquire_write(),
    "try to read": lambda lock: lock.acquire_read(False),
    "try to write": lambda lock: lock.acquire_write(False),
    "with read": lambda lock: lock.read().__enter__(),
    "with write": lambda lock: lock.write().__enter__(),
    "read in time": lambda lock: lock.acquire_read(timeout=60),
    "write in time": lambda lock: lock.acquire_write(timeout=60),
}
every_way = pytest.mark.parametrize("ask", _WAYS.values(), ids=_WAYS)
both_sides = pytest.mark.parametrize("side", ["read", "write"])


# ---- Writers


@every_way
def test_whoever_asks_learns_who_died_and_what_to_do(ask: Callable[..., Any]) -> None:
    lock = treadle.RWLock(label="index")
    pid = killed_while(lock.acquire_write, thread_name="digger")
    with pytest.raises(treadle.OwnerDiedError) as caught:
        ask(lock)
    assert str(caught.value) == (
        f"lock 'index' was held by pid {pid} (thread digger), which was killed or ended without "
        "releasing it; call recover() before use"
    )
    for again in _WAYS.values():
        with pytest.raises(treadle.OwnerDiedError) as caught:
            again(lock)
        assert str(caught.value) == (
            f"lock 'index' was held by pid {pid} (thread digger), which ended, and nobody has "
            "repaired it yet; call recover() before use"
        )
    assert lock.locked() is False
    assert lock.owner is None
    assert lock.readers == 0
    assert lock.statistics().inconsistent is True
    assert repr(lock).startswith("<inconsistent ")
    with pytest.raises(RuntimeError, match="its owner died"):
        lock.release_write()
    with pytest.raises(RuntimeError):
        lock.release_read()


@both_sides
def test_those_who_wait_when_it_happens_learn_of_it(side: str, other: OtherThread) -> None:
    lock = treadle.RWLock()
    with forked(hold, lock.acquire_write) as owner:
        owner.expect("holding")
        waiters = [OtherThread() for _ in range(3)]
        asking = [waiter.start(getattr(lock, f"acquire_{side}")) for waiter in waiters]
        for waiter in waiters:
            until_parked(lock, waiter.native_id)
        owner.kill()
        for a in asking:
            error = a.exception()
            assert isinstance(error, treadle.OwnerDiedError)
            assert f"pid {owner.pid} " in str(error)
    for waiter in waiters:
        waiter.end()
    with lock.recover() as needed:
        assert needed is True
    with lock.write():
        pass


def test_a_recovery_makes_it_sound(other: OtherThread) -> None:
    lock = treadle.RWLock()
    killed_while(lock.acquire_write)
    with lock.recover() as needed:
        assert needed is True
        assert lock.owner is not None
        assert lock.owner.pid == os.getpid()
        reading = other.start(lock.acquire_read)
        until_parked(lock, other.native_id)
    assert reading.result() is True
    assert lock.statistics().inconsistent is False
    other.do(lock.release_read)
    with lock.recover() as needed:
        assert needed is False
    assert lock.locked() is False


def test_a_recovery_waits_for_readers(other: OtherThread) -> None:
    lock = treadle.RWLock(label="index")
    with forked(hold, lock.acquire_read) as reader:
        reader.expect("holding")
        with pytest.raises(TimeoutError, match="'index'"), lock.recover(timeout=0.01):
            pass
        recovering = other.start(lock.recover().__enter__)
        until_parked(lock, other.native_id)
        reader.kill()
        assert recovering.result() is False


def test_a_recovery_that_fails_leaves_it_inconsistent() -> None:
    lock = treadle.RWLock()
    killed_while(lock.acquire_write)
    with pytest.raises(KeyError), lock.recover():
        raise KeyError
    with pytest.raises(treadle.OwnerDiedError, match="gave up"):
        lock.acquire_read()
    with pytest.raises(RuntimeError, match="during its recovery"), lock.recover():
        lock.release_write()
    recoverer = killed_while(lock.recover().__enter__)
    with pytest.raises(treadle.OwnerDiedError, match=f"pid {recoverer} "):
        lock.acquire_write()
    with lock.recover() as needed:
        assert needed is True
    with lock.read():
        pass


def test_of_those_who_recover_at_once_one_repairs() -> None:
    lock = treadle.RWLock()
    killed_while(lock.acquire_write)
    children = [Child(_recover, lock) for _ in range(4)]
    try:
        needed = [child.hear() for child in children]
        for child in children:
            child.join()
    finally:
        for child in children:
            child.dispose()
    assert sorted(needed) == [False, False, False, True]


@every_way
def test_one_that_recovers_by_itself_is_taken_over_with_a_warning(
    ask: Callable[..., Any], other: OtherThread
) -> None:
    lock = treadle.RWLock(on_owner_death="recover", label="index")
    pid = killed_while(lock.acquire_write, thread_name="digger")
    expected = rf"lock 'index' was held by pid {pid} \(thread digger\), which ended"
    with pytest.warns(treadle.OwnerDiedWarning, match=expected):
        assert ask(lock) is True
    assert lock.statistics().inconsistent is False
    assert other.do(lock.acquire_write, False) is False
    lock.release_read() if lock.readers else lock.release_write()
    with lock.write():
        pass


@both_sides
def test_a_warning_that_is_an_error_leaves_the_lock_free(side: str) -> None:
    lock = treadle.RWLock(on_owner_death="recover")
    pid = killed_while(lock.acquire_write)
    with pytest.raises(treadle.OwnerDiedWarning, match=f"pid {pid} "):  # as pytest is configured
        getattr(lock, f"acquire_{side}")()
    with lock.write():
        pass


def test_one_of_those_who_wait_takes_over_with_a_warning() -> None:
    lock = treadle.RWLock(on_owner_death="recover")
    with forked(hold, lock.acquire_write) as owner:
        owner.expect("holding")
        with pytest.warns(treadle.OwnerDiedWarning, match=f"pid {owner.pid} ") as warned:
            waiters = [OtherThread() for _ in range(4)]
            holds = [lock.read, lock.write, lock.read, lock.write]
            asking = [w.start(_enter, hold) for w, hold in zip(waiters, holds, strict=True)]
            for waiter in waiters:
                until_parked(lock, waiter.native_id)
            owner.kill()
            for a in asking:
                a.result()
        assert len(warned) == 1
    for waiter in waiters:
        waiter.end()


def test_how_it_meets_death_travels_with_its_handle() -> None:
    lock = pickle.loads(pickle.dumps(treadle.RWLock(on_owner_death="recover")))
    killed_while(lock.acquire_write)
    with pytest.warns(treadle.OwnerDiedWarning):
        assert lock.acquire_write() is True


def test_a_thread_that_ends_writing_is_dead() -> None:
    """Nobody else can release it."""
    lock = treadle.RWLock(label="index")
    thread = OtherThread("careless")
    thread.do(lock.acquire_write)
    thread.end()
    expected = rf"'index' was held by pid {os.getpid()} \(thread careless\)"
    with pytest.raises(treadle.OwnerDiedError, match=expected):
        lock.acquire_read()
    with lock.recover() as needed:
        assert needed is True


# ---- Readers


def test_a_reader_that_is_killed_is_forgotten(other: OtherThread) -> None:
    lock = treadle.RWLock()
    killed_while(lambda: (lock.acquire_read(), lock.acquire_read()))
    assert lock.readers == 0
    assert lock.locked() is False
    assert lock.acquire_write(timeout=60) is True
    lock.release_write()
    killed_while(lock.acquire_read)
    lock.acquire_read()
    assert lock.acquire_write(False) is False
    lock.release_read()
    assert other.do(lock.acquire_write) is True


def test_a_reader_that_is_killed_while_a_writer_waits(other: OtherThread) -> None:
    lock = treadle.RWLock()
    with forked(hold, lock.acquire_read) as reader:
        reader.expect("holding")
        writing = other.start(lock.acquire_write)
        until_parked(lock, other.native_id)
        reader.kill()
        assert writing.result() is True
    other.do(lock.release_write)


def test_a_thread_that_ends_reading_is_forgotten() -> None:
    lock = treadle.RWLock()
    thread = OtherThread("careless")
    thread.do(lock.acquire_read)
    assert lock.readers == 1
    thread.end()  # as far as Python is concerned
    until(lambda: lock.readers == 0)
    with lock.write():
        pass


def test_many_readers_that_are_killed_leave_room_for_others() -> None:
    """Nobody waits for them, and still they do not fill the table."""
    lock = treadle.RWLock()
    treadle.sweep()
    before = treadle.arena_statistics().blocks
    for _ in range(30):
        killed_while(lock.acquire_read)
    with lock.read():
        assert lock.readers == 1
    treadle.sweep()
    assert treadle.arena_statistics().blocks <= before  # no larger table
    with lock.write():
        pass


def test_a_writer_that_is_killed_waiting_keeps_nobody_out(other: OtherThread) -> None:
    lock = treadle.RWLock()
    with lock.read(), forked(_write, lock) as writer:
        until(lambda: not other.do(_try_to_read, lock))
        reading = other.start(lock.acquire_read)
        until_parked(lock, other.native_id)
        writer.kill()
        assert reading.result() is True
        other.do(lock.release_read)
    with lock.write():
        pass


def test_a_reader_that_is_killed_waiting_keeps_nobody_out(other: OtherThread) -> None:
    lock = treadle.RWLock()
    with lock.write(), forked(_read, lock) as reader:
        until(lambda: lock.statistics().waiting == 1)
        writing = other.start(lock.acquire_write)
        until_parked(lock, other.native_id)
        reader.kill()
    assert writing.result() is True
    other.do(lock.release_write)


def _try_to_read(lock: treadle.RWLock) -> bool:
    if not lock.acquire_read(False):
        return False
    lock.release_read()
    return True


def _enter(hold: Callable[[], Any]) -> None:
    with hold():
        pass


def _recover(line: Connection, lock: treadle.RWLock) -> None:
    with lock.recover() as needed:
        line.send(needed)


def _write(line: Connection, lock: treadle.RWLock) -> None:
    lock.acquire_write()


def _read(line: Connection, lock: treadle.RWLock) -> None:
    lock.acquire_read()
