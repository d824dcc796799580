"""Every shared object of treadle can be sent through a queue, alone or inside another value."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import treadle
from tests.queue.workers import PROCESSES, Start


@dataclass
class Parcel:
    things: dict[str, Any]


def make_all() -> dict[str, Any]:
    lock = treadle.Lock(label="lock")
    return {
        "lock": lock,
        "rlock": treadle.RLock(),
        "rwlock": treadle.RWLock(),
        "latch": treadle.Latch(1),
        "semaphore": treadle.Semaphore(0),
        "bounded": treadle.BoundedSemaphore(2),
        "event": treadle.Event(),
        "condition": treadle.Condition(lock),
        "barrier": treadle.Barrier(2),
        "queue": treadle.Queue(),
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", PROCESSES)
def test_they_are_the_same_objects_on_the_other_side(start: Start, kind: str) -> None:
    queue = treadle.Queue()
    worker = start(kind, use_them, queue)
    things = make_all()
    things["lock"].acquire()
    queue.put([Parcel(things)])
    things["semaphore"].acquire()
    assert things["event"].wait()
    assert things["rlock"].owner.pid == worker.pid
    assert things["rwlock"].readers == 1
    assert things["latch"].wait()
    assert things["bounded"].get_value() == 1
    things["lock"].release()
    things["barrier"].wait()
    assert things["queue"].get() == "from the worker"
    with things["condition"]:
        queue.put("now")
        assert things["condition"].wait_for(lambda: not things["queue"].empty())
    assert things["queue"].get() == "notified"
    worker.join()


def use_them(queue: treadle.Queue) -> None:
    (parcel,) = queue.get()
    things = parcel.things
    assert things["lock"].label == "lock"
    assert not things["lock"].acquire(blocking=False)
    things["rlock"].acquire()
    things["rwlock"].acquire_read()
    things["latch"].count_down()
    things["bounded"].acquire()
    things["semaphore"].release()
    things["event"].set()
    things["barrier"].wait()
    things["queue"].put("from the worker")
    assert queue.get() == "now"
    with things["condition"]:
        things["queue"].put("notified")
        things["condition"].notify()
    things["bounded"].release()
    things["rlock"].release()
    things["rwlock"].release_read()


@pytest.mark.parametrize("name", make_all())
def test_an_object_is_alive_in_the_queue_when_its_sender_has_dropped_it(
    queue: treadle.Queue, name: str
) -> None:
    queue.put((name, make_all()[name]))
    gc.collect()
    for _ in range(100):
        treadle.Lock()
    got = queue.get()[1]
    assert type(got) is type(make_all()[name])
    assert repr(got)


def test_a_queue_can_carry_itself(queue: treadle.Queue) -> None:
    queue.put(queue)
    twin = queue.get()
    twin.put("item")
    assert queue.get() == "item"


def test_a_chain_of_queues_carries_an_answer_back(start: Start) -> None:
    """Each request brings the queue that its answer is wanted in."""
    requests = treadle.Queue()
    worker = start("fork", serve, requests)
    for number in range(50):
        answers = treadle.Queue(1)
        requests.put((number, answers))
        assert answers.get() == number * number
    requests.shutdown()
    worker.join()


def serve(requests: treadle.Queue) -> None:
    for number, answers in requests:
        answers.put(number * number)


@pytest.mark.parametrize(
    "make",
    [
        lambda: treadle.Lock(shared=False),
        lambda: treadle.RLock(shared=False),
        lambda: treadle.RWLock(shared=False),
        lambda: treadle.Latch(1, shared=False),
        lambda: treadle.Semaphore(shared=False),
        lambda: treadle.BoundedSemaphore(shared=False),
        lambda: treadle.Event(shared=False),
        lambda: treadle.Condition(shared=False),
        lambda: treadle.Barrier(2, shared=False),
    ],
)
def test_private_objects_stay_where_they_are(queue: treadle.Queue, make: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="shared"):
        queue.put(("private", make()))
    assert queue.empty()
