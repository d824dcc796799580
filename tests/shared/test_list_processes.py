"""Processes at one List: all changes count, killed ones entirely or not at all."""

from __future__ import annotations

import multiprocessing
import random
import warnings
from collections import Counter
from typing import Any

import pytest

import treadle
from tests.queue.workers import PROCESSES, Worker
from tests.shared import list_workers
from tests.shared.list_workers import WIDTH

_fork = multiprocessing.get_context("fork")


@pytest.mark.slow
@pytest.mark.parametrize("kind", PROCESSES)
def test_processes_of_every_kind_share_it(kind: str) -> None:
    shared = treadle.List[Any]()
    worker = Worker(kind, list_workers.append_numbered, shared, 1, 200)
    list_workers.append_numbered(shared, 0, 200)
    worker.join()
    for who in range(2):
        assert [n for mine, n in shared if mine == who] == list(range(200))


def test_counters_of_processes_lose_nothing() -> None:
    shared = treadle.List([0.5, 0])
    workers = [Worker("fork", list_workers.count_up, shared, who % 2, 3000) for who in range(3)]
    for worker in workers:
        worker.join()
    assert shared == [6000.5, 3000]


def test_who_takes_the_lock_of_a_dead_holder_is_warned() -> None:
    shared = treadle.List(["before"], label="books")
    process = _fork.Process(target=list_workers.hold_and_die, args=(shared,))
    process.start()
    process.join()
    shared.append("others go on")
    with (
        pytest.warns(treadle.OwnerDiedWarning, match=rf"'books'.*pid {process.pid}"),
        shared.lock(),
    ):
        assert shared == ["before", "the last change", "others go on"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with shared.lock():
            pass


def _rounds(count: int) -> list[int]:
    return [random.randrange(1 << 30) for _ in range(count)]


def _killed_under_the_lock(seeds: list[int]) -> None:
    shared, diary = treadle.List[Any](), treadle.List[Any]([0] * 3)
    for seed in seeds:
        rng = random.Random(seed)
        fuses = [rng.randrange(2_000, 30_000) for _ in range(3)]
        workers = [
            _fork.Process(
                target=list_workers.change_until_killed,
                args=(shared, diary, who, fuse, seed + who),
            )
            for who, fuse in enumerate(fuses)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        found = shared.copy()
        assert len(found) % WIDTH == 0, f"seed {seed}"
        for at in range(0, len(found), WIDTH):
            assert len(set(found[at : at + WIDTH])) == 1, f"seed {seed}: half a batch at {at}"
        marks = Counter((who, n) for who, n, _ in found)
        assert set(marks.values()) <= {WIDTH}, f"seed {seed}: a batch is there twice"
        for who, n in marks:
            assert n <= diary[who], f"seed {seed}: from a step that was not begun"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", treadle.OwnerDiedWarning)
            with shared.lock():
                shared.clear()


def _killed_without_the_lock(seeds: list[int]) -> None:
    shared = treadle.List[Any]([1, 2])
    treadle.sweep()
    for seed in seeds:
        rng = random.Random(seed)
        workers = [
            _fork.Process(
                target=list_workers.change_alone_until_killed,
                args=(shared, rng.randrange(2_000, 30_000), seed + who),
            )
            for who in range(3)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(shared) % 2 == 0, f"seed {seed}"
        assert shared.copy() == list(shared) == list(reversed(shared))[::-1], f"seed {seed}"
        shared.extend([1, 2])
        assert shared[-2:] == [1, 2], f"seed {seed}"
    del shared[2:]
    shared[:] = [1, 2]
    treadle.sweep()
    figures = shared.statistics()
    assert (figures.length, figures.bytes) == (2, 0)


@pytest.mark.slow
def test_whoever_is_killed_a_batch_is_there_or_not() -> None:
    _killed_under_the_lock(_rounds(12))


@pytest.mark.slow
def test_whoever_is_killed_in_whatever_it_is_whole() -> None:
    _killed_without_the_lock(_rounds(12))


@pytest.mark.soak
@pytest.mark.watchdog(1200)
def test_many_kills() -> None:
    _killed_under_the_lock(_rounds(1000))
    _killed_without_the_lock(_rounds(1000))
