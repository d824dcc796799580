"""A caller of ``apply`` that a signal's handler interrupts: the pool goes on, and ends."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import treadle
from tests.pool.kinds import new_pool

STORM = 300  # interrupts


class Interrupted(BaseException):
    """What the handler raises."""


class Interruptible:
    """SIGUSR1 raises Interrupted, in calls of this alone: not in the midst of the test itself."""

    def __init__(self) -> None:
        signal.signal(signal.SIGUSR1, self._interrupt)
        self._inside = False

    def __call__(self, call: Callable[[], Any]) -> Any:
        try:
            self._inside = True
            return call()
        finally:
            self._inside = False

    def close(self) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # one may still come

    def _interrupt(self, signum: int, frame: object) -> None:
        if self._inside:
            self._inside = False
            raise Interrupted


@pytest.fixture
def interruptible() -> Iterator[Interruptible]:
    made = Interruptible()
    yield made
    made.close()


def begin_and_hang(begun: treadle.Event) -> None:
    begun.set()
    threading.Event().wait()


def test_the_call_is_stopped_and_the_pool_goes_on(interruptible: Interruptible) -> None:
    begun = treadle.Event()

    def interrupt_it() -> None:
        begun.wait()
        os.kill(os.getpid(), signal.SIGUSR1)

    with new_pool("fork", 1) as pool:
        thread = treadle.Thread(target=interrupt_it)
        thread.start()
        with pytest.raises(Interrupted):
            interruptible(lambda: pool.apply(begin_and_hang, (begun,)))
        thread.result()
        assert pool.apply(abs, (-1,)) == 1  # by another worker
        pool.close()
        pool.join()


@pytest.mark.slow
def test_interrupts_at_any_moment_leave_a_pool_that_works(interruptible: Interruptible) -> None:
    """A result is that of its own call, and nothing waits for what an interrupt has lost."""
    done = interrupted = 0
    over = threading.Event()

    def storm() -> None:
        chance = random.Random()
        for _ in range(STORM):
            time.sleep(chance.uniform(0, 0.003))
            os.kill(os.getpid(), signal.SIGUSR1)
        over.set()

    with new_pool("fork", 2) as pool:
        thread = treadle.Thread(target=storm)
        thread.start()
        while not over.is_set():
            try:
                assert interruptible(partial(pool.apply, abs, (-done,))) == done
                done += 1
            except Interrupted:
                interrupted += 1
        thread.result()
        assert interrupted
        assert done
        assert pool.map(abs, range(-9, 0)) == list(range(9, 0, -1))
        pool.close()
        pool.join()
