"""One thread for all timers, rung as rarely as can be; the pool; what cancelled ones leave."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

import treadle
from tests.timers.hand_clock import HandClock
from treadle import threading as drop_in


def _started(interval: float, function: Any = int, *args: Any) -> treadle.Timer:
    timer = treadle.Timer(interval, function, args)
    timer.start()
    return timer


def _threads(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


# ---- The scheduler's thread


def test_all_timers_share_one_thread(clock: HandClock) -> None:
    before = len(threading.enumerate())
    for _ in range(100):
        _started(60)
    assert len(threading.enumerate()) <= before + 2  # the scheduler, and who keeps the interpreter


def test_only_a_timer_that_is_due_before_all_others_rings(clock: HandClock) -> None:
    clock_of = _started(60)
    clock.settled()
    assert clock.wakes_at == clock.time + 60
    rings = clock.rings
    for interval in (60, 61, 3600):
        _started(interval)
    assert clock.rings == rings
    _started(30)
    assert clock.rings == rings + 1
    clock.settled()
    assert clock.wakes_at == clock.time + 30
    assert clock_of.is_alive()


def test_cancelling_does_not_ring(clock: HandClock) -> None:
    timers = [_started(60) for _ in range(10)]
    clock.settled()
    rings = clock.rings
    for timer in timers:
        assert timer.cancel()
    assert clock.rings == rings


def test_a_wake_up_for_a_cancelled_timer_harms_nothing(clock: HandClock) -> None:
    early, late = _started(1), _started(2)
    clock.settled()
    assert early.cancel()
    clock.advance(1)
    clock.settled()
    assert late.is_alive()
    clock.advance(1)
    late.join()
    assert late.fired


@pytest.mark.slow
def test_timers_that_come_and_go_do_not_pile_up(schedule: Any) -> None:
    scheduler = schedule()
    anchor = _started(60)
    for _ in range(50_000):
        assert _started(61).cancel()
    scheduler.clock.settled()
    assert len(scheduler._inbox) + len(scheduler._heap) < 10_000
    assert list(scheduler.pending.values()) == [anchor]


@pytest.mark.slow
def test_cancelled_timers_that_were_scheduled_do_not_pile_up(schedule: Any) -> None:
    scheduler = schedule()
    timers = [_started(60) for _ in range(20_000)]
    scheduler.clock.ring()
    scheduler.clock.settled()
    assert len(scheduler._heap) == 20_000
    for timer in timers:
        assert timer.cancel()
    scheduler.clock.settled()
    assert len(scheduler._heap) < 5_000


@pytest.mark.slow
def test_100_000_timers_fire_each_once(schedule: Any) -> None:
    scheduler = schedule()
    calls: list[int] = []
    timers = [_started(1 + number % 1000, calls.append, number) for number in range(100_000)]
    scheduler.clock.settled()
    scheduler.clock.advance(1001)
    for timer in timers:
        timer.join()
    assert sorted(calls) == list(range(100_000))
    assert (scheduler.pending, scheduler.running, scheduler._heap) == ({}, {}, [])


# ---- The pool


def test_a_slow_function_delays_no_other(clock: HandClock) -> None:
    go = threading.Event()
    slow = [_started(0, go.wait) for _ in range(5)]
    _started(0).join()
    go.set()
    for timer in slow:
        timer.join()


def test_the_pool_has_a_bound(schedule: Any) -> None:
    scheduler = schedule(most_workers=2)
    go = threading.Event()
    begun = threading.Semaphore(0)
    slow = [_started(0, lambda: (begun.release(), go.wait())) for _ in range(2)]
    for _ in slow:
        begun.acquire()
    third = _started(0)
    scheduler.clock.settled()
    assert (scheduler.workers[False, False].count, third.fired, third.is_alive()) == (
        2,
        False,
        True,
    )
    go.set()
    third.join()


def test_the_drop_in_has_none(schedule: Any) -> None:
    """Its functions may wait for each other: where each timer has a thread, they can."""
    scheduler = schedule(most_workers=2)
    go = drop_in.Event()
    timers = [drop_in.Timer(0, go.wait) for _ in range(50)]
    timers.append(drop_in.Timer(0, go.set))
    for timer in timers:
        timer.start()
    for timer in timers:
        timer.join()
    assert scheduler.workers[False, False].count == 0
    assert 0 < scheduler.workers[False, True].count <= len(timers)


def test_a_worker_is_used_again(clock: HandClock) -> None:
    idents = set()
    for _ in range(20):
        timer = _started(0)
        timer.join()
        idents.add(timer.native_id)
    assert len(idents) <= 2  # a join may return just before the worker is free again


def test_idle_workers_end(schedule: Any) -> None:
    scheduler = schedule(idle_seconds=0.001)
    for round_ in range(3):
        found: list[threading.Thread] = []
        _started(0, lambda found=found: found.append(threading.current_thread())).join()
        found[0].join()
        assert scheduler.workers[False, False].count == 0, round_


# ---- Signal handlers


@pytest.mark.slow
def test_signal_handlers_may_start_and_cancel(schedule: Any) -> None:
    schedule()
    calls: list[int] = []
    of_handlers: list[treadle.Timer] = []

    def handle(_number: int, _frame: object) -> None:
        of_handlers.append(_started(0, calls.append, 1))
        assert _started(60).cancel()

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        while len(of_handlers) < 200:
            assert _started(60).cancel()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    for timer in of_handlers:
        timer.join()
    assert len(calls) == len(of_handlers)


def test_an_interrupted_start_leaves_nothing(clock: HandClock, monkeypatch: Any) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    _started(60)
    clock.settled()
    timer = treadle.Timer(1, int)
    with monkeypatch.context() as patch:
        patch.setattr(clock, "ring", interrupt)
        with pytest.raises(KeyboardInterrupt):
            timer.start()
    assert (timer.is_alive(), timer.cancel()) == (False, True)
