"""Fork: beside threads that hold every kind of lock, and in storms that kill the newborn."""

import os
import random
import signal
import threading
from typing import Any

import pytest

import treadle
from tests.stress import family, fresh

pytestmark = pytest.mark.slow


def test_a_fork_while_threads_hold_every_kind_of_lock_works_in_the_child() -> None:
    fresh.run(fork_beside_holders)


class _Objects:
    def __init__(self, shared: bool) -> None:
        self.lock = treadle.Lock(shared=shared)
        self.rlock = treadle.RLock(shared=shared)
        self.semaphore = treadle.Semaphore(1, shared=shared)
        self.permits = treadle.BoundedSemaphore(1, shared=shared)
        self.condition = treadle.Condition(shared=shared)

    def all(self) -> list[Any]:
        return [self.lock, self.rlock, self.semaphore, self.permits, self.condition]


def fork_beside_holders() -> None:
    shared, private = _Objects(True), _Objects(False)
    event, barrier, queue = treadle.Event(), treadle.Barrier(2), treadle.Queue()
    queue.put_many(["leased", "free"])
    held, end = threading.Semaphore(0), threading.Event()

    def hold(lock: Any) -> None:
        with lock:
            held.release()
            end.wait()

    def hold_lease() -> None:
        with queue.lease():
            held.release()
            end.wait()

    def wait(waitable: Any) -> None:
        held.release()
        waitable.wait()

    holders = [
        threading.Thread(target=hold, args=(x,), daemon=True) for x in shared.all() + private.all()
    ]
    holders.append(threading.Thread(target=hold_lease, daemon=True))
    waiters = [threading.Thread(target=wait, args=(x,), daemon=True) for x in (event, barrier)]
    for thread in holders + waiters:
        thread.start()
    for _ in holders + waiters:
        held.acquire()

    def child() -> None:
        # What is shared is held, by a thread that lives in the parent.
        for lock in (shared.lock, shared.rlock):
            assert not lock.acquire(timeout=0.2)
            assert lock.owner is not None and lock.owner.pid == os.getppid()
        for permits in (shared.semaphore, shared.permits):
            assert not permits.acquire(timeout=0.05)
        assert not event.is_set()
        # What is private is free in the child, as the standard library's at-fork rules demand ...
        for lock in (private.lock, private.rlock, private.condition):
            assert lock.acquire(timeout=1)
            lock.release()
        # ... but for semaphores, whose permits may be signals.
        for permits in (private.semaphore, private.permits):
            assert not permits.acquire(blocking=False)
        assert queue.get() == "free"
        with pytest.raises(treadle.Empty):
            queue.get(timeout=0.2)
        queue.put("from the child")
        _use_fresh_objects()

    for _ in range(2):
        family.join([family.fork(child)])
        assert queue.get() == "from the child"
        queue.put("free")
    event.set()
    assert barrier.wait(timeout=30) in (0, 1)
    end.set()
    for thread in holders + waiters:
        thread.join()
    assert queue.get() == "free"
    for lock in shared.all() + private.all():
        assert lock.acquire(blocking=False)


def _use_fresh_objects() -> None:
    for shared in (True, False):
        for lock in _Objects(shared).all():
            with lock:
                pass
        event = treadle.Event(shared=shared)
        thread = threading.Thread(target=event.wait)
        thread.start()
        event.set()
        thread.join()
        treadle.Barrier(1, shared=shared).wait()
    queue = treadle.Queue()
    queue.put(b"x" * 100_000)
    queue.put(1)
    assert len(queue.get()) == 100_000
    with queue.lease() as lease:
        assert lease.item == 1


@pytest.mark.parametrize("forks", [25, pytest.param(3000, marks=pytest.mark.soak)])
@pytest.mark.watchdog(300)
def test_a_fork_amid_puts_and_gets_of_other_threads_works_in_the_child(forks: int) -> None:
    fresh.run(fork_amid_traffic, forks)


