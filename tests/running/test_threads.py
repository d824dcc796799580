"""Thread: what it returns and raises."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
import weakref
from typing import Any

import pytest

import treadle
from treadle._core import Stoppable


class _Argument:
    pass


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What threads have reported to ``threading.excepthook``."""
    heard: list[BaseException] = []
    monkeypatch.setattr(threading, "excepthook", lambda report: heard.append(report.exc_value))
    return heard


def test_it_returns_what_its_target_returns() -> None:
    thread = treadle.Thread(target=lambda a, b: (a, b), args=(1,), kwargs={"b": 2})
    thread.start()
    assert thread.result() == (1, 2)
    assert thread.result() == (1, 2)
    assert thread.exception() is None


def test_it_raises_what_its_target_raises_and_reports_it(reported: list[BaseException]) -> None:
    thread = treadle.Thread(target=divmod, args=(1, 0))
    thread.start()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            thread.result()
    assert reported == [thread.exception()]


def test_a_result_that_takes_too_long() -> None:
    go = treadle.Event(shared=False)
    thread = treadle.Thread(target=go.wait, name="patient")
    thread.start()
    with pytest.raises(TimeoutError, match=r"'patient' still runs after 0.001 s"):
        thread.result(timeout=0.001)
    go.set()
    assert thread.result() is True


def test_it_cannot_be_asked_before_it_is_started() -> None:
    with pytest.raises(RuntimeError, match=r"call start\(\) first"):
        treadle.Thread(target=print).result()


def test_it_has_its_target_s_name() -> None:
    assert "divmod" in treadle.Thread(target=divmod).name
    assert treadle.Thread(target=divmod, name="own", daemon=True).name == "own"


def test_a_subclass_may_run_by_itself(reported: list[BaseException]) -> None:
    class Own(treadle.Thread):
        ran = False

        def run(self) -> None:
            self.ran = True

    thread = Own()
    thread.start()
    assert thread.result() is None
    assert thread.ran


def test_its_arguments_are_let_go_of() -> None:
    argument = _Argument()
    gone = weakref.ref(argument)
    thread = treadle.Thread(target=id, args=(argument,))
    thread.start()
    thread.join()
    del argument
    assert gone() is None


def test_without_a_target_it_returns_none() -> None:
    thread: Any = treadle.Thread()
    thread.start()
    assert thread.result() is None


# ---- Stopped


def _endlessly() -> None:
    while True:
        time.sleep(0.0001)


def test_a_call_is_stopped_in_its_midst() -> None:
    stoppable = Stoppable()
    thread = treadle.Thread(target=stoppable.call, args=(_endlessly, (), {}))
    thread._quiet = True
    thread.start()
    assert stoppable.stop(asyncio.CancelledError) is True
    assert isinstance(thread.exception(), asyncio.CancelledError)
    assert stoppable.stop(asyncio.CancelledError) is False


def test_a_call_is_stopped_before_it_begins() -> None:
    stoppable = Stoppable()
    assert stoppable.stop(asyncio.CancelledError) is True
    with pytest.raises(asyncio.CancelledError):
        stoppable.call(print, (), {})
    assert stoppable.stop(asyncio.CancelledError) is False


@pytest.mark.slow
def test_what_comes_too_late_hits_nobody() -> None:
    """Neither what the thread does next, nor another that is given its number."""
    wrong: list[BaseException] = []
    rounds, before = 3000, sys.getswitchinterval()

    def run(stoppables: list[Stoppable]) -> None:
        try:
            for stoppable in stoppables:
                with contextlib.suppress(asyncio.CancelledError):
                    stoppable.call(sum, ((1, 2),), {})
        except BaseException as error:
            wrong.append(error)

    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            stoppables = [Stoppable() for _ in range(rounds // 10)]
            thread = threading.Thread(target=run, args=(stoppables,))
            thread.start()
            for stoppable in stoppables:
                stoppable.stop(asyncio.CancelledError)
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert wrong == []


@pytest.mark.parametrize("code", [None, 0])
def test_who_exits_with_success_has_the_result_none(code: int | None) -> None:
    thread = treadle.Thread(target=sys.exit, args=(code,))
    thread.start()
    assert thread.result() is None
    assert thread.exception() is None
