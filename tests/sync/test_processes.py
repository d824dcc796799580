"""Processes that race for the same shared object."""

from __future__ import annotations

import mmap
import os
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.sync.children import Child
from tests.sync.kinds import LockType, all_lock_types
from tests.sync.threads import OtherThread

_PROCESSES, _ROUNDS = 4, 150


@pytest.fixture
def counter() -> memoryview[int]:
    """Memory that all processes see, and that nothing guards."""
    return memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")


@all_lock_types
def test_processes_and_their_threads_exclude_each_other(
    kind: LockType, counter: memoryview[int]
) -> None:
    lock, start = kind.factory(), treadle.Barrier(2 * _PROCESSES)
    children = [Child(_add_in_two_threads, start, lock, counter) for _ in range(_PROCESSES)]
    _join(children)
    assert counter[0] == _PROCESSES * 2 * _ROUNDS
    assert lock.acquire(False) is True


@pytest.mark.parametrize("of", [treadle.Semaphore, treadle.BoundedSemaphore])
def test_no_more_get_in_than_there_are_permits(of: Any, counter: memoryview[int]) -> None:
    count = _PROCESSES + 2
    semaphore, lock, start = of(3), treadle.Lock(), treadle.Barrier(count)
    children = [Child(_count_who_is_in, start, semaphore, lock, counter) for _ in range(count)]
    _join(children)
    inside, most = counter[0], counter[1]
    assert inside == 0
    assert 1 <= most <= 3
    assert semaphore.get_value() == 3


def test_every_signal_of_a_semaphore_arrives(counter: memoryview[int]) -> None:
    semaphore = treadle.Semaphore(0)
    children = [Child(_take, semaphore, _ROUNDS) for _ in range(3)]
    children += [Child(_give, semaphore, _ROUNDS) for _ in range(3)]
    _join(children)
    assert semaphore.get_value() == 0


def test_two_processes_play_ping_pong(counter: memoryview[int]) -> None:
    ping, pong = treadle.Event(), treadle.Event()
    child = Child(_play, ping, pong, counter)
    for number in range(_ROUNDS):
        counter[0] = number
        ping.set()
        pong.wait()
        pong.clear()
        assert counter[1] == number
    _join([child])


def _join(children: list[Child]) -> None:
    try:
        for child in children:
            child.join()
    finally:
        for child in children:
            child.dispose()


def _add_in_two_threads(
    line: Connection, start: treadle.Barrier, lock: Any, counter: memoryview[int]
) -> None:
    def add() -> None:
        start.wait()
        for _ in range(_ROUNDS):
            with lock:
                before = counter[0]
                os.sched_yield()  # to who would spoil it
                counter[0] = before + 1

    adding = OtherThread().start(add)
    add()
    adding.result()


def _count_who_is_in(
    line: Connection,
    start: treadle.Barrier,
    semaphore: Any,
    lock: treadle.Lock,
    counter: memoryview[int],
) -> None:
    start.wait()
    for _ in range(_ROUNDS):
        with semaphore:
            with lock:
                counter[0] += 1
                counter[1] = max(counter[1], counter[0])
            os.sched_yield()
            with lock:
                counter[0] -= 1


def _take(line: Connection, semaphore: treadle.Semaphore, count: int) -> None:
    for _ in range(count):
        assert semaphore.acquire() is True


def _give(line: Connection, semaphore: treadle.Semaphore, count: int) -> None:
    for _ in range(count):
        semaphore.release()


def _play(
    line: Connection, ping: treadle.Event, pong: treadle.Event, counter: memoryview[int]
) -> None:
    for number in range(_ROUNDS):
        ping.wait()
        ping.clear()
        assert counter[0] == number
        counter[1] = number
        pong.set()
