"""The tables that the tests of several objects run over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

import treadle

STORAGES = {"shared": True, "private": False}
both_storages = pytest.mark.parametrize("shared", STORAGES.values(), ids=STORAGES.keys())


# ---- Everything that is acquired and released


@dataclass(frozen=True)
class LockType:
    """``factory`` makes one that can be acquired once by each thread until it is released."""

    name: str
    factory: Callable[..., Any]
    not_due: type[Exception] | None = RuntimeError  # what a release that is not due raises
    timeout_like_lock: bool = True  # -1 is for ever; else None is, as for semaphores


def _condition_of_a_lock(*, shared: bool = True, label: str | None = None) -> treadle.Condition:
    return treadle.Condition(treadle.Lock(shared=shared), shared=shared, label=label)


class Written(treadle.RWLock):
    """A lock for readers and writers as one that excludes everybody."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        return self.acquire_write(blocking, timeout)

    def release(self) -> None:
        self.release_write()

    def __enter__(self) -> bool:
        return self.acquire_write()

    def __exit__(self, *error: object) -> None:
        self.release_write()


LOCK_TYPES = [
    LockType("Lock", treadle.Lock),
    LockType("taken-over Lock", partial(treadle.Lock, on_owner_death="recover")),
    LockType("RLock", treadle.RLock),
    LockType("taken-over RLock", partial(treadle.RLock, on_owner_death="recover")),
    LockType("RWLock", Written),
    LockType("taken-over RWLock", partial(Written, on_owner_death="recover")),
    LockType("Condition", treadle.Condition),
    LockType("Condition of a Lock", _condition_of_a_lock),
    LockType("Semaphore", treadle.Semaphore, None, False),
    LockType("reclaiming Semaphore", partial(treadle.Semaphore, reclaim=True), None, False),
    LockType("BoundedSemaphore", treadle.BoundedSemaphore, ValueError, False),
    LockType(
        "forgetful BoundedSemaphore",
        partial(treadle.BoundedSemaphore, reclaim=False),
        ValueError,
        False,
    ),
]  # fmt: skip

all_lock_types = pytest.mark.parametrize("kind", LOCK_TYPES, ids=lambda kind: kind.name)


# ---- Every call that blocks


@dataclass(frozen=True)
class BlockingCall:
    """``block(thing, timeout)`` blocks all threads but the one that made ``thing``.

    That one calls ``unblock(thing)``; ``usable(thing)`` holds for any thread after it.
    """

    name: str
    make: Callable[[bool], Any]
    block: Callable[[Any, float | None], Any]
    unblock: Callable[[Any], object]
    usable: Callable[[Any], object]
    too_late: Any = False  # what a timeout returns or raises
    takes_timeout: bool = True
    only_its_owner_unblocks: bool = False
    parks_on: Callable[[Any], Any] = field(default=lambda thing: thing)


def _held(factory: Callable[..., Any], shared: bool) -> Any:
    lock = factory(shared=shared)
    lock.acquire()
    return lock


def _acquire(lock: Any, timeout: float | None) -> Any:
    return lock.acquire(timeout=-1 if timeout is None else timeout) and _and_release(lock)


def _acquire_permit(semaphore: Any, timeout: float | None) -> Any:
    return semaphore.acquire(timeout=timeout) and _and_release(semaphore)


def _enter(lock: Any, timeout: None) -> bool:
    with lock:
        return True


def _recover(lock: Any, timeout: float | None) -> bool:
    with lock.recover(-1 if timeout is None else timeout):
        return True


def _and_release(lock: Any) -> bool:
    lock.release()
    return True


def _acquire_once(lock: Any) -> None:
    assert lock.acquire(False)
    lock.release()


def _wait(condition: treadle.Condition, timeout: float | None) -> bool:
    with condition:
        return condition.wait(timeout)


def _notify(condition: treadle.Condition) -> None:
    with condition:
        condition.notify()


def _nobody_waits(condition: treadle.Condition) -> None:
    with condition:
        condition.notify_all()
        assert condition.statistics().waiting == 0


@dataclass
class _Guarded:
    """A condition and what it is about."""

    condition: treadle.Condition
    ready: treadle.Event


def _make_guarded(shared: bool) -> _Guarded:
    return _Guarded(treadle.Condition(shared=shared), treadle.Event(shared=shared))


def _wait_for(guarded: _Guarded, timeout: float | None) -> Any:
    with guarded.condition:
        return guarded.condition.wait_for(guarded.ready.is_set, timeout)


def _make_ready(guarded: _Guarded) -> None:
    with guarded.condition:
        guarded.ready.set()
        guarded.condition.notify()


def _wait_at(barrier: treadle.Barrier, timeout: float | None) -> bool:
    return barrier.wait(timeout) in (0, 1)


def _arrive(barrier: treadle.Barrier) -> None:
    if not barrier.broken:  # as it is when whoever waited there has been interrupted
        barrier.wait()


def _reset_and_pass(barrier: treadle.Barrier) -> None:
    barrier.reset()
    other = threading.Thread(target=barrier.wait)
    other.start()
    barrier.wait()
    other.join()


