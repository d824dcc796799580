"""What a timer does: when it fires, what cancels it, what it says of itself."""

from __future__ import annotations

import gc
import pickle
import threading
import weakref
from queue import SimpleQueue
from typing import Any

import pytest

import treadle
from tests.timers.hand_clock import HandClock


def _started(interval: float, function: Any = int, *args: Any) -> treadle.Timer:
    timer = treadle.Timer(interval, function, args)
    timer.start()
    return timer


# ---- Firing


def test_it_fires_when_its_time_has_come_and_not_before(clock: HandClock) -> None:
    calls: list[str] = []
    timer = _started(1.0, calls.append, "called")
    clock.settled()
    clock.advance(0.5)
    clock.settled()
    assert (calls, timer.fired, timer.is_alive()) == ([], False, True)
    clock.advance(0.5)
    timer.join()
    assert (calls, timer.fired, timer.is_alive()) == (["called"], True, False)


def test_it_hands_on_its_arguments(clock: HandClock) -> None:
    heard: SimpleQueue[Any] = SimpleQueue()
    timer = treadle.Timer(
        0, lambda *args, **kwargs: heard.put((args, kwargs)), ["a"], kwargs={"b": 1}
    )
    timer.start()
    assert heard.get() == (("a",), {"b": 1})


def test_without_arguments_it_has_a_list_and_a_dict_of_its_own() -> None:
    one, other = treadle.Timer(1, int), treadle.Timer(1, int)
    assert (one.args, one.kwargs) == ([], {})
    assert one.args is not other.args
    assert one.kwargs is not other.kwargs


def test_timers_fire_in_the_order_of_their_deadlines(schedule: Any) -> None:
    clock = schedule(most_workers=1).clock
    calls: list[int] = []
    timers = [_started(interval, calls.append, interval) for interval in (3, 1, 2, 5, 4)]
    clock.settled()
    clock.advance(5)
    for timer in timers:
        timer.join()
    assert calls == [1, 2, 3, 4, 5]


def test_timers_of_one_deadline_fire_in_the_order_they_were_made(schedule: Any) -> None:
    clock = schedule(most_workers=1).clock
    calls: list[int] = []
    timers = [_started(1, calls.append, number) for number in range(20)]
    clock.settled()
    clock.advance(1)
    for timer in timers:
        timer.join()
    assert calls == list(range(20))


@pytest.mark.parametrize("interval", [0, -1, 0.0])
def test_what_is_due_at_once_fires_at_once(clock: HandClock, interval: float) -> None:
    timer = _started(interval)
    timer.join()
    assert timer.fired


def test_an_interval_without_end_never_fires(clock: HandClock) -> None:
    timer = _started(float("inf"))
    clock.settled()
    clock.advance(1e9)
    clock.settled()
    assert timer.is_alive()
    assert timer.cancel()


def test_the_real_clock_fires_too() -> None:
    timer = _started(0.001)
    timer.join()
    assert timer.fired


@pytest.mark.parametrize(
    ("interval", "error"), [(float("nan"), ValueError), ("1s", ValueError), (None, TypeError)]
)
def test_an_interval_must_be_a_number(interval: Any, error: type[Exception]) -> None:
    timer = treadle.Timer(interval, int)
    with pytest.raises(error):
        timer.start()
    timer.interval = 0.001
    timer.start()
    timer.join()
    assert timer.fired


def test_a_function_may_start_timers(clock: HandClock) -> None:
    later: SimpleQueue[treadle.Timer] = SimpleQueue()
    _started(0, lambda: later.put(_started(1)))
    timer = later.get()
    clock.settled()
    clock.advance(1)
    timer.join()
    assert timer.fired


def test_a_subclass_may_say_what_happens(clock: HandClock) -> None:
    class Twice(treadle.Timer):
        def run(self) -> None:
            super().run()
            super().run()

    calls: list[str] = []
    timer = Twice(0, calls.append, ["called"])
    timer.start()
    timer.join()
    assert calls == ["called", "called"]


# ---- Starting


def test_it_can_be_started_once(clock: HandClock) -> None:
    timer = _started(1)
    with pytest.raises(RuntimeError, match="timers can only be started once"):
        timer.start()
    assert timer.cancel()
    with pytest.raises(RuntimeError, match="timers can only be started once"):
        timer.start()


