"""What holds for everything that is acquired and released, on both storages."""

from __future__ import annotations

import math
import threading
import time
import weakref
from typing import Any

import pytest

from tests.sync.kinds import LockType, all_lock_types, both_storages
from tests.sync.threads import OtherThread, until_parked

pytestmark = [all_lock_types, both_storages]


def test_who_has_it_keeps_the_others_out(kind: LockType, shared: bool, other: OtherThread) -> None:
    lock = kind.factory(shared=shared)
    assert lock.acquire() is True
    assert other.do(lock.acquire, False) is False
    lock.release()
    assert other.do(lock.acquire, False) is True
    assert lock.acquire(False) is False
    other.do(lock.release)
    assert lock.acquire(blocking=False) is True
    lock.release()


def test_an_acquire_waits_for_the_release(kind: LockType, shared: bool, other: OtherThread) -> None:
    lock = kind.factory(shared=shared)
    order = []

    def acquire() -> None:
        assert lock.acquire() is True
        order.append("acquired")
        lock.release()

    lock.acquire()
    waiting = other.start(acquire)
    until_parked(getattr(lock, "_lock", lock), other.native_id)
    order.append("released")
    lock.release()
    waiting.result()
    assert order == ["released", "acquired"]


def test_all_who_wait_get_it_one_after_the_other(kind: LockType, shared: bool) -> None:
    lock = kind.factory(shared=shared)
    inside: list[int] = []
    served = []

    def visit(number: int) -> None:
        with lock:
            inside.append(number)
            assert inside == [number]
            inside.remove(number)
            served.append(number)

    lock.acquire()
    threads = [OtherThread() for _ in range(8)]
    visits = [thread.start(visit, i) for i, thread in enumerate(threads)]
    for thread in threads:
        until_parked(getattr(lock, "_lock", lock), thread.native_id)
    lock.release()
    for v in visits:
        v.result()
    for thread in threads:
        thread.end()
    assert sorted(served) == list(range(8))


def test_threads_that_race_for_it_exclude_each_other(kind: LockType, shared: bool) -> None:
    lock = kind.factory(shared=shared)
    total = 0

    def add() -> None:
        nonlocal total
        for _ in range(150):
            with lock:
                before = total
                time.sleep(0)  # lets the others run, who would spoil it
                total = before + 1

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert total == 600


def test_a_timeout_ends_the_wait_and_not_before_its_time(
    kind: LockType, shared: bool, other: OtherThread
) -> None:
    lock = kind.factory(shared=shared)
    other.do(lock.acquire)
    for timeout in (0.001, 0.03):
        began = time.monotonic()
        assert lock.acquire(timeout=timeout) is False
        assert lock.acquire(True, timeout) is False
        assert time.monotonic() - began >= 2 * timeout
    other.do(lock.release)
    assert lock.acquire(timeout=60) is True
    lock.release()


def test_a_timeout_of_zero_is_a_try(kind: LockType, shared: bool, other: OtherThread) -> None:
    lock = kind.factory(shared=shared)
    assert lock.acquire(timeout=0) is True
    assert other.do(lambda: lock.acquire(timeout=0)) is False
    lock.release()


def test_the_default_timeout_may_be_given(kind: LockType, shared: bool, other: OtherThread) -> None:
    lock = kind.factory(shared=shared)
    forever = -1 if kind.timeout_like_lock else None
    assert lock.acquire(True, forever) is True
    waiting = other.start(lambda: lock.acquire(timeout=forever))
    until_parked(getattr(lock, "_lock", lock), other.native_id)
    lock.release()
    assert waiting.result() is True
    other.do(lock.release)


def test_a_timeout_that_is_none_is_refused(
    kind: LockType, shared: bool, other: OtherThread
) -> None:
    lock = kind.factory(shared=shared)
    refused: list[tuple[tuple[Any, ...], type[Exception]]] = [
        ((True, math.nan), ValueError),
        ((True, math.inf), OverflowError),
        ((True, threading.TIMEOUT_MAX * 2), OverflowError),
        ((True, "1"), TypeError),
        ((False, 1), ValueError),
        ((False, 0), ValueError),
        ((True, 1, 1), TypeError),
    ]
    if kind.timeout_like_lock:
        refused += [((True, -0.5), ValueError), ((True, -2), ValueError), ((True, None), TypeError)]
    for arguments, error in refused:
        with pytest.raises(error):
            lock.acquire(*arguments)
        with pytest.raises(error), lock:  # whether it is free or not
            other.do(lock.acquire, *arguments)
    with pytest.raises(TypeError):
        lock.acquire(wait=True)
    assert lock.acquire(False) is True  # nothing was taken by the calls that failed
    lock.release()


def test_a_with_block_frees_it_even_when_it_raises(
    kind: LockType, shared: bool, other: OtherThread
) -> None:
    lock = kind.factory(shared=shared)
    with pytest.raises(KeyError), lock as entered:
        assert entered is True
        assert other.do(lock.acquire, False) is False
        raise KeyError
    assert other.do(lock.acquire, False) is True
    other.do(lock.release)


def test_a_release_that_is_not_due_is_refused(kind: LockType, shared: bool) -> None:
    lock = kind.factory(shared=shared)
    if kind.not_due is None:
        lock.release()  # a permit more
        assert lock.get_value() == 2
        return
    for _ in range(2):
        with pytest.raises(kind.not_due):
            lock.release()
        with pytest.raises(kind.not_due):
            lock.__exit__(None, None, None)
        lock.acquire()
        lock.release()


def test_it_does_not_take_its_storage_by_position(kind: LockType, shared: bool) -> None:
    with pytest.raises(TypeError):
        kind.factory(1, shared)
    with pytest.raises(TypeError, match="owner_of_death"):
        kind.factory(owner_of_death="raise")


def test_it_can_be_weakly_referenced(kind: LockType, shared: bool) -> None:
    lock = kind.factory(shared=shared)
    reference = weakref.ref(lock)
    assert reference() is lock
    del lock
    assert reference() is None


def test_it_may_be_dropped_while_it_is_held(kind: LockType, shared: bool) -> None:
    lock = kind.factory(shared=shared)
    lock.acquire()
    del lock
