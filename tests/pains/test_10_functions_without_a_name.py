"""spawn and forkserver cannot take closures and lambdas (python/cpython#126831)."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import pytest

import treadle
from tests.pains.programs import output_of, seen_in_this_version
from tests.pool.kinds import PROCESSES, new_executor, new_pool

pytestmark = pytest.mark.slow

each_method = pytest.mark.parametrize("method", PROCESSES)


@seen_in_this_version
def test_the_standard_library_cannot_pickle_them() -> None:
    said = output_of(
        """
import multiprocessing
if __name__ == "__main__":
    for method in "spawn", "forkserver":
        try:
            multiprocessing.get_context(method).Process(target=lambda: 1).start()
        except Exception as error:
            print("pickle" in str(error))
"""
    )
    assert said == "True\nTrue\n"


@pytest.fixture
def start_method(method: str) -> Iterator[None]:
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(method, force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


@each_method
@pytest.mark.usefixtures("start_method")
def test_with_treadle_a_process_takes_them(method: str) -> None:
    n = 40
    process = treadle.Process(target=lambda m: n + m, args=(2,))
    process.start()
    assert process.result() == 42


@each_method
def test_with_treadle_pools_and_executors_take_them(method: str) -> None:
    n = 40
    ready = treadle.Event()

    def add(m: int) -> int:
        return n + m

    with new_pool(method, initializer=lambda: ready.set()) as pool:
        assert pool.apply(lambda: n) == 40
        assert pool.map(add, [1, 2]) == [41, 42]
        assert list(pool.imap(lambda m: add(m) + 1, [1, 2])) == [42, 43]
        assert ready.is_set()
    with new_executor(method) as executor:
        assert executor.submit(lambda call: call(2), add).result() == 42