def _locks(
    name: str, factory: Callable[..., Any], *, only_its_owner_unblocks: bool
) -> Iterator[BlockingCall]:
    call = partial(
        BlockingCall,
        make=partial(_held, factory),
        unblock=_and_release,
        usable=_acquire_once,
        only_its_owner_unblocks=only_its_owner_unblocks,
    )
    yield call(f"{name}.acquire", block=_acquire)
    yield call(f"with {name}", block=_enter, takes_timeout=False)
    yield call(f"{name}.recover", block=_recover, too_late=TimeoutError)


def _with_a_reader(shared: bool) -> Written:
    lock = Written(shared=shared)
    lock.acquire_read()
    return lock


def _read(lock: treadle.RWLock, timeout: float | None) -> bool:
    if not lock.acquire_read(timeout=-1 if timeout is None else timeout):
        return False
    lock.release_read()
    return True


def _enter_to_read(lock: treadle.RWLock, timeout: None) -> bool:
    with lock.read():
        return True


def _enter_to_write(lock: treadle.RWLock, timeout: None) -> bool:
    with lock.write():
        return True


def _read_and_write_once(lock: Written) -> None:
    assert lock.acquire_read(False)
    lock.release_read()
    _acquire_once(lock)


def _rwlocks() -> Iterator[BlockingCall]:
    written = partial(
        BlockingCall,
        make=partial(_held, Written),
        unblock=_and_release,
        usable=_read_and_write_once,
        only_its_owner_unblocks=True,
    )
    yield written("RWLock.acquire_read", block=_read)
    yield written("with RWLock.read", block=_enter_to_read, takes_timeout=False)
    yield written("RWLock.acquire_write beside a writer", block=_acquire)
    yield written("RWLock.recover", block=_recover, too_late=TimeoutError)
    read = partial(
        BlockingCall,
        make=_with_a_reader,
        unblock=treadle.RWLock.release_read,
        usable=_read_and_write_once,
        only_its_owner_unblocks=True,
    )
    yield read("RWLock.acquire_write beside a reader", block=_acquire)
    yield read("with RWLock.write", block=_enter_to_write, takes_timeout=False)


def _semaphores(name: str, factory: Callable[..., Any]) -> Iterator[BlockingCall]:
    make = partial(_held, factory)
    yield BlockingCall(f"{name}.acquire", make, _acquire_permit, _and_release, _acquire_once)
    yield BlockingCall(
        f"with {name}", make, _enter, _and_release, _acquire_once, takes_timeout=False
    )


BLOCKING_CALLS = [
    *_locks("Lock", treadle.Lock, only_its_owner_unblocks=False),
    *_locks("RLock", treadle.RLock, only_its_owner_unblocks=True),
    *_rwlocks(),
    BlockingCall(
        "Condition.acquire",
        partial(_held, treadle.Condition),
        _acquire,
        _and_release,
        _acquire_once,
        only_its_owner_unblocks=True,
        parks_on=lambda condition: condition._lock,
    ),
    *_semaphores("Semaphore", treadle.Semaphore),
    *_semaphores("reclaiming Semaphore", partial(treadle.Semaphore, reclaim=True)),
    *_semaphores("BoundedSemaphore", treadle.BoundedSemaphore),
    BlockingCall(
        "Event.wait",
        lambda shared: treadle.Event(shared=shared),
        lambda event, timeout: event.wait(timeout),
        treadle.Event.set,
        treadle.Event.wait,
    ),
    BlockingCall(
        "Latch.wait",
        lambda shared: treadle.Latch(1, shared=shared),
        lambda latch, timeout: latch.wait(timeout),
        treadle.Latch.count_down,
        treadle.Latch.wait,
    ),
    BlockingCall(
        "Condition.wait",
        lambda shared: treadle.Condition(shared=shared),
        _wait,
        _notify,
        _nobody_waits,
    ),
    BlockingCall(
        "Condition.wait_for",
        _make_guarded,
        _wait_for,
        _make_ready,
        lambda guarded: _nobody_waits(guarded.condition),
        parks_on=lambda guarded: guarded.condition,
    ),
    BlockingCall(
        "Barrier.wait",
        lambda shared: treadle.Barrier(2, shared=shared),
        _wait_at,
        _arrive,
        _reset_and_pass,
        too_late=treadle.BrokenBarrierError,
    ),
]

all_blocking_calls = pytest.mark.parametrize("call", BLOCKING_CALLS, ids=lambda call: call.name)


# ---- Every object


OBJECTS: dict[str, Callable[..., Any]] = {
    "Lock": treadle.Lock,
    "RLock": treadle.RLock,
    "RWLock": treadle.RWLock,
    "Semaphore": treadle.Semaphore,
    "reclaiming Semaphore": partial(treadle.Semaphore, reclaim=True),
    "BoundedSemaphore": treadle.BoundedSemaphore,
    "Event": treadle.Event,
    "Latch": partial(treadle.Latch, 2),
    "Condition": treadle.Condition,
    "Condition of a Lock": _condition_of_a_lock,
    "Barrier": partial(treadle.Barrier, 2),
}

all_objects = pytest.mark.parametrize("make", OBJECTS.values(), ids=OBJECTS.keys())
