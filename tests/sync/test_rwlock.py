"""RWLock: who gets in beside whom, and in what order. What it has in common with the other locks is
tested with them."""

from __future__ import annotations

import threading
import weakref
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.sync.children import Child, forked
from tests.sync.kinds import both_storages
from tests.sync.threads import OtherThread, until_parked

pytestmark = both_storages


@pytest.fixture
def lock(shared: bool) -> treadle.RWLock:
    return treadle.RWLock(shared=shared, label="index")


@pytest.fixture
def third() -> Any:
    thread = OtherThread("third")
    yield thread
    thread.dismiss()


# ---- Who gets in


def test_many_read_at_a_time(lock: treadle.RWLock, other: OtherThread, third: OtherThread) -> None:
    with lock.read():
        assert other.do(lock.acquire_read) is True
        assert third.do(lock.acquire_read, True, 60) is True
        assert lock.readers == 3
        assert lock.locked() is True
        assert lock.owner is None
    other.do(lock.release_read)
    third.do(lock.release_read)
    assert lock.readers == 0
    assert lock.locked() is False


def test_one_writes_alone(lock: treadle.RWLock, other: OtherThread) -> None:
    with lock.write() as held:
        assert held is True
        assert lock.locked() is True
        assert other.do(lock.acquire_read, False) is False
        assert other.do(lock.acquire_write, False) is False
    other.do(lock.acquire_read)
    assert lock.acquire_write(timeout=0.01) is False
    other.do(lock.release_read)
    assert lock.acquire_write(timeout=0.01) is True
    lock.release_write()


def test_a_block_that_raises_lets_go(lock: treadle.RWLock, other: OtherThread) -> None:
    with pytest.raises(KeyError), lock.read():
        raise KeyError
    with pytest.raises(KeyError), lock.write():
        raise KeyError
    assert other.do(lock.acquire_write, False) is True
    other.do(lock.release_write)


def test_a_hold_can_be_used_again(lock: treadle.RWLock, other: OtherThread) -> None:
    reading, writing = lock.read(), lock.write()
    for _ in range(2):
        with reading, reading:
            assert lock.readers == 2
        with writing:
            assert other.do(lock.acquire_read, False) is False
    assert lock.locked() is False


def test_a_hold_keeps_its_lock_and_comes_from_one(shared: bool) -> None:
    with treadle.RWLock(shared=shared).read(), treadle.RWLock(shared=shared).write():
        pass
    lock = treadle.RWLock(shared=shared)
    for make in (lock.read, lock.write, lock.recover):
        hold = type(make())()
        with pytest.raises(TypeError, match="comes from a lock's"), hold:
            pass


def test_a_release_that_is_not_due_is_refused(lock: treadle.RWLock, other: OtherThread) -> None:
    def refuse(release: Any, what: str) -> None:
        expected = f"this thread does not hold lock 'index' for {what}"
        with pytest.raises(RuntimeError, match=expected):
            release()

    refuse(lock.release_read, "reading")
    refuse(lock.release_write, "writing")
    with lock.read():
        refuse(lock.release_write, "writing")
        other.do(refuse, lock.release_read, "reading")
        assert lock.readers == 1
    with lock.write():
        refuse(lock.release_read, "reading")
        other.do(refuse, lock.release_write, "writing")
        assert lock.owner is not None
    refuse(lock.release_read, "reading")


# ---- Nesting


def test_who_reads_may_read_again_even_while_a_writer_waits(
    lock: treadle.RWLock, other: OtherThread
) -> None:
    with lock.read():
        writing = other.start(lock.acquire_write)
        until_parked(lock, other.native_id)
        with lock.read():
            assert lock.acquire_read() is True
            assert lock.readers == 3
            lock.release_read()
        assert not writing.done()
    assert writing.result() is True
    other.do(lock.release_write)


