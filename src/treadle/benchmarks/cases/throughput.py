"""Queues: items a second, from the first put until the last item has been consumed.

All queues with a limit have the same one, in bytes. `multiprocessing.Queue` has none: its puts go
to an unbounded buffer, which is why nothing here is timed until the puts are done.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

import treadle
from treadle.benchmarks.case import Case, Comparison, Measure, against
from treadle.benchmarks.clock import rate
from treadle.benchmarks.units import Unit
from treadle.benchmarks.workers import Job, elapsed, in_processes

CAPACITY_BYTES = 1_000_000  # faster-fifo's own default

_BATCH = 100
_FIRST_ITEMS = 1_000  # of the first, warming run
_FIVE_INTS = (1, 2, 3, 4, 5)
_KIBIBYTE = bytes(range(256)) * 4

MakeQueue = Callable[[], Any]


def cases() -> list[Case]:
    """Ints, tuples, bytes between two processes; two by two; in batches."""
    return [
        _one_to_one("queue.int", "Queue of small ints, 1 to 1", 7, _rows(15, 12)),
        _one_to_one("queue.tuple", "Queue of 5-int tuples, 1 to 1", _FIVE_INTS, _rows(15, 12)),
        _one_to_one("queue.bytes", "Queue of 1 KiB bytes, 1 to 1", _KIBIBYTE, _rows(8, 8)),
        Case(
            name="queue.2x2",
            title="Queue of small ints, 2 to 2 processes",
            unit=Unit.PER_SECOND,
            contenders={name: _two_by_two(make) for name, make in _BETWEEN_PROCESSES.items()},
            rows=_rows(8, 8),
        ),
        Case(
            name="queue.batch",
            title=f"Queue of small ints in batches of {_BATCH}, 1 to 1",
            unit=Unit.PER_SECOND,
            contenders={
                "treadle": _batches(treadle_queue, _treadle_put_batch, _treadle_get_batch),
                "faster-fifo": _batches(
                    faster_fifo_queue, _faster_fifo_put_batch, _faster_fifo_get_batch
                ),
                # It has no batches; a list as one item is what its users do instead.
                "multiprocessing.Queue of lists": _batches(
                    multiprocessing_queue, _put_list, _get_list
                ),
            },
            rows=against(["treadle"], {"faster-fifo": 10, "multiprocessing.Queue of lists": None}),
        ),
    ]


def treadle_queue() -> Any:
    """A treadle queue with the common capacity."""
    return treadle.Queue(maxbytes=CAPACITY_BYTES)


def faster_fifo_queue() -> Any:
    """A faster-fifo queue with the common capacity."""
    import faster_fifo

    return faster_fifo.Queue(max_size_bytes=CAPACITY_BYTES)


def multiprocessing_queue() -> Any:
    """The standard library's queue between processes."""
    return multiprocessing.get_context("fork").Queue()


_BETWEEN_PROCESSES: dict[str, MakeQueue] = {
    "treadle": treadle_queue,
    "treadle unbounded": treadle.Queue,
    "multiprocessing.Queue": multiprocessing_queue,
    "faster-fifo": faster_fifo_queue,
    "multiprocessing.SimpleQueue": multiprocessing.get_context("fork").SimpleQueue,
}


def _rows(multiprocessing_ratio: float, faster_fifo_ratio: float) -> tuple[Comparison, ...]:
    limited = {
        "multiprocessing.Queue": multiprocessing_ratio,
        "faster-fifo": faster_fifo_ratio,
        "multiprocessing.SimpleQueue": None,
    }
    return against(["treadle"], limited) + against(
        ["treadle unbounded"], {"multiprocessing.Queue": multiprocessing_ratio}
    )


def _one_to_one(name: str, title: str, item: object, rows: tuple[Comparison, ...]) -> Case:
    return Case(
        name=name,
        title=title,
        unit=Unit.PER_SECOND,
        contenders={
            contender: transfer(make, item) for contender, make in _BETWEEN_PROCESSES.items()
        },
        rows=rows,
    )


def transfer(make: MakeQueue, item: object, together: Callable[..., Any] = in_processes) -> Measure:
    """One producer, one consumer, n times the same item."""

    def run(number: int) -> float:
        q = make()

        def produce() -> None:
            for _ in range(number):
                q.put(item)

        def consume() -> None:
            for _ in range(number):
                received = q.get()
            if received != item:
                raise AssertionError(f"put {item!r}, got {received!r}")

        return elapsed(together(produce, consume))

    return lambda seconds: rate(run, seconds, start=_FIRST_ITEMS)


def _two_by_two(make: MakeQueue) -> Measure:
    """Two producers, two consumers.

    A producer's last item is None, and a consumer ends at the first None that it gets.
    """

    def run(number: int) -> float:
        q = make()

        def produce() -> None:
            for _ in range(number // 2):
                q.put(7)
            q.put(None)

        def consume() -> int:
            received = 0
            while q.get() is not None:
                received += 1
            return received

        jobs: list[Job] = [produce, produce, consume, consume]
        runs = in_processes(*jobs)
        received = sum(run.result or 0 for run in runs)
        if received != number // 2 * 2:
            raise AssertionError(f"put {number // 2 * 2} items, got {received}")
        return elapsed(runs)

    return lambda seconds: rate(run, seconds, start=_FIRST_ITEMS)


def _batches(
    make: MakeQueue,
    put_batch: Callable[[Any, list[int]], Any],
    get_batch: Callable[[Any], list[int]],
) -> Measure:
    """One producer, one consumer, n items in batches; a consumer may get a batch in parts."""

    def run(number: int) -> float:
        q = make()
        count = number // _BATCH

        def produce() -> None:
            batch = [7] * _BATCH
            for _ in range(count):
                put_batch(q, batch)

        def consume() -> None:
            missing = count * _BATCH
            while missing > 0:
                missing -= len(get_batch(q))
            if missing:
                raise AssertionError(f"got {-missing} items more than were put")

        return elapsed(in_processes(produce, consume))

    return lambda seconds: rate(run, seconds, start=_FIRST_ITEMS)


def _treadle_put_batch(q: Any, batch: list[int]) -> None:
    q.put_many(batch)


def _treadle_get_batch(q: Any) -> list[int]:
    items: list[int] = q.get_many(_BATCH)
    return items


def _faster_fifo_put_batch(q: Any, batch: list[int]) -> None:
    q.put_many(batch)


def _faster_fifo_get_batch(q: Any) -> list[int]:
    items: list[int] = q.get_many(max_messages_to_get=_BATCH)
    return items


def _put_list(q: Any, batch: list[int]) -> None:
    q.put(batch)


def _get_list(q: Any) -> list[int]:
    items: list[int] = q.get()
    return items
