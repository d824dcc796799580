"""An exception that cannot be unpickled hangs the pool (python/cpython#79492, #103061)."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

import treadle
from tests.pains.programs import hangs, seen_in_this_version
from tests.pool import tasks
from tests.pool.kinds import PROCESSES, new_executor, new_pool

pytestmark = pytest.mark.slow


class Demanding(Exception):
    """Pickles, and cannot be rebuilt: its arguments are not those of its constructor."""

    def __init__(self, what: str, *, why: str) -> None:
        super().__init__(f"{what}: {why}")


def demand(*ignored: object) -> NoReturn:
    raise Demanding("the door", why="it is shut")


class Fragile:
    def __reduce__(self) -> Any:
        return int, ("not a number",)


def make_fragile(*ignored: object) -> Fragile:
    return Fragile()


@seen_in_this_version
@pytest.mark.parametrize("function", ["demand", "make_fragile"])
def test_the_standard_library_hangs(function: str) -> None:
    """The thread that reads the results dies of it."""
    assert hangs(
        f"""
import multiprocessing
from {__name__} import {function}
with multiprocessing.get_context("fork").Pool(1) as pool:
    print("about to wait", flush=True)
    pool.apply({function})
"""
    )


@pytest.mark.parametrize("method", PROCESSES)
def test_with_treadle_the_task_has_a_clear_error_and_the_pool_goes_on(method: str) -> None:
    with new_pool(method) as pool:
        for call in (
            lambda: pool.apply(demand),
            lambda: pool.map(demand, range(3)),
            lambda: next(pool.imap(demand, range(3))),
        ):
            with pytest.raises(
                treadle.TaskError, match=r"cannot be pickled and rebuilt .*the door: it is shut"
            ) as caught:
                call()
            assert "in demand" in str(caught.value.__cause__)
        with pytest.raises(treadle.TaskError, match=r"the result of .* cannot be rebuilt here"):
            pool.apply(make_fragile)
        assert pool.map(tasks.square, range(3)) == [0, 1, 4]


def test_with_treadle_a_future_has_it_and_the_executor_goes_on() -> None:
    with new_executor("fork") as executor:
        for function in demand, make_fragile:
            assert isinstance(executor.submit(function).exception(), treadle.TaskError)
        assert executor.submit(tasks.square, 3).result() == 9
