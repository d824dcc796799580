"""What is sent in lots, or as one piece: numbers as bytes, and streams whose items are at hand."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import treadle
from tests.pool.kinds import new_pool
from treadle._core import packed_numbers, unpacked_numbers

FLOATS = (1.5, -0.0, math.inf, 5e-324)
INTS = (0, -1, 2**63 - 1, -(2**63), 7)


@pytest.mark.parametrize("values", [FLOATS, list(INTS), (1,)])
def test_numbers_come_out_as_they_went_in(values: Any) -> None:
    packed = packed_numbers(values)
    assert packed is not None
    assert list(map(repr, unpacked_numbers(packed))) == list(map(repr, values))


def test_a_nan_keeps_its_bits() -> None:
    (number,) = unpacked_numbers(packed_numbers([math.nan]) or b"")
    assert math.isnan(number)


@pytest.mark.parametrize(
    "values",
    [(), (1, 2.0), (1.0, 2), (1, True), (False,), (2**63,), ("a",), (1, None), range(3), {1: 1}],
)
def test_what_is_no_row_of_numbers_is_not_packed(values: Any) -> None:
    assert packed_numbers(values) is None


@pytest.mark.parametrize(
    "values", [range(5000), [n / 8 for n in range(5000)], [*range(5000), 2**80], [*range(99), True]]
)
@pytest.mark.parametrize("chunksize", [None, 1000])
def test_a_map_over_numbers_gives_just_these(values: Any, chunksize: int | None) -> None:
    with new_pool("fork", 2) as pool:
        back = pool.map(lambda number: number, values, chunksize)
    assert list(map(repr, back)) == list(map(repr, values))
    assert pool._engine.outstanding() == []


def test_a_number_that_fails_costs_itself_alone_and_is_tried_again() -> None:
    attempts = treadle.Queue()

    def rarely(number: int) -> int:
        if number == 30:
            attempts.put(None)
            if attempts.qsize() < 3:
                raise ValueError(number)
        return number

    with new_pool("fork", 1, retries=2) as pool:
        assert pool.map(rarely, range(50), chunksize=50) == list(range(50))
        assert attempts.qsize() == 3


def test_a_worker_killed_amid_many_numbers_costs_that_one_alone() -> None:
    def die_at_30(number: int) -> int:
        if number == 30:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with new_pool("fork", 1) as pool:
        results = pool.imap(die_at_30, range(50), chunksize=50)
        got: list[Any] = []
        for _ in range(50):
            try:
                got.append(results.next(60))
            except treadle.WorkerDiedError:
                got.append("dead")
    assert got == [*range(30), "dead", *range(31, 50)]


def test_a_row_of_numbers_that_is_withdrawn_is_not_run() -> None:
    begun, go, ran = treadle.Event(), treadle.Event(), treadle.Queue()
    with new_pool("fork", 1) as pool:
        first = pool.apply_async(lambda: (begun.set(), go.wait()))
        begun.wait()
        withdrawn = pool.map_async(ran.put, range(40), chunksize=40)
        assert withdrawn.cancel()
        go.set()
        first.get()
        assert pool.map(abs, [-1]) == [1]  # behind it
    assert ran.empty()


@pytest.mark.parametrize("kind", ["thread", "fork"])
@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 200])
def test_items_at_hand_are_drawn_to_the_last(kind: str, length: int) -> None:
    with new_pool(kind, 2) as pool:
        assert list(pool.imap(abs, list(range(length)))) == list(range(length))
        assert sorted(pool.imap_unordered(abs, "x" * 0)) == []
        assert list(pool.imap(ord, "x" * length, buffersize=3)) == [ord("x")] * length


def test_no_more_of_a_list_is_sent_than_the_buffer_holds() -> None:
    ran = treadle.Queue()
    with new_pool("fork", 1) as pool:
        results = pool.imap(ran.put, list(range(1000)), buffersize=8)
        next(results)
        pool.apply(abs, (-1,))  # behind what has been sent
        assert ran.qsize() <= 9
        results.close()


def test_an_item_of_a_lot_that_cannot_be_sent_costs_itself_alone() -> None:
    with new_pool("fork", 1) as pool:
        results = pool.imap(type, [1, sys._getframe(), 2])
        assert next(results) is int
        with pytest.raises(treadle.TaskError, match="cannot be sent"):
            next(results)
        assert next(results) is int


@pytest.mark.slow
def test_where_memory_ends_amid_a_lot_what_was_sent_is_run_and_the_rest_fails() -> None:
    program = textwrap.dedent(
        """
        import treadle
        from tests.sync.threads import until

        begun, go = treadle.Event(), treadle.Event()

        with treadle.Pool(1, start_method="fork") as pool:
            first = pool.apply_async(lambda: (begun.set(), go.wait()) and None)
            begun.wait()
            results = pool.imap(len, ["x" * 1000] * 8_000, buffersize=8_000)
            until(lambda: pool.statistics().submitted == 8_001)
            go.set()
            came = {"ran": 0, "failed": 0}
            for _ in range(8_000):
                try:
                    assert results.next(60) == 1000
                    came["ran"] += 1
                except treadle.ArenaFullError:
                    came["failed"] += 1
            assert min(came.values()) > 100, came
            assert pool.apply(abs, (-1,)) == 1
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"TREADLE_ARENA_LIMIT": str(8 << 20)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
