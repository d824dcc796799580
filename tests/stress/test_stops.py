"""Participants that are stopped (SIGSTOP): they are alive, and the others go on without them."""

import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import treadle
from tests.stress import family, fresh

pytestmark = pytest.mark.slow


class _Stopped:
    """A child that has come as far as `reach` says, and stands."""

    def __init__(self, live: Callable[..., Any], *arguments: Any, blocked: bool = False) -> None:
        there = treadle.Event()
        self.pid = family.fork(lambda: live(there, *arguments))
        there.wait()
        if blocked:
            family.wait_until(lambda: family.sleeps(self.pid))
        family.stop(self.pid)

    def go_on(self) -> None:
        family.go_on(self.pid)
        family.join([self.pid])


def test_a_stopped_owner_of_a_lock_is_alive() -> None:
    fresh.run(ask_for_what_the_stopped_hold)


def ask_for_what_the_stopped_hold() -> None:
    lock, rlock, taken_over = (
        treadle.Lock(),
        treadle.RLock(),
        treadle.Lock(on_owner_death="recover"),
    )
    permits, queue, barrier = treadle.BoundedSemaphore(1), treadle.Queue(), treadle.Barrier(2)
    queue.put("job")

    def hold(there: treadle.Event) -> None:
        with lock, rlock, taken_over, permits, queue.lease() as lease:
            assert lease.deliveries == 1
            there.set()
            signal.pause()

    holder = _Stopped(hold)
    # Long enough for several looks at whether the owner lives.
    for held in (lock, rlock, taken_over):
        assert not held.acquire(timeout=0.3)
        assert not held.acquire(blocking=False)
        assert held.owner is not None and held.owner.pid == holder.pid
    assert not permits.acquire(timeout=0.3)
    with pytest.raises(treadle.Empty):
        queue.get(timeout=0.3)
    with pytest.raises(treadle.Empty):
        queue.lease(timeout=0.3)
    with pytest.raises(TimeoutError), lock.recover(timeout=0.1):
        pass
    assert treadle.sweep() == 0
    family.kill(holder.pid)
    with pytest.raises(treadle.OwnerDiedError):
        lock.acquire()
    assert queue.lease().deliveries == 2

    def arrive(there: treadle.Event) -> None:
        there.set()
        barrier.wait()

    # A party that is stopped while it waits does not break the barrier.
    party = _Stopped(arrive, blocked=True)
    family.wait_until(lambda: barrier.n_waiting == 1)
    assert barrier.wait() == 1
    party.go_on()


def test_the_others_go_on_without_a_stopped_waiter() -> None:
    fresh.run(wait_beside_the_stopped)


def wait_beside_the_stopped() -> None:
    queue, full = treadle.Queue(), treadle.Queue(1)
    lock, condition, event = treadle.Lock(), treadle.Condition(), treadle.Event()
    semaphore, done = treadle.Semaphore(0), treadle.Queue()
    full.put(0)

    def get(there: treadle.Event) -> None:
        there.set()
        done.put(queue.get())

    def put(there: treadle.Event) -> None:
        there.set()
        full.put(1)

    def acquire(there: treadle.Event) -> None:
        there.set()
        with lock:
            pass

    def take(there: treadle.Event) -> None:
        there.set()
        semaphore.acquire()

    def await_notice(there: treadle.Event) -> None:
        with condition:
            there.set()
            condition.wait()

    def await_event(there: treadle.Event) -> None:
        there.set()
        event.wait()

    lock.acquire()
    waiters = [get, put, acquire, take, await_notice, await_event]
    stopped = [_Stopped(wait, blocked=True) for wait in waiters]
    lock.release()
    # A second waiter comes to each, and is served although the first wake-up may go to the stopped.
    others = [family.fork(wait, treadle.Event()) for wait in waiters]
    queue.put(1)
    assert done.get() == 1
    assert full.get() == 0
    semaphore.release()
    event.set()
    # Notifications go to the longest-waiting first, stopped or not: he is alive.
    family.wait_until(lambda: condition.statistics().waiting == 2)
    with condition:
        condition.notify(2)
    family.join(others)
    queue.put(2)
    semaphore.release()
    full.get()
    for waiter in stopped:
        waiter.go_on()
    assert done.get() == 2
    full.get()
    assert full.empty()


@pytest.mark.parametrize("rounds", [150, pytest.param(5000, marks=pytest.mark.soak)])
@pytest.mark.watchdog(300)
def test_random_stops_lose_nothing(rounds: int) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(
        "repeat with: python -m tests.stress.fresh tests.stress.test_stops stop_at_random "
        f"'[{rounds}, {seed}]'"
    )
    fresh.run(stop_at_random, rounds, seed)


def stop_at_random(rounds: int, seed: int) -> None:
    dice = random.Random(seed)
    queue, jobs, results = treadle.Queue(8), treadle.Queue(8), treadle.Queue()
    end = family.Words(1)

    def produce(first: int) -> None:
        number = first
        while not end[0]:
            queue.put(number)
            number += 1
        results.put((first, number))

    def move() -> None:
        for number in queue:
            jobs.put(number)

    def work() -> None:
        done = []
        try:
            while True:
                with jobs.lease() as lease:
                    assert lease.deliveries == 1
                    done.append(lease.item)
        except treadle.ShutDown:
            results.put(done)

    producers = [family.fork(produce, n * 1_000_000_000) for n in range(2)]
    movers = [family.fork(move) for _ in range(2)]
    workers = [family.fork(work) for _ in range(2)]
    everybody = producers + movers + workers
    for _ in range(rounds):
        victims = dice.sample(everybody, dice.randint(1, 3))
        for pid in victims:
            family.stop(pid)
        passed = queue.statistics().gets
        # The others may be waiting for the stopped; so this looks at them a while, not until.
        for _ in range(dice.randrange(200)):
            os.sched_yield()
        assert queue.statistics().gets >= passed
        for pid in victims:
            family.go_on(pid)
    end[0] = 1
    family.join(producers)
    put = [range(*results.get_nowait()) for _ in producers]
    queue.shutdown()
    family.join(movers)
    jobs.shutdown()
    family.join(workers)
    done = Counter[int]()
    for _ in workers:
        done.update(results.get_nowait())
    assert done == Counter(number for numbers in put for number in numbers)
    assert jobs.join(timeout=0)
