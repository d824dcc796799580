"""Group: interrupts and signals at any moment of it."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import treadle
from tests.running.groups import (
    Group,
    Use,
    both,
    work_in_python,
)
from tests.sync.threads import until

# ---- Ctrl-C


def test_ctrl_c_ends_all_and_is_raised_as_it_is() -> None:
    workers: list[Any] = []
    with pytest.raises(KeyboardInterrupt), Group() as group:
        workers.extend([group.process(time.sleep, 1000), group.thread(work_in_python)])
        signal.raise_signal(signal.SIGINT)
    assert not any(worker.is_alive() for worker in workers)


def test_ctrl_c_while_the_block_waits() -> None:
    workers: list[Any] = []
    main = threading.main_thread().ident or 0

    def interrupt(over: treadle.Event) -> None:
        until(lambda: group._over)
        signal.pthread_kill(main, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), Group() as group:
        workers.append(group.process(time.sleep, 1000))
        group.thread(interrupt, treadle.Event(shared=False))
    assert not any(worker.is_alive() for worker in workers)


@both
def test_ctrl_c_while_a_thread_is_started(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not begin after its block, nor does it tell a descriptor that is somebody else's."""
    began: list[int] = []
    go, ended = threading.Event(), threading.Event()

    def run_late(target: Callable[..., None], args: Any) -> None:
        go.wait()
        try:
            target(*args)
        finally:
            ended.set()

    def body(group: Group) -> None:
        group.thread(int)  # so that the group has what it needs
        start = threading._start_new_thread  # type: ignore[attr-defined]

        def start_late(target: Callable[..., None], args: Any) -> None:
            start(run_late, (target, args))
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(threading, "_start_new_thread", start_late)
            group.thread(began.append, 1)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(use(body))
    go.set()
    ended.wait()
    assert not began


@both
def test_an_interrupt_while_a_process_is_started(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is started all the same, and does not outlive its block."""
    made: list[treadle.Process] = []
    make = treadle.Process._Popen  # type: ignore[attr-defined]
    main = threading.main_thread().ident or 0

    def make_and_interrupt(process: treadle.Process) -> Any:
        popen = make(process)
        made.append(process)
        signal.pthread_kill(main, signal.SIGUSR1)
        interrupted.wait()
        return popen

    def interrupt(*_: object) -> None:
        interrupted.set()
        raise InterruptedError

    interrupted = threading.Event()
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with monkeypatch.context() as patch, pytest.raises(ExceptionGroup):
            patch.setattr(treadle.Process, "_Popen", staticmethod(make_and_interrupt))
            asyncio.run(use(lambda group: group.process(time.sleep, 1000)))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert made[0].exitcode == -signal.SIGTERM


def test_a_process_is_started_as_if_by_the_thread_that_asks() -> None:
    """Which a fork's child sees, where it goes on in the thread that has started it."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")
    variable.set(3)

    def seen() -> tuple[int, str, bool, bool]:
        here = threading.current_thread()
        return variable.get(), here.name, here.daemon, here is threading.main_thread()

    with Group() as group:
        process = group.process(seen)
    assert process.result() == (3, "MainThread", False, True)


@both
def test_cancelled_by_a_signal_handler_while_a_process_is_started(
    use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = threading.main_thread().ident or 0
    start = treadle.Process.start
    members: list[treadle.Process] = []

    def start_late(self: treadle.Process) -> None:
        signal.pthread_kill(main, signal.SIGUSR1)
        groups[0].cancelled.wait()
        start(self)

    def body(group: Group) -> None:
        groups.append(group)
        members.append(group.process(time.sleep, 1000))

    groups: list[Group] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: groups[0].cancel())
    try:
        with monkeypatch.context() as patch:
            patch.setattr(treadle.Process, "start", start_late)
            asyncio.run(use(body))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert members[0].exitcode == -signal.SIGTERM
