"""Every call that a task waits in: the table that the tests of ``.aio`` run over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

import treadle
from tests.aio.loops import steps

Thing = Any


@dataclass(frozen=True)
class TaskWait:
    """``use(thing, timeout)``, by a task, waits, gives back what a lock gave it, and returns True.

    Once ``hold(thing)`` was called it waits until the same thread or task calls ``end(thing)``.
    Between the two the tasks of one process are served in order. ``hold_by_task`` and
    ``end_by_task`` are the same for a task.
    """

    name: str
    make: Callable[[bool], Thing]
    use: Callable[..., Awaitable[Any]]
    hold: Callable[[Thing], object]
    end: Callable[[Thing], object]
    hold_by_task: Callable[[Thing], Awaitable[object]]
    end_by_task: Callable[[Thing], Awaitable[object]]
    settled: Callable[
        [Thing], object
    ]  # raises unless the books are those after as many uses as ends
    one_each: bool = False  # each end lets one through; else an end lets all through
    together: bool = False  # at once, and not one after the other
    too_late: type[Exception] | None = None  # what a timeout raises; None: it returns False
    handed_over: bool = False  # to one who waits, who has it even before it runs again
    private_too: bool = True
    shared_too: bool = True

    def storages(self) -> list[bool]:
        return [True] * self.shared_too + [False] * self.private_too

    async def all_through(self, thing: Thing, tasks: list[Any], *, used: int) -> None:
        """What was let through once, and used so often, is the tasks': they get what they want."""
        ends = 1
        for done in range(1, len(tasks) + 1):
            if self.one_each and used + done > ends:
                self.end(thing)
                ends += 1
            while sum(task.done() for task in tasks) < done:
                await steps(1)
        for task in tasks:
            assert await task is True
        if self.one_each and used + len(tasks) < ends:
            assert await self.use(thing) is True
        self.settled(thing)


# ---- Locks and permits


def _lock(name: str, factory: Callable[..., Thing], **options: Any) -> TaskWait:
    async def use(lock: Thing, timeout: float | None = None) -> bool:
        if not await lock.aio.acquire(timeout=-1 if timeout is None else timeout):
            return False
        lock.aio.release()
        return True

    async def acquire(lock: Thing) -> None:
        await lock.aio.acquire()

    async def release(lock: Thing) -> None:
        lock.aio.release()

    return TaskWait(
        f"{name}.acquire",
        lambda shared: factory(shared=shared),
        use,
        lambda lock: lock.acquire(),
        lambda lock: lock.release(),
        acquire,
        release,
        _acquires_once,
        **options,
    )


def _acquires_once(lock: Thing) -> None:
    assert lock.acquire(False)
    lock.release()


def _rwlock(name: str, *, holds: str, uses: str) -> TaskWait:
    async def use(lock: treadle.RWLock, timeout: float | None = None) -> bool:
        acquire = getattr(lock.aio, f"acquire_{uses}")
        if not await acquire(timeout=-1 if timeout is None else timeout):
            return False
        getattr(lock.aio, f"release_{uses}")()
        return True

    async def acquire_by_task(lock: treadle.RWLock) -> None:
        await getattr(lock.aio, f"acquire_{holds}")()

    async def release_by_task(lock: treadle.RWLock) -> None:
        getattr(lock.aio, f"release_{holds}")()

    def settled(lock: treadle.RWLock) -> None:
        assert not lock.locked()
        assert lock.readers == 0
        assert lock.acquire_write(False)
        lock.release_write()
        assert lock.acquire_read(False)
        lock.release_read()

    return TaskWait(
        name,
        lambda shared: treadle.RWLock(shared=shared),
        use,
        lambda lock: getattr(lock, f"acquire_{holds}")(),
        lambda lock: getattr(lock, f"release_{holds}")(),
        acquire_by_task,
        release_by_task,
        settled,
        together=uses == "read",
        handed_over=True,
    )


async def _use_permit(semaphore: Thing, timeout: float | None = None) -> bool:
    if not await semaphore.aio.acquire(timeout=timeout):
        return False
    semaphore.aio.release()
    return True


async def _take_permit(semaphore: Thing, timeout: float | None = None) -> bool:
    return await semaphore.aio.acquire(timeout=timeout)