def test_who_would_wait_for_itself_is_told(lock: treadle.RWLock) -> None:
    for_reading = "this thread holds lock 'index' for reading, and would wait for itself"
    for_writing = "this thread holds lock 'index' for writing, and would wait for itself"
    with lock.read():
        for call in (lock.acquire_write, lock.write().__enter__, lock.recover().__enter__):
            with pytest.raises(RuntimeError, match=for_reading):
                call()
        with pytest.raises(RuntimeError, match=for_reading):
            lock.acquire_write(timeout=0.01)
        assert lock.acquire_write(blocking=False) is False
        assert lock.acquire_write(timeout=0) is False
    with lock.write():
        for call in (
            lock.acquire_read,
            lock.acquire_write,
            lock.read().__enter__,
            lock.recover().__enter__,
        ):
            with pytest.raises(RuntimeError, match=for_writing):
                call()
        assert lock.acquire_read(blocking=False) is False
        assert lock.acquire_write(timeout=0) is False
    assert lock.locked() is False


# ---- Order


def test_a_waiting_writer_keeps_newcomers_out(
    lock: treadle.RWLock, other: OtherThread, third: OtherThread
) -> None:
    order = []
    lock.acquire_read()
    writing = other.start(lambda: (lock.acquire_write(), order.append("write")))
    until_parked(lock, other.native_id)
    assert third.do(lock.acquire_read, False) is False
    reading = third.start(lambda: (lock.acquire_read(), order.append("read")))
    until_parked(lock, third.native_id)
    lock.release_read()
    writing.result()
    assert order == ["write"]
    other.do(lock.release_write)
    reading.result()
    third.do(lock.release_read)


def test_waiting_readers_go_before_the_next_writer(
    lock: treadle.RWLock, other: OtherThread, third: OtherThread
) -> None:
    lock.acquire_write()
    writing = other.start(lock.acquire_write)
    until_parked(lock, other.native_id)
    reading = third.start(lock.acquire_read)
    until_parked(lock, third.native_id)
    lock.release_write()
    assert reading.result() is True
    assert not writing.done()
    assert lock.readers == 1
    third.do(lock.release_read)
    assert writing.result() is True
    other.do(lock.release_write)


def test_a_writer_that_gives_up_lets_the_readers_in(
    lock: treadle.RWLock, other: OtherThread, third: OtherThread
) -> None:
    lock.acquire_read()
    writing = other.start(lambda: lock.acquire_write(timeout=0.2))
    until_parked(lock, other.native_id)
    reading = third.start(lock.acquire_read)
    assert writing.result() is False
    assert reading.result() is True
    third.do(lock.release_read)
    lock.release_read()
    assert lock.acquire_write(False) is True
    lock.release_write()


def test_a_reader_that_gives_up_is_not_let_in(lock: treadle.RWLock, other: OtherThread) -> None:
    lock.acquire_write()
    assert other.do(lambda: lock.acquire_read(timeout=0.01)) is False
    lock.release_write()
    assert lock.readers == 0
    assert lock.acquire_write(False) is True
    lock.release_write()


