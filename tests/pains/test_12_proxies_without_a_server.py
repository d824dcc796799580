"""Manager proxies break after fork, or when the server is gone (python/cpython#101320)."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

import treadle
from tests.pains.programs import output_of, seen_in_this_version

pytestmark = pytest.mark.slow

_fork = multiprocessing.get_context("fork")


@seen_in_this_version
def test_a_managers_dict_is_gone_with_its_server() -> None:
    said = output_of(
        """
import multiprocessing, os, signal
manager = multiprocessing.get_context("fork").Manager()
shared = manager.dict(a=1)
os.kill(manager._process.pid, signal.SIGKILL)
manager._process.join()
try:
    shared["a"]
except (OSError, EOFError) as error:
    print("gone")
"""
    )
    assert said == "gone\n"


def test_here_it_outlives_whoever_made_it() -> None:
    receiving, sending = treadle.Pipe(duplex=False)

    def make_and_die() -> None:
        shared = treadle.Dict(a=1)
        sending.send(shared)
        sending.send("sent")
        shared["b"] = 2
        os.kill(os.getpid(), signal.SIGKILL)

    maker = _fork.Process(target=make_and_die)
    maker.start()
    shared = receiving.recv()
    assert receiving.recv() == "sent"
    maker.join()
    assert shared.pop("b") == 2
    shared["c"] = shared["a"] + 2
    assert shared == {"a": 1, "c": 3}


def test_here_a_fork_uses_what_its_parent_uses_at_the_same_time() -> None:
    shared = treadle.Dict[str, int]()

    def count() -> None:
        for _ in range(2000):
            shared.add("n")

    children = [_fork.Process(target=count) for _ in range(2)]
    for child in children:
        child.start()
    count()
    for child in children:
        child.join()
    assert shared == {"n": 6000}
