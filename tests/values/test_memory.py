"""The memory of a Value, an Array or an ndarray is there as long as anybody has any of it."""

from __future__ import annotations

import gc
import os
import pickle
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest

import treadle
from tests.queue.workers import books
from tests.sync.children import forked
from tests.values import work

MAKE: list[Callable[[], Any]] = [
    lambda: treadle.Value("q"),
    lambda: treadle.Array("d", 10_000),
    lambda: treadle.RawValue(work.Segment),
    lambda: treadle.ndarray((100, 100)),
]
each_kind = pytest.mark.parametrize("make", MAKE)


@each_kind
def test_what_is_dropped_is_free(make: Callable[[], Any]) -> None:
    make()
    treadle.sweep()
    before = books()
    for _ in range(100):
        made = make()
        pickle.loads(pickle.dumps(made))
        del made
    treadle._core.forget_pickled()
    gc.collect()
    assert books() == before


@pytest.mark.parametrize(
    "part_of",
    [
        lambda: treadle.Value("q").get_obj(),
        lambda: treadle.RawArray(work.Segment, 3)[1].ends[1],
        lambda: memoryview(treadle.RawArray("i", 10))[2:5],
        lambda: memoryview(treadle.Array("i", 10).get_obj()),
        lambda: np.frombuffer(treadle.RawArray("d", 10)),
        lambda: np.asarray(treadle.ndarray(10))[3:],
        lambda: treadle.ndarray((4, 4)).T[1:2].reshape(-1),
        lambda: memoryview(treadle.ndarray(10)),
    ],
)
def test_a_part_keeps_the_whole(part_of: Callable[[], Any]) -> None:
    part = part_of()
    gc.collect()
    treadle.sweep()
    free = books()
    others = [treadle.RawArray("B", [255]) for _ in range(50)]  # would be laid into freed memory
    assert not any(bytes(part))
    del others, part
    treadle._core.forget_pickled()
    gc.collect()
    assert books() < free


@each_kind
def test_what_a_killed_process_had_is_swept(make: Callable[[], Any]) -> None:
    treadle.sweep()
    before = books()
    with forked(_make_and_wait, make) as child:
        child.expect("made")
        assert books() > before
        child.kill()
    treadle.sweep()
    assert books() == before


def _make_and_wait(line: Connection, make: Callable[[], Any]) -> None:
    made = [make() for _ in range(20)]
    line.send("made")
    line.recv()
    del made


@each_kind
def test_it_outlives_its_maker(make: Callable[[], Any]) -> None:
    with forked(_make_and_send, make) as child:
        made = pickle.loads(child.line.recv_bytes())
        child.kill()
    treadle.sweep()
    assert any(bytes(made.get_obj() if hasattr(made, "get_obj") else made))
    again = pickle.loads(pickle.dumps(made))
    assert bytes(again if not hasattr(again, "get_obj") else again.get_obj())


def _make_and_send(line: Connection, make: Callable[[], Any]) -> None:
    made = make()
    memory = memoryview(made.get_obj() if hasattr(made, "get_obj") else made).cast("B")
    memory[:] = bytes([1]) * len(memory)
    line.send_bytes(pickle.dumps(made))
    signal.pause()


def test_a_child_of_fork_has_it_as_well() -> None:
    value, array = treadle.Value("i", 1), treadle.ndarray(3)
    pid = os.fork()
    if pid == 0:
        value.fetch_add(1)
        array[1:] += 1
        os._exit(0)
    os.waitpid(pid, 0)
    assert (value.value, array.tolist()) == (2, [0.0, 1.0, 1.0])