async def _acquire(thing: Thing) -> None:
    await thing.aio.acquire()


async def _release(thing: Thing) -> None:
    thing.aio.release()


def _has_permits(count: int) -> Callable[[Thing], None]:
    def settled(semaphore: Thing) -> None:
        assert semaphore.get_value() == count
        for _ in range(count):
            assert semaphore.acquire(False)
        assert not semaphore.acquire(False)
        for _ in range(count):
            semaphore.release()

    return settled


async def _nothing(thing: Thing) -> None:
    pass


# ---- Event, latch, condition, barrier


def _flag(
    name: str, make: Callable[[bool], Thing], end: str, is_up: Callable[[Thing], bool]
) -> TaskWait:
    async def use(flag: Thing, timeout: float | None = None) -> bool:
        return bool(await flag.aio.wait(timeout))

    async def end_by_task(flag: Thing) -> None:
        getattr(flag.aio, end)()

    def settled(flag: Thing) -> None:
        assert is_up(flag)

    return TaskWait(
        f"{name}.wait",
        make,
        use,
        lambda flag: None,
        lambda flag: getattr(flag, end)(),
        _nothing,
        end_by_task,
        settled,
        together=True,
    )


@dataclass
class Guarded:
    """A condition, and permits that only who holds its lock looks at."""

    condition: treadle.Condition
    permits: treadle.Semaphore

    @staticmethod
    def make(lock: Callable[..., Thing], shared: bool) -> Guarded:
        return Guarded(
            treadle.Condition(lock(shared=shared), shared=shared),
            treadle.Semaphore(0, shared=shared),
        )

    async def use(self, timeout: float | None = None) -> bool:
        view = self.condition.aio
        async with view:
            return await view.wait_for(partial(self.permits.acquire, False), timeout)

    def notify(self) -> None:
        with self.condition:
            self.permits.release()
            self.condition.notify()

    async def notify_by_task(self) -> None:
        async with self.condition.aio:
            self.permits.release()
            self.condition.aio.notify()

    def settled(self) -> None:
        assert self.permits.get_value() == 0
        with self.condition:
            assert self.condition.statistics().waiting == 0


def _condition(name: str, lock: Callable[..., Thing]) -> TaskWait:
    return TaskWait(
        f"{name}.wait_for",
        partial(Guarded.make, lock),
        Guarded.use,
        lambda guarded: None,
        Guarded.notify,
        _nothing,
        Guarded.notify_by_task,
        Guarded.settled,
        one_each=True,
        handed_over=True,
    )


# ---- Queues


def _filled(kind: Callable[..., Thing], shared: bool) -> Thing:
    queue = kind(1, shared=shared)
    queue.put("first")
    return queue


async def _get(queue: Thing, timeout: float | None = None) -> bool:
    item = await queue.aio.get(timeout=timeout)
    queue.aio.task_done()
    return item == "item"


async def _get_many(queue: Thing, timeout: float | None = None) -> bool:
    items = await queue.aio.get_many(1, timeout)
    queue.aio.task_done()
    return items == ["item"]


async def _lease(queue: Thing, timeout: float | None = None) -> bool:
    with await queue.aio.lease(timeout) as lease:
        return lease.item == "item"


async def _put(queue: Thing, timeout: float | None = None) -> bool:
    await queue.aio.put("next", timeout=timeout)
    return True


async def _put_many(queue: Thing, timeout: float | None = None) -> bool:
    await queue.aio.put_many(["next"], timeout)
    return True


async def _join(queue: Thing, timeout: float | None = None) -> bool:
    return await queue.aio.join(timeout)


async def _put_item(queue: Thing) -> None:
    queue.aio.put_nowait("item")


async def _get_now(queue: Thing) -> None:
    queue.aio.get_nowait()


async def _task_done(queue: Thing) -> None:
    queue.aio.task_done()


def _is_empty(queue: Thing) -> None:
    assert queue.qsize() == 0
    assert queue.join(timeout=0) is True
    assert queue.statistics().leased == 0


def _is_full(queue: Thing) -> None:
    assert queue.full()
    assert queue.qsize() == 1