@pytest.mark.slow
def test_of_two_threads_that_start_it_one_does(schedule: Any) -> None:
    schedule()
    for _ in range(200):
        calls: list[str] = []
        timer = treadle.Timer(0, calls.append, ["called"])
        barrier = threading.Barrier(2)
        refused: list[Exception] = []

        def start(
            timer: treadle.Timer = timer,
            barrier: threading.Barrier = barrier,
            refused: list[Exception] = refused,
        ) -> None:
            barrier.wait()
            try:
                timer.start()
            except RuntimeError as error:
                refused.append(error)

        threads = [threading.Thread(target=start) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        timer.join()
        assert (len(refused), calls) == (1, ["called"])


# ---- Cancelling


def test_a_cancelled_timer_never_fires(clock: HandClock) -> None:
    calls: list[str] = []
    timer = _started(1, calls.append, "called")
    assert timer.cancel()
    assert timer.cancel(), "it says so as often as it is asked"
    assert not timer.is_alive()
    timer.join()
    clock.settled()
    clock.advance(2)
    clock.settled()
    last = _started(0)
    last.join()
    assert (calls, timer.fired) == ([], False)


def test_a_fired_timer_cannot_be_cancelled(clock: HandClock) -> None:
    timer = _started(0)
    timer.join()
    assert not timer.cancel()
    assert timer.fired


def test_a_firing_timer_cannot_be_cancelled(clock: HandClock) -> None:
    begun, go = threading.Event(), threading.Event()
    timer = _started(0, lambda: (begun.set(), go.wait()))
    begun.wait()
    assert not timer.cancel()
    assert (timer.fired, timer.is_alive()) == (True, True)
    go.set()
    timer.join()


def test_its_own_function_cannot_cancel_it(clock: HandClock) -> None:
    heard: SimpleQueue[bool] = SimpleQueue()
    timer = treadle.Timer(0, lambda: heard.put(timer.cancel()))
    timer.start()
    assert heard.get() is False


def test_a_timer_cancelled_before_its_start_never_fires(clock: HandClock) -> None:
    calls: list[str] = []
    timer = treadle.Timer(0, calls.append, ["called"])
    assert timer.cancel()
    timer.start()
    assert not timer.is_alive()
    timer.join()
    _started(0).join()
    assert (calls, timer.cancel()) == ([], True)


def test_what_waits_for_a_worker_can_be_cancelled(schedule: Any) -> None:
    scheduler = schedule(most_workers=1)
    begun, go = threading.Event(), threading.Event()
    slow = _started(0, lambda: (begun.set(), go.wait()))
    begun.wait()
    waiting, after = _started(0), _started(0)
    scheduler.clock.settled()  # both are handed over
    assert waiting.cancel()
    go.set()
    after.join()
    slow.join()
    assert not waiting.fired


@pytest.mark.slow
def test_cancel_is_exact_however_close_it_comes(schedule: Any) -> None:
    schedule()
    calls: SimpleQueue[int] = SimpleQueue()
    timers = [treadle.Timer(0, calls.put, [number]) for number in range(5_000)]
    cancelled = set()
    barrier = threading.Barrier(2)

    def cancel() -> None:
        barrier.wait()
        for number, timer in enumerate(timers):
            if timer.cancel():
                cancelled.add(number)

    thread = threading.Thread(target=cancel)
    thread.start()
    barrier.wait()
    for timer in timers:
        timer.start()
    thread.join()
    for timer in timers:
        timer.join()
    called = {calls.get() for _ in range(calls.qsize())}
    assert called | cancelled == set(range(5_000))
    assert not called & cancelled
    assert called == {number for number, timer in enumerate(timers) if timer.fired}


def test_a_cancelled_timer_lets_go_of_its_function(clock: HandClock) -> None:
    class Function:
        def __call__(self) -> None: ...

    function = Function()
    gone = weakref.ref(function)
    timer = _started(60, function)
    clock.settled()
    assert timer.cancel()
    del function, timer
    gc.collect()
    assert gone() is None


# ---- Joining


def test_a_join_may_run_out_of_time(clock: HandClock) -> None:
    timer = _started(1)
    timer.join(timeout=0.001)
    assert timer.is_alive()


def test_many_may_join(clock: HandClock) -> None:
    timer = _started(1)
    threads = [threading.Thread(target=timer.join) for _ in range(5)]
    for thread in threads:
        thread.start()
    clock.settled()
    clock.advance(1)
    for thread in threads:
        thread.join()
    assert timer.fired


def test_a_cancelled_timer_can_be_joined_by_who_waits(clock: HandClock) -> None:
    timer = _started(1)
    thread = threading.Thread(target=timer.join)
    thread.start()
    assert timer.cancel()
    thread.join()


def test_it_cannot_be_joined_before_it_is_started() -> None:
    with pytest.raises(RuntimeError, match="cannot join a timer before it is started"):
        treadle.Timer(1, int).join()


def test_it_cannot_be_joined_by_its_own_function(clock: HandClock) -> None:
    heard: SimpleQueue[str] = SimpleQueue()

    def join() -> None:
        try:
            timer.join()
        except RuntimeError as error:
            heard.put(str(error))

    timer = treadle.Timer(0, join)
    timer.start()
    assert heard.get() == "cannot join a timer from its own function"


# ---- Exceptions


def test_an_exception_goes_to_the_hook_of_threads(
    clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []
    monkeypatch.setattr(
        threading, "excepthook", lambda args: heard.append((*args[:2], args.thread.name))
    )
    error = ZeroDivisionError("of the function")

    def fail() -> None:
        raise error

    timer = treadle.Timer(0, fail)
    timer.name = "divider"
    timer.start()
    timer.join()
    assert heard == [(ZeroDivisionError, error, "divider")]
    _started(0).join()  # the worker goes on


def test_a_hook_that_fails_harms_nobody(clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    def fail(*_args: object) -> None:
        raise ZeroDivisionError

    heard: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", fail)
    monkeypatch.setattr(sys, "excepthook", lambda kind, *_: heard.append(kind))
    timer = _started(0, fail)
    timer.join()
    assert heard == [ZeroDivisionError]
    assert timer.fired


def test_a_function_may_end_its_thread_quietly(
    clock: HandClock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)  # pytest has its own

    def leave() -> None:
        raise SystemExit

    _started(0, leave).join()
    assert capsys.readouterr().err == ""


# ---- What it says of itself


def test_it_has_a_name_that_may_be_set(clock: HandClock) -> None:
    heard: SimpleQueue[str] = SimpleQueue()
    timer = treadle.Timer(0, lambda: heard.put(threading.current_thread().name))
    assert timer.name.startswith("Timer-")
    timer.name = "timeout of job 7"
    timer.start()
    assert heard.get() == "timeout of job 7"


def test_it_is_a_daemon_if_its_maker_is() -> None:
    made: list[treadle.Timer] = []
    for daemon in (False, True):
        thread = threading.Thread(target=lambda: made.append(treadle.Timer(1, int)), daemon=daemon)
        thread.start()
        thread.join()
    assert [timer.daemon for timer in made] == [False, True]


def test_a_daemon_it_can_become_only_before_its_start(clock: HandClock) -> None:
    timer = treadle.Timer(1, int)
    timer.daemon = True
    timer.start()
    with pytest.raises(RuntimeError, match="cannot set daemon status"):
        timer.daemon = False
    assert timer.daemon is True


def test_it_names_the_thread_that_ran_it(clock: HandClock) -> None:
    heard: SimpleQueue[tuple[int, int]] = SimpleQueue()
    timer = treadle.Timer(0, lambda: heard.put((threading.get_ident(), threading.get_native_id())))
    assert (timer.ident, timer.native_id) == (None, None)
    timer.start()
    timer.join()
    assert heard.get() == (timer.ident, timer.native_id)


def test_its_state_is_told(clock: HandClock) -> None:
    states = []
    timer = treadle.Timer(2, lambda: states.append(timer.statistics().state))

    def look() -> None:
        states.append(timer.statistics().state)
        assert states[-1] in repr(timer)

    look()
    timer.start()
    look()
    clock.settled()
    clock.advance(2)
    timer.join()
    look()
    assert states == ["new", "pending", "running", "ended"]
    other = _started(1)
    other.cancel()
    assert other.statistics().state == "cancelled"


def test_statistics_count_what_the_process_has(clock: HandClock) -> None:
    begun, go = threading.Event(), threading.Event()
    busy = _started(0, lambda: (begun.set(), go.wait()))
    begun.wait()
    timer = _started(5)
    clock.settled()
    clock.advance(2)
    told = timer.statistics()
    assert (told.interval, told.remaining) == (5, 3.0)
    assert (told.all_pending, told.all_running, told.workers) == (1, 1, 1)
    go.set()
    busy.join()


def test_it_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="a Timer cannot be pickled: it belongs to its process"):
        pickle.dumps(treadle.Timer(1, int))
