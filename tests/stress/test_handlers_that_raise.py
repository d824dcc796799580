"""A signal's handler that raises at any point of a ``with`` leaves nothing held."""

import random
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import treadle

pytestmark = pytest.mark.slow

_ROUNDS = 300


class _Struck(Exception):
    pass


@pytest.fixture
def strike() -> Iterator[Callable[[float], None]]:
    """Returns what sets off, in so many seconds, a signal whose handler raises."""

    def raise_it(*_: object) -> None:
        raise _Struck

    before = signal.signal(signal.SIGALRM, raise_it)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def _free_for_others(guard: Any) -> bool:
    had: list[bool] = []

    def try_it() -> None:
        had.append(guard.acquire(False))

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    return had == [True]


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "private"])
@pytest.mark.parametrize(
    "of",
    [treadle.Lock, treadle.RLock, treadle.Semaphore, treadle.BoundedSemaphore, treadle.Condition],
)
def test_a_with_block_is_left_whole(
    of: Callable[..., Any], shared: bool, strike: Callable[[float], None]
) -> None:
    rng = random.Random(7)
    for _ in range(_ROUNDS):
        guard = of(shared=shared)
        with pytest.raises(_Struck):
            strike(1e-6 + 2e-5 * rng.random())
            while True:
                with guard:
                    pass
        assert _free_for_others(guard)
