"""What travels by value: functions without a name, and nothing that a copy would not stand for.

Everywhere that values are pickled: queues, fifos, and the calls of processes.
"""

from __future__ import annotations

import logging
import multiprocessing.reduction
import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import treadle
from treadle._fifo import _pickled
from treadle._running.portable import pack, portable_pickle

_queue = treadle.Queue()
everywhere = pytest.mark.parametrize(
    "pickled", [_queue.put, _pickled, portable_pickle, pack], ids=lambda each: each.__name__
)
Pickled = Callable[[Any], object]


@everywhere
@pytest.mark.parametrize("mode", ["r", "w", "rb", "wb"])
@pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "in a closure"])
def test_a_file_is_not_replaced_by_a_copy(
    pickled: Pickled, mode: str, wrapped: bool, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    with path.open(mode) as file, pytest.raises(TypeError, match=r"cannot pickle '_io\."):
        pickled((lambda: file) if wrapped else file)


@everywhere
def test_an_error_names_what_a_function_holds(pickled: Pickled) -> None:
    """And not the function, which can be sent."""
    lock = threading.Lock()
    with pytest.raises(TypeError, match=r"cannot pickle '_thread\.lock'"):
        pickled(lambda: lock)


@everywhere
def test_an_error_names_what_a_local_class_holds(pickled: Pickled) -> None:
    class Local:
        lock = threading.Lock()

    with pytest.raises(TypeError, match=r"cannot pickle '_thread\.lock'"):
        pickled(Local)


@pytest.mark.parametrize("pickled", [portable_pickle, lambda value: pack(value)[0]])
def test_what_multiprocessing_learns_to_send_can_be_sent(pickled: Callable[[Any], bytes]) -> None:
    """At any time: a library registers its types when it is imported."""

    class Late:
        def __reduce__(self) -> Any:
            raise TypeError("cannot pickle this")

    late = Late()
    multiprocessing.reduction.ForkingPickler.register(Late, lambda _: (str, ("sent",)))
    assert pickle.loads(pickled(late)) == "sent"
    assert pickle.loads(pickled(lambda: late))() == "sent"


def test_loggers_and_the_standard_streams_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    logger = logging.getLogger(__name__)
    _queue.put(lambda: (logger, sys.__stdout__))
    assert _queue.get()() == (logger, sys.stdout)


def test_a_call_is_blamed_on_what_cannot_be_sent() -> None:
    with open(__file__) as file:
        process = treadle.Process(target=lambda: file.read())
        with pytest.raises(TypeError, match=r"cannot pickle '_io\.TextIOWrapper'"):
            multiprocessing.reduction.ForkingPickler.dumps(process._call)
