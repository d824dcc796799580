"""treadle.threading, where the interpreter's own tests of locks do not look."""

from __future__ import annotations

import abc
import threading as standard
from typing import Any

import pytest

import treadle
from treadle import threading


def test_the_hook_for_exceptions_is_the_one_that_threads_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(args.exc_type))
    thread = threading.Thread(target=lambda: {}["missing"])
    thread.start()
    thread.join()
    assert seen == [KeyError]
    assert threading.excepthook is standard.excepthook
    monkeypatch.undo()
    assert threading.excepthook is standard.excepthook


# ---- Timer


class Repeating(threading.Timer):
    """The recipe that every second program has."""

    def run(self) -> None:
        while not self.finished.wait(self.interval):
            self.function(*self.args, **self.kwargs)


class Twice(Repeating):
    pass


class Noted:
    def run(self: Any) -> None:
        self.function("noted")


class NotedTimer(Noted, threading.Timer):
    pass


class AbstractTimer(threading.Timer, abc.ABC):
    @abc.abstractmethod
    def run(self) -> None: ...


class ConcreteTimer(AbstractTimer):
    def run(self) -> None:
        self.function("noted")


@pytest.mark.parametrize("kind", [Repeating, Twice])
def test_a_timer_that_repeats_itself(kind: Any) -> None:
    called: list[int] = []

    def call() -> None:
        called.append(1)
        if len(called) == 3:
            timer.cancel()

    timer = kind(0.001, call)
    timer.start()
    timer.join()
    assert len(called) == 3
    assert isinstance(timer, threading.Timer)
    assert issubclass(kind, threading.Timer)


@pytest.mark.parametrize("kind", [NotedTimer, ConcreteTimer])
def test_a_run_of_a_base_begins_with_start(kind: Any) -> None:
    called: list[str] = []
    timer = kind(3600, called.append)
    timer.start()
    timer.join()
    assert called == ["noted"]


def test_subclasses_without_a_run_share_the_scheduler() -> None:
    class Named(threading.Timer):
        def __init__(self, seconds: float) -> None:
            super().__init__(seconds, int)

    assert not isinstance(Named(1), standard.Thread)
    assert isinstance(Named(1), threading.Timer)
    assert not isinstance(standard.Thread(), threading.Timer)


def test_finished_is_set_once_the_function_has_returned() -> None:
    looks: list[bool] = []
    timer = threading.Timer(0, lambda: looks.append(timer.finished.is_set()))
    timer.start()
    assert timer.finished.wait()
    assert looks == [False]


def test_finished_is_set_by_cancel() -> None:
    for looked_at_before in (True, False):
        timer = threading.Timer(3600, int)
        if looked_at_before:
            assert not timer.finished.is_set()
        timer.cancel()
        assert timer.finished.is_set()


@pytest.mark.skipif(not hasattr(standard.Thread, "setDaemon"), reason="this Python has them not")
def test_the_deprecated_names_of_a_timer() -> None:
    timer: Any = threading.Timer(3600, int)
    with pytest.warns(DeprecationWarning, match="set the daemon attribute") as caught:
        timer.setDaemon(True)
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="get the daemon attribute"):
        assert timer.isDaemon()
    with pytest.warns(DeprecationWarning, match="set the name attribute"):
        timer.setName("tick")
    with pytest.warns(DeprecationWarning, match="get the name attribute"):
        assert timer.getName() == "tick"


# ---- Event


def test_an_event_is_true_as_the_standard_one() -> None:
    """Programs say ``stop = stop or threading.Event()``."""
    event = threading.Event()
    assert event
    event.set()
    assert (event or None) is event
    with pytest.raises(TypeError, match="is_set"):
        bool(treadle.Event(shared=False))


# ---- Subclasses with a release() of their own


@pytest.mark.parametrize("module", [standard, threading], ids=["stdlib", "treadle"])
@pytest.mark.parametrize("kind", ["Semaphore", "BoundedSemaphore"])
def test_the_end_of_a_with_block_calls_the_release_of_a_subclass(module: Any, kind: str) -> None:
    class Counted(getattr(module, kind)):  # type: ignore[misc]
        released = 0

        def release(self, n: int = 1) -> None:
            self.released += n
            super().release(n)

    class Inherited(Counted):
        pass

    for semaphore in (Counted(2), Inherited(2)):
        with semaphore:
            assert semaphore.released == 0
        assert semaphore.released == 1
        assert semaphore.acquire(blocking=False)
        assert semaphore.acquire(blocking=False)
        assert not semaphore.acquire(blocking=False)


# ---- Barrier


@pytest.mark.parametrize("parties", [0, -1])
def test_a_barrier_of_nobody_is_what_the_standard_one_is(parties: int) -> None:
    """Before Python 3.13 there is one, which nobody passes."""
    try:
        standard.Barrier(parties)
    except ValueError:
        with pytest.raises(ValueError, match="must be > 0"):
            threading.Barrier(parties)
    else:
        barrier = threading.Barrier(parties)
        assert barrier.parties == parties
        with pytest.raises(threading.BrokenBarrierError):
            barrier.wait(timeout=0.001)


# ---- What is a kind of what


def test_a_bounded_semaphore_is_a_semaphore() -> None:
    assert isinstance(threading.BoundedSemaphore(), threading.Semaphore)
    assert issubclass(type("Own", (threading.BoundedSemaphore,), {}), threading.Semaphore)
    assert not isinstance(threading.Semaphore(), threading.BoundedSemaphore)
    assert not isinstance(threading.Lock(), threading.Semaphore)