def _takes(
    name: str, kind: Callable[..., Thing], use: Callable[..., Awaitable[bool]], **options: Any
) -> TaskWait:
    return TaskWait(
        name,
        lambda shared: kind(shared=shared),
        use,
        lambda queue: None,
        lambda queue: queue.put("item"),
        _nothing,
        _put_item,
        _is_empty,
        one_each=True,
        too_late=treadle.Empty,
        **options,
    )


def _gives(name: str, kind: Callable[..., Thing], use: Callable[..., Awaitable[bool]]) -> TaskWait:
    return TaskWait(
        name,
        partial(_filled, kind),
        use,
        lambda queue: None,
        lambda queue: queue.get(),
        _nothing,
        _get_now,
        _is_full,
        one_each=True,
        too_late=treadle.Full,
    )


def _simple_queue(*, shared: bool) -> Thing:
    from treadle import queue

    assert not shared
    return queue.SimpleQueue()


WAITS = [
    _lock("Lock", treadle.Lock),
    _lock("taken-over Lock", partial(treadle.Lock, on_owner_death="recover")),
    _lock("RLock", treadle.RLock),
    _lock("Condition", treadle.Condition),
    _rwlock("RWLock.acquire_read", holds="write", uses="read"),
    _rwlock("RWLock.acquire_write beside a writer", holds="write", uses="write"),
    _rwlock("RWLock.acquire_write beside a reader", holds="read", uses="write"),
    TaskWait(
        "Semaphore.acquire",
        lambda shared: treadle.Semaphore(0, shared=shared),
        _take_permit,
        lambda semaphore: None,
        lambda semaphore: semaphore.release(),
        _nothing,
        _release,
        _has_permits(0),
        one_each=True,
    ),
    TaskWait(
        "BoundedSemaphore.acquire",
        lambda shared: treadle.BoundedSemaphore(1, shared=shared),
        _use_permit,
        lambda semaphore: semaphore.acquire(),
        lambda semaphore: semaphore.release(),
        _acquire,
        _release,
        _has_permits(1),
    ),
    _flag("Event", lambda shared: treadle.Event(shared=shared), "set", treadle.Event.is_set),
    _flag(
        "Latch",
        lambda shared: treadle.Latch(1, shared=shared),
        "count_down",
        lambda latch: latch.count == 0,
    ),
    _condition("Condition of an RLock", treadle.RLock),
    _condition("Condition of a Lock", treadle.Lock),
    _takes("Queue.get", treadle.Queue, _get),
    _takes("Queue.get_many", treadle.Queue, _get_many),
    _takes("Queue.lease", treadle.Queue, _lease),
    _gives("Queue.put", treadle.Queue, _put),
    _gives("Queue.put_many", treadle.Queue, _put_many),
    TaskWait(
        "Queue.join",
        lambda shared: treadle.Queue(shared=shared),
        _join,
        lambda queue: queue.put("job"),
        lambda queue: (queue.get(), queue.task_done()),
        _put_item,
        lambda queue: _get_and_do(queue),
        _is_empty,
        together=True,
    ),
    _takes("LifoQueue.get", treadle.LifoQueue, _get),
    _takes("LifoQueue.lease", treadle.LifoQueue, _lease),
    _gives("LifoQueue.put", treadle.LifoQueue, _put),
    _takes("PriorityQueue.get", treadle.PriorityQueue, _get),
    _takes("PriorityQueue.lease", treadle.PriorityQueue, _lease),
    _gives("PriorityQueue.put", treadle.PriorityQueue, _put),
    _takes("SimpleQueue.get", _simple_queue, _get, shared_too=False),
]  # fmt: skip


async def _get_and_do(queue: Thing) -> None:
    queue.aio.get_nowait()
    queue.aio.task_done()


NAMED = {wait.name: wait for wait in WAITS}

every_wait = pytest.mark.parametrize(
    ("wait", "shared"),
    [
        pytest.param(wait, shared, id=f"{wait.name}-{'shared' if shared else 'private'}")
        for wait in WAITS
        for shared in wait.storages()
    ],
)
every_shared_wait = pytest.mark.parametrize(
    "wait", [wait for wait in WAITS if wait.shared_too], ids=lambda wait: wait.name
)
every_private_wait = pytest.mark.parametrize(
    "wait", [wait for wait in WAITS if wait.private_too], ids=lambda wait: wait.name
)
