"""Code that runs in between: signal handlers and finalizers wake tasks, Ctrl-C ends their wait."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import treadle
from tests.aio.kinds import NAMED
from tests.aio.loops import Loop, settle, spawn, steps
from tests.sync.kinds import both_storages
from tests.sync.threads import OtherThread, until

_EPOLL = {"x86_64": {"232", "281", "441"}, "aarch64": {"22", "441"}}[platform.machine()]


def _interrupt_where_it_sleeps(native_id: int, ident: int, number: signal.Signals) -> None:
    """Send a signal to a thread that sleeps in its event loop."""
    until(lambda: _call_of(native_id) in _EPOLL)
    signal.pthread_kill(ident, number)


def _call_of(native_id: int) -> str:
    with open(f"/proc/self/task/{native_id}/syscall") as file:
        return file.read().split()[0]


@pytest.fixture
def on_signal() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Have a signal handler do something."""
    before = signal.getsignal(signal.SIGUSR1)
    yield lambda do: signal.signal(signal.SIGUSR1, lambda *_: do()) and None
    signal.signal(signal.SIGUSR1, before)


@both_storages
def test_a_finalizer_wakes_a_task(shared: bool, loop: Loop) -> None:
    class Last:
        def __del__(self) -> None:
            queue.put("gone")

    async def main() -> None:
        task = spawn(queue.aio.get())
        await steps(3)
        Last()
        assert await task == "gone"

    queue = treadle.Queue(shared=shared)
    loop.run(main())


@both_storages
def test_a_signal_handler_wakes_a_task(
    shared: bool, loop: Loop, on_signal: Callable[[Callable[[], object]], None]
) -> None:
    async def main() -> None:
        event = treadle.Event(shared=shared)
        on_signal(event.set)
        task = spawn(event.aio.wait())
        await settle()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert await task is True

    loop.run(main())


@both_storages
def test_a_signal_handler_wakes_tasks_whose_loop_sleeps(
    shared: bool,
    loop: Loop,
    on_signal: Callable[[Callable[[], object]], None],
    other: OtherThread,
) -> None:
    """Nothing else would end the sleep."""
    here = (threading.get_native_id(), threading.get_ident())

    async def main() -> None:
        queue, event = treadle.Queue(shared=shared), treadle.Event(shared=shared)
        tasks = [spawn(queue.aio.get()), spawn(event.aio.wait())]
        for wake, task in zip((lambda: queue.put(True), event.set), tasks, strict=True):
            on_signal(wake)
            other.start(_interrupt_where_it_sleeps, *here, signal.SIGUSR1)
            assert await task is True

    loop.run(main())


@both_storages
@pytest.mark.parametrize("name", ["Lock.acquire", "Condition of an RLock.wait_for", "Queue.get"])
def test_ctrl_c_ends_a_wait(name: str, shared: bool, loop: Loop, other: OtherThread) -> None:
    wait, here = NAMED[name], (threading.get_native_id(), threading.get_ident())
    thing = wait.make(shared)
    wait.hold(thing)
    other.start(_interrupt_where_it_sleeps, *here, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        loop.run(wait.use(thing))
    wait.end(thing)
    assert loop.run(wait.use(thing)) is True
    wait.settled(thing)


@both_storages
def test_an_interrupt_while_another_loop_is_told_loses_no_wake(shared: bool) -> None:
    """A handler of signals raises in the midst of telling; both loops are told all the same."""
    queue = treadle.Queue(shared=shared)
    armed = threading.Event()

    class Interrupted(asyncio.SelectorEventLoop):
        def call_soon_threadsafe(self, *arguments: Any, **options: Any) -> Any:
            if armed.is_set() and threading.current_thread() is threading.main_thread():
                armed.clear()
                raise KeyboardInterrupt
            return super().call_soon_threadsafe(*arguments, **options)

    def serve(waits: threading.Event, got: list[Any]) -> None:
        async def main() -> None:
            getting = asyncio.ensure_future(queue.aio.get())
            await settle()
            waits.set()
            got.append(await getting)

        with asyncio.Runner(loop_factory=Interrupted) as runner:
            runner.run(main())

    got: list[Any] = []
    threads = []
    for _ in range(2):
        waits = threading.Event()
        threads.append(threading.Thread(target=serve, args=(waits, got)))
        threads[-1].start()
        waits.wait()
    interrupted = 0
    for item in "ab":
        armed.set()
        try:
            queue.put(item)
        except KeyboardInterrupt:
            interrupted += 1
    for thread in threads:
        thread.join()
    assert sorted(got) == ["a", "b"]
    assert interrupted >= 1