@pytest.mark.parametrize("starved", ["reader", "writer"])
def test_no_stream_starves_the_other_side(lock: treadle.RWLock, starved: str) -> None:
    """The streams end only once the one they would starve has been served often enough."""
    served = threading.Event()
    stream, single = lock.read, lock.write
    if starved == "reader":
        stream, single = single, stream

    def flood() -> None:
        while not served.is_set():
            with stream():
                pass

    threads = [threading.Thread(target=flood) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        with single():
            pass
    served.set()
    for thread in threads:
        thread.join()


# ---- Crowds


def test_more_threads_read_than_there_is_room_for_at_first(lock: treadle.RWLock) -> None:
    threads = [OtherThread() for _ in range(40)]
    for count, thread in enumerate(threads):
        assert thread.do(lock.acquire_read) is True
        assert lock.readers == count + 1
    assert lock.acquire_write(timeout=0.01) is False
    for thread in threads:
        thread.do(lock.release_read)
        with pytest.raises(RuntimeError):
            thread.do(lock.release_read)
        thread.end()
    assert lock.acquire_write(False) is True
    lock.release_write()


def test_writers_and_readers_that_race_see_whole_changes(lock: treadle.RWLock) -> None:
    first = second = 0

    def write() -> None:
        nonlocal first, second
        for _ in range(200):
            with lock.write():
                first += 1
                threading.Event().wait(0)  # lets the others run, who would see half of it
                second += 1

    def read() -> None:
        for _ in range(200):
            with lock.read():
                assert first == second

    threads = [OtherThread() for _ in range(4)]
    running = [t.start(work) for t, work in zip(threads, [write, read, write, read], strict=True)]
    for run in running:
        run.result()
    for thread in threads:
        thread.end()
    assert (first, second) == (400, 400)


def test_it_can_be_weakly_referenced(shared: bool) -> None:
    lock = treadle.RWLock(shared=shared)
    reference = weakref.ref(lock)
    hold = lock.read()
    del lock
    assert reference() is not None
    del hold
    assert reference() is None


def test_an_unknown_policy_is_refused(shared: bool) -> None:
    with pytest.raises(ValueError, match="on_owner_death"):
        treadle.RWLock(shared=shared, on_owner_death="ignore")  # type: ignore[arg-type]


# ---- Forks


def test_readers_at_a_fork(shared: bool, other: OtherThread) -> None:
    """Of a private lock's the child has the forking thread; of a shared one's it is none."""
    lock = treadle.RWLock(shared=shared)
    other.do(lock.acquire_read)
    with lock.read(), forked(_look_at_readers, lock, shared) as child:
        child.join()
        assert lock.readers == 2
    other.do(lock.release_read)
    assert lock.acquire_write(False) is True


def test_those_who_waited_at_a_fork_do_not_wait_in_the_child(
    shared: bool, other: OtherThread, third: OtherThread
) -> None:
    if shared:
        return  # they wait as before
    lock = treadle.RWLock(shared=False)
    lock.acquire_read()
    writing = other.start(lock.acquire_write)
    until_parked(lock, other.native_id)
    reading = third.start(lock.acquire_read)
    until_parked(lock, third.native_id)
    with forked(_use_all, lock):
        pass
    lock.release_read()
    assert writing.result() is True
    other.do(lock.release_write)
    assert reading.result() is True


def test_processes_read_together_and_write_alone(shared: bool) -> None:
    if not shared:
        return
    lock, there = treadle.RWLock(), treadle.Latch(3)
    children = [Child(_read_together, lock, there) for _ in range(3)]
    try:
        assert there.wait() is True
        assert lock.readers == 3
        assert lock.acquire_write(False) is False
        for child in children:
            child.say("enough")
        assert lock.acquire_write() is True
        for child in children:
            child.expect("released")
            child.join()
    finally:
        for child in children:
            child.dispose()
    with forked(_expect_written, lock):
        pass
    lock.release_write()


def _look_at_readers(line: Connection, lock: treadle.RWLock, shared: bool) -> None:
    if shared:
        assert lock.readers == 2
        with pytest.raises(RuntimeError):
            lock.release_read()
        assert lock.acquire_write(timeout=0.01) is False
        return
    assert lock.readers == 1
    assert OtherThread().do(lock.acquire_write, False) is False
    lock.release_read()
    assert lock.readers == 0
    assert lock.locked() is False
    assert lock.acquire_write(False) is True


def _use_all(line: Connection, lock: treadle.RWLock) -> None:
    lock.release_read()
    assert lock.acquire_write() is True
    lock.release_write()
    assert lock.acquire_read() is True
    lock.release_read()
    assert OtherThread().do(lock.acquire_write) is True


def _read_together(line: Connection, lock: treadle.RWLock, there: treadle.Latch) -> None:
    with lock.read():
        there.count_down()
        line.recv()
    line.send("released")


def _expect_written(line: Connection, lock: treadle.RWLock) -> None:
    assert lock.owner is not None
    assert lock.readers == 0
    assert lock.acquire_read(False) is False
