"""NumPy arrays between two processes: bytes a second, and what receiving costs without a copy."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import treadle
from treadle.benchmarks.case import Case, Comparison, Measure, against
from treadle.benchmarks.clock import rate
from treadle.benchmarks.units import Unit
from treadle.benchmarks.workers import elapsed, in_processes

_MEGABYTE = 1_000_000
_TRANSFERRED_BYTES = 10 * _MEGABYTE
_CAPACITY_BYTES = 64 * _MEGABYTE
_VIEWED_MEGABYTES = (1, 10, 100)
_FEWEST_VIEWS = 7
_WARM_UPS, _WARM_UP_BYTES = 5, _MEGABYTE // 10
_DOES_NOT_GROW = (
    1.5  # a hundredfold size may cost this much more, which leaves room for the clock alone
)


def cases() -> list[Case]:
    """10 MB arrays one way; receiving 1, 10 and 100 MB with ``copy=False``."""
    return [
        Case(
            name="array",
            title="Queue of 10 MB NumPy arrays, 1 to 1",
            unit=Unit.BYTES_PER_SECOND,
            contenders={
                "treadle": _transfer(partial(treadle.Queue, maxbytes=_CAPACITY_BYTES), _get),
                "treadle copy=False": _transfer(
                    partial(treadle.Queue, maxbytes=_CAPACITY_BYTES), _get_view
                ),
                "multiprocessing.Queue": _transfer(multiprocessing.get_context("fork").Queue, _get),
                "faster-fifo": _transfer(_faster_fifo_queue, _get),
            },
            rows=against(
                ["treadle", "treadle copy=False"], {"multiprocessing.Queue": 8, "faster-fifo": None}
            ),
        ),
        _views("array.view", "get(copy=False) of a NumPy array", drop=False),
        _views(
            "array.view-and-drop", "get(copy=False) of a NumPy array, and its release", drop=True
        ),
    ]


def _transfer(make: Callable[[], Any], get: Callable[[Any], Any]) -> Measure:
    """One producer, one consumer, n times the same array."""

    def measure(seconds: float) -> float:
        array = _array(_TRANSFERRED_BYTES)

        def run(number: int) -> float:
            q = make()

            def produce() -> None:
                for _ in range(number):
                    q.put(array)

            def consume() -> None:
                for _ in range(number):
                    received = get(q)
                if received[-1] != array[-1] or received.nbytes != array.nbytes:
                    raise AssertionError("the array that arrived is not the one that was put")

            return elapsed(in_processes(produce, consume))

        return rate(run, seconds, start=2) * _TRANSFERRED_BYTES

    return measure


def _views(name: str, title: str, *, drop: bool) -> Case:
    def contender(megabytes: int) -> str:
        return f"treadle {megabytes} MB"

    smallest = contender(_VIEWED_MEGABYTES[0])
    return Case(
        name=name,
        title=title,
        unit=Unit.SECONDS,
        contenders={
            contender(size): _receive_view(size * _MEGABYTE, drop=drop)
            for size in _VIEWED_MEGABYTES
        },
        rows=tuple(
            Comparison(contender(size), smallest, _DOES_NOT_GROW) for size in _VIEWED_MEGABYTES[1:]
        ),
    )


def _receive_view(size: int, *, drop: bool) -> Measure:
    """The receiver's time for an array that is already there; with `drop`, its release as well.

    Just before each, the same calls for a small array warm the caches: the sender's copy has left
    them the colder the larger its array is, which would charge the receiver for the sender's work.
    """

    def measure(seconds: float) -> float:
        array = _array(size)
        small = _array(_WARM_UP_BYTES)
        q: treadle.Queue[Any] = treadle.Queue()
        warm_up: treadle.Queue[Any] = treadle.Queue()
        put_now, may_put = multiprocessing.Pipe()

        def produce() -> None:
            while may_put.recv():
                for _ in range(_WARM_UPS):
                    warm_up.put(small)
                q.put(array)
                may_put.send(None)

        def receive() -> float:
            times: list[float] = []
            end = time.perf_counter() + seconds
            while time.perf_counter() < end or len(times) < _FEWEST_VIEWS:
                put_now.send(True)
                put_now.recv()
                for _ in range(_WARM_UPS):
                    warm_up.get(copy=False)
                began = time.perf_counter()
                view = q.get(copy=False)
                received = time.perf_counter()
                if view[-1] != array[-1] or view.nbytes != array.nbytes:
                    raise AssertionError("the array that arrived is not the one that was put")
                release_began = time.perf_counter()
                del view
                released = time.perf_counter()
                times.append(received - began + (released - release_began if drop else 0.0))
            put_now.send(False)
            return statistics.median(times)

        _, run = in_processes(produce, receive)
        median: float = run.result
        return median

    return measure


def _array(size: int) -> Any:
    import numpy  # here: it starts threads, beside which the other cases must not fork

    return numpy.arange(size // 8, dtype=numpy.int64)


def _faster_fifo_queue() -> Any:
    import faster_fifo

    return faster_fifo.Queue(max_size_bytes=_CAPACITY_BYTES)


def _get(q: Any) -> Any:
    return q.get()


def _get_view(q: Any) -> Any:
    return q.get(copy=False)
