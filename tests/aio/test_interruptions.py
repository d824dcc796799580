"""Code that runs in between: signal handlers and finalizers wake tasks, Ctrl-C ends their wait."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.aio.kinds import NAMED
from tests.aio.loops import Loop, settle, spawn, steps
from tests.sync.children import forked
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


class _InterruptedLoop(asyncio.SelectorEventLoop):
    """Once it is armed, a handler of signals raises in the midst of telling one of its tasks."""

    armed = False

    def create_future(self) -> Any:
        return _InterruptedFuture(loop=self)


class _InterruptedFuture(asyncio.Future[None]):
    def set_result(self, result: None) -> None:
        loop = self.get_loop()
        assert isinstance(loop, _InterruptedLoop)
        if loop.armed:
            loop.armed = False
            raise KeyboardInterrupt
        super().set_result(result)


@both_storages
def test_an_interrupt_while_its_own_loop_is_told_passes_the_wake_on(shared: bool) -> None:
    """As with asyncio's queues the task that was about to be told may not run again."""
    queue, loop = treadle.Queue(shared=shared), _InterruptedLoop()

    async def main() -> None:
        first, second = spawn(queue.aio.get()), spawn(queue.aio.get())
        await settle()
        loop.armed = True
        with pytest.raises(KeyboardInterrupt):
            queue.put("item")
        assert await second == "item"
        assert not first.done()
        first.cancel()

    loop.run_until_complete(main())
    loop.close()


@pytest.mark.slow
@pytest.mark.parametrize("by_task", [False, True])
@pytest.mark.parametrize("of", [treadle.Lock, treadle.RLock, treadle.RWLock])
def test_a_recovery_that_is_interrupted_while_it_tells_others_holds_nothing(
    of: Callable[..., Any], by_task: bool
) -> None:
    """It tells those whom the reactor has heard of, and could not tell yet."""
    queue, go, lock, loop = treadle.Queue(), treadle.Event(), of(), _InterruptedLoop()

    async def recover() -> None:
        if by_task:
            async with lock.aio.recover():
                pass
        else:
            with lock.recover():
                pass

    async def main() -> None:
        getting = spawn(queue.aio.get())
        await settle()
        loop.armed = True
        with _alone(), pytest.raises(KeyboardInterrupt):
            go.set()
            while True:
                heard = time.monotonic() + 0.02
                while time.monotonic() < heard:
                    pass
                await recover()
        assert not lock.locked()
        assert queue.get_nowait() == "item"
        getting.cancel()

    with forked(_put_when_told, queue, go):
        loop.run_until_complete(main())
    loop.close()


def _put_when_told(line: Connection, queue: Any, go: Any) -> None:
    go.wait()
    queue.put("item")


@contextmanager
def _alone() -> Iterator[None]:
    """No other thread is given the interpreter, unless this one waits."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