def fork_amid_traffic(forks: int) -> None:
    queue, messages, jobs = treadle.Queue(16), treadle.Queue(4), treadle.Queue()
    lock, condition, permits = treadle.Lock(), treadle.Condition(), treadle.BoundedSemaphore(2)
    answers = treadle.Queue()
    end = False

    def move(through: treadle.Queue, item: object) -> None:
        while not end:
            through.put(item)
            through.get()

    def lease() -> None:
        while not end:
            jobs.put(0)
            with jobs.lease():
                pass

    def sync() -> None:
        while not end:
            with permits, condition:
                condition.notify()
            with lock:
                pass

    def make() -> None:
        while not end:
            _ = [treadle.Lock() for _ in range(50)]

    traffic: list[tuple[Any, ...]] = [
        (move, queue, 1),
        (move, queue, 2),
        (move, messages, b"x" * 50_000),
        (lease,),
        (sync,),
        (make,),
    ]
    threads = [threading.Thread(target=f, args=a, daemon=True) for f, *a in traffic]
    for thread in threads:
        thread.start()

    def child(number: int) -> None:
        with lock, condition:
            pass
        with permits:
            queue.put(3)
            assert queue.get() in (1, 2, 3)
            messages.put(b"x" * 50_000)
            assert len(messages.get()) == 50_000
            jobs.put(0)
            with jobs.lease() as lease:
                assert lease.item == 0
        _use_fresh_objects()
        answers.put(number)

    for number in range(forks):
        family.join([family.fork(child, number)])
        assert answers.get() == number
    end = True
    for thread in threads:
        thread.join()
    assert queue.empty() and messages.empty() and jobs.empty()
    assert permits.get_value() == 2


@pytest.mark.parametrize("births", [400, pytest.param(20_000, marks=pytest.mark.soak)])
@pytest.mark.watchdog(300)
def test_children_killed_at_birth_leave_nothing(births: int) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(
        "repeat with: python -m tests.stress.fresh tests.stress.test_forks kill_at_birth "
        f"'[{births}, {seed}]'"
    )
    fresh.run(kill_at_birth, births, seed)


def kill_at_birth(births: int, seed: int) -> None:
    dice = random.Random(seed)
    lock, queue = treadle.Lock(), treadle.Queue()
    references = [treadle.Event() for _ in range(300)]
    queue.put(b"x" * 50_000)
    treadle.sweep()
    before = treadle.arena_statistics()
    lock.acquire()
    reaped, swept = 0, 0
    while reaped < births:
        children = []
        for _ in range(dice.randint(1, 12)):
            pid = os.fork()
            if pid == 0:
                # Seldom does it come this far; if it does, it is killed wherever it is then.
                _ = [treadle.Lock() for _ in range(10)]
                lock.acquire()
                os._exit(0)
            if dice.random() < 0.9:
                os.kill(pid, signal.SIGKILL)
            children.append(pid)
        for pid in children:
            family.kill(pid)
        reaped += len(children)
        if dice.random() < 0.2:
            swept += treadle.sweep()
    swept += treadle.sweep()
    after = treadle.arena_statistics()
    # fork sweeps too, once a second.
    assert 0 < swept <= reaped
    assert after.blocks == before.blocks
    assert after.used <= before.used + (1 << 20)
    lock.release()
    with lock:
        assert len(queue.get()) == 50_000
    del references
    assert treadle.arena_statistics().blocks <= before.blocks - 300


@pytest.mark.parametrize("forks", [60, pytest.param(10_000, marks=pytest.mark.soak)])
@pytest.mark.watchdog(300)
def test_a_sweep_never_takes_a_newborn_for_dead(forks: int) -> None:
    fresh.run(fork_beside_sweepers, forks)


def fork_beside_sweepers(forks: int) -> None:
    # A sweep sees a newborn either before or after it has come to life; here some see it in
    # between.
    lock, sweepers = treadle.Lock(), []
    for _ in range(2):
        sweepers.append(family.fork(_sweep_for_ever))

    def hold(writing: int, reading: int) -> None:
        with lock:
            os.write(writing, b"!")
            os.read(reading, 1)

    for _ in range(forks):
        told, telling = os.pipe()
        waiting, letting_go = os.pipe()
        pid = family.fork(hold, telling, waiting)
        assert os.read(told, 1) == b"!"
        assert not lock.acquire(blocking=False)  # raises OwnerDiedError if it looks dead
        os.write(letting_go, b"!")
        family.join([pid])
        for descriptor in (told, telling, waiting, letting_go):
            os.close(descriptor)
    for pid in sweepers:
        family.kill(pid)


def _sweep_for_ever() -> None:
    while True:
        treadle.sweep()
