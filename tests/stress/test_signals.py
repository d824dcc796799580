"""Signal storms: a handler of Python runs every millisecond during each kind of wait."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

import treadle
from tests.stress import family, fresh

pytestmark = pytest.mark.slow


class _Case(NamedTuple):
    """wait(timeout) returns whether it got what it waited for; give() lets it have it."""

    wait: Callable[[float | None], object]
    give: Callable[[], object]


def _or_empty(call: Callable[..., Any], *arguments: Any) -> bool:
    try:
        call(*arguments)
    except (treadle.Empty, treadle.Full):
        return False
    return True


def _lock(shared: bool) -> _Case:
    lock = treadle.Lock(shared=shared)
    lock.acquire()
    return _Case(lambda t: lock.acquire(timeout=-1 if t is None else t), lock.release)


def _rlock(shared: bool) -> _Case:
    lock = treadle.RLock(shared=shared)
    end, held = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            end.wait()

    threading.Thread(target=hold, daemon=True).start()
    held.wait()
    return _Case(lambda t: lock.acquire(timeout=-1 if t is None else t), end.set)


def _semaphore(shared: bool) -> _Case:
    semaphore = treadle.Semaphore(0, shared=shared)
    return _Case(lambda t: semaphore.acquire(timeout=t), semaphore.release)


def _permits(shared: bool) -> _Case:
    permits = treadle.BoundedSemaphore(1, shared=shared)
    permits.acquire()
    return _Case(lambda t: permits.acquire(timeout=t), permits.release)


def _event(shared: bool) -> _Case:
    event = treadle.Event(shared=shared)
    return _Case(event.wait, event.set)


def _condition(shared: bool) -> _Case:
    condition = treadle.Condition(shared=shared)

    def wait(timeout: float | None) -> bool:
        with condition:
            return condition.wait(timeout)

    def give() -> None:
        family.wait_until(lambda: condition.statistics().waiting)
        with condition:
            condition.notify()

    return _Case(wait, give)


def _barrier(shared: bool) -> _Case:
    barrier = treadle.Barrier(2, shared=shared)

    def wait(timeout: float | None) -> bool:
        try:
            barrier.wait(timeout)
        except treadle.BrokenBarrierError:
            barrier.reset()
            return False
        return True

    return _Case(wait, barrier.wait)


def _get(_: bool) -> _Case:
    queue = treadle.Queue()
    return _Case(lambda t: _or_empty(queue.get, True, t), lambda: queue.put(1))


def _put(_: bool) -> _Case:
    queue = treadle.Queue(1)
    queue.put(1)
    return _Case(lambda t: _or_empty(queue.put, 2, True, t), queue.get)


def _lease(_: bool) -> _Case:
    queue = treadle.Queue()
    return _Case(lambda t: _or_empty(queue.lease, t), lambda: queue.put(1))


def _join(_: bool) -> _Case:
    queue = treadle.Queue()
    queue.put(1)
    return _Case(queue.join, queue.task_done)


_CASES: dict[str, Callable[[bool], _Case]] = {
    "lock": _lock,
    "rlock": _rlock,
    "semaphore": _semaphore,
    "permits": _permits,
    "event": _event,
    "condition": _condition,
    "barrier": _barrier,
    "get": _get,
    "put": _put,
    "lease": _lease,
    "join": _join,
}
_SHARED_ONLY = {"get", "put", "lease", "join"}


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "private"])
def test_a_storm_of_signals_neither_ends_nor_shortens_a_wait(shared: bool) -> None:
    fresh.run(wait_in_a_storm, shared)


def wait_in_a_storm(shared: bool) -> None:
    for name, make in _CASES.items():
        if not shared and name in _SHARED_ONLY:
            continue
        case = make(shared)
        with _storm() as struck:
            before = struck()
            while struck() - before <= 5:  # a busy machine may let few strikes through
                began = time.monotonic()
                assert not case.wait(0.1), name
                assert time.monotonic() - began >= 0.1, name
            # Given while it waits and is struck.
            giver = threading.Thread(target=_give_after, args=(case, struck, struck() + 25))
            giver.start()
            assert case.wait(None), name
            giver.join()


def _give_after(case: _Case, struck: Callable[[], int], strikes: int) -> None:
    while struck() < strikes:
        time.sleep(0)
    case.give()


@contextmanager
def _storm() -> Iterator[Callable[[], int]]:
    """A handler of Python runs every millisecond; yields a function that says how often it ran."""
    strikes = 0

    def handle(*_: object) -> None:
        nonlocal strikes
        strikes += 1

    former = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        yield lambda: strikes
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


class _Struck(Exception):
    pass


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "private"])
def test_exceptions_of_handlers_leave_every_object_usable(shared: bool) -> None:
    fresh.run(break_off_waits, shared)


def break_off_waits(shared: bool) -> None:
    def handle(*_: object) -> None:
        raise _Struck

    signal.signal(signal.SIGALRM, handle)
    for name, make in _CASES.items():
        if not shared and name in _SHARED_ONLY:
            continue
        case = make(shared)
        for microseconds in [10 * 2**n for n in range(12)]:
            with pytest.raises(_Struck):
                signal.setitimer(signal.ITIMER_REAL, microseconds / 1e6)
                case.wait(None)
                raise AssertionError(f"{name} was had from nobody")
            if name == "barrier":  # who breaks off breaks it, as in the standard library
                assert not case.wait(0.001)
        giver = threading.Thread(target=case.give)
        giver.start()
        assert case.wait(None), name
        giver.join()


def test_a_storm_in_all_processes_loses_nothing() -> None:
    fresh.run(work_in_a_storm)


def work_in_a_storm() -> None:
    queue, results, lock = treadle.Queue(4), treadle.Queue(), treadle.Lock()
    words = family.Words(1)

    def produce(first: int) -> None:
        with _storm():
            for number in range(first, first + 3000):
                queue.put(number)

    def consume() -> None:
        got = []
        with _storm() as struck:
            for number in queue:
                got.append(number)
                with lock:
                    words[0] += 1
            family.wait_until(struck)  # who came late may have found nothing left to do
        results.put(got)

    producers = [family.fork(produce, 10_000 * n) for n in range(3)]
    consumers = [family.fork(consume) for _ in range(3)]
    family.join(producers)
    queue.shutdown()
    family.join(consumers)
    got = sorted(number for _ in consumers for number in results.get_nowait())
    assert got == [10_000 * n + i for n in range(3) for i in range(3000)]
    assert words[0] == 9000


def test_waits_that_signals_break_off_at_random_lose_no_item() -> None:
    fresh.run(break_off_gets)


def break_off_gets() -> None:
    # An exception out of a handler may strike after an item was taken: then it is gone, as in the
    # standard library. It must never strike inside the wait itself, item in hand.
    queue = treadle.Queue()
    taken = 0

    def handle(*_: object) -> None:
        raise _Struck

    def produce() -> None:
        for number in range(2000):
            queue.put(number)

    signal.signal(signal.SIGALRM, handle)
    producer = family.fork(produce)
    broken_off = 0
    while queue.statistics().gets < 2000:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0005)
            while True:
                queue.get()
                taken += 1
        except _Struck:
            broken_off += 1
    family.join([producer])
    assert queue.empty()
    assert 2000 - broken_off <= taken <= 2000
