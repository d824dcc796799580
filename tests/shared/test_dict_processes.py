"""Processes at one Dict: all changes count, killed ones entirely or not at all."""

from __future__ import annotations

import multiprocessing
import random
import warnings
from typing import Any

import pytest

import treadle
from tests.queue.workers import PROCESSES, Worker
from tests.shared import dict_workers

_fork = multiprocessing.get_context("fork")


@pytest.mark.slow
@pytest.mark.parametrize("kind", PROCESSES)
def test_processes_of_every_kind_share_it(kind: str) -> None:
    shared = treadle.Dict[Any, Any]()
    worker = Worker(kind, dict_workers.put_numbered, shared, 1, 200)
    dict_workers.put_numbered(shared, 0, 200)
    worker.join()
    for who in range(2):
        assert [n for (mine, n) in shared if mine == who] == list(range(200))
    assert len(shared) == 400


def test_counters_of_processes_lose_nothing() -> None:
    shared = treadle.Dict[Any, Any]()
    keys = ["a", "a", 1, True]
    workers = [Worker("fork", dict_workers.count_up, shared, key, 3000) for key in keys]
    for worker in workers:
        worker.join()
    assert shared == {"a": 6000, 1: 6000}


def test_who_takes_the_lock_of_a_dead_holder_is_warned() -> None:
    shared = treadle.Dict(first=1, label="books")
    process = _fork.Process(target=dict_workers.hold_and_die, args=(shared,))
    process.start()
    process.join()
    shared["others"] = "go on"
    with (
        pytest.warns(treadle.OwnerDiedWarning, match=rf"'books'.*pid {process.pid}"),
        shared.lock(),
    ):
        assert shared == {"first": 1, "last": "change", "others": "go on"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with shared.lock():
            pass


def _killed(seeds: list[int]) -> None:
    accounts = treadle.Dict[Any, Any](dict.fromkeys(range(5), (1000, 0, "")))
    for seed in seeds:
        rng = random.Random(seed)
        workers = [
            _fork.Process(
                target=dict_workers.transfer_until_killed,
                args=(accounts, rng.randrange(2_000, 30_000), seed + who),
            )
            for who in range(3)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        found = accounts.copy()
        assert list(found)[:5] == [0, 1, 2, 3, 4], f"seed {seed}"
        for n in range(5):
            assert sum(found[n][:2]) == 1000, f"seed {seed}: money is gone"
        assert len(found) == len(accounts) == len(list(accounts.keys())), f"seed {seed}"
        assert all(accounts[key] == value for key, value in found.items()), f"seed {seed}"
    accounts.clear()
    treadle.sweep()
    figures = accounts.statistics()
    assert (figures.length, figures.bytes) == (0, 0)


def _rounds(count: int) -> list[int]:
    return [random.randrange(1 << 30) for _ in range(count)]


@pytest.mark.slow
def test_whoever_is_killed_the_account_is_balanced() -> None:
    _killed(_rounds(12))


@pytest.mark.soak
@pytest.mark.watchdog(1200)
def test_many_kills() -> None:
    _killed(_rounds(1000))
