"""PriorityQueue and LifoQueue between processes: the order, and what comes back into it."""

from __future__ import annotations

import contextlib
import copy
import pickle
import queue as stdlib
import random
import signal
import threading
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest

import treadle
from tests.queue.tickets import ticket_of
from tests.queue.workers import KINDS as WORKERS
from tests.queue.workers import PROCESSES, Start, books, until_waiting
from tests.sync.children import forked
from tests.sync.threads import OtherThread

ORDERED = [treadle.PriorityQueue, treadle.LifoQueue]
ordered = pytest.mark.parametrize("queue", ORDERED, indirect=True)
by_priority = pytest.mark.parametrize("queue", [treadle.PriorityQueue], indirect=True)


@pytest.mark.parametrize(
    ("standard", "ours"),
    [(stdlib.PriorityQueue, treadle.PriorityQueue), (stdlib.LifoQueue, treadle.LifoQueue)],
)
def test_the_order_is_the_standard_library_s(standard: Any, ours: Any) -> None:
    dice = random.Random(1)
    expected, queue = standard(), ours()
    for number in range(2000):
        if dice.random() < 0.4 and queue.qsize():
            assert queue.get() == expected.get()
        item = (dice.randrange(50), number)
        expected.put(item)
        queue.put(item)
    while queue.qsize():
        assert queue.get() == expected.get()
    assert expected.empty()


def test_equal_priorities_come_out_in_the_order_of_arrival() -> None:
    queue = treadle.PriorityQueue()
    jobs = [(number % 3, {"job": number}) for number in range(300)]
    for job in jobs[:150]:
        queue.put(job)
    queue.put_many(jobs[150:])
    assert queue.get_many(1000) == sorted(jobs, key=lambda job: job[0])


def test_a_batch_is_put_in_order_and_taken_in_the_queue_s() -> None:
    stack = treadle.LifoQueue()
    stack.put_many("abc")
    stack.put("d")
    assert stack.get_many(2) == ["d", "c"]
    assert list(iter_after_shutdown(stack)) == ["b", "a"]


def iter_after_shutdown(queue: treadle.Queue) -> treadle.Queue:
    queue.shutdown()
    return queue


@by_priority
def test_what_comes_late_and_is_urgent_goes_first_also_to_who_waits(
    queue: treadle.Queue, other: OtherThread
) -> None:
    waiting = other.start(queue.get)
    until_waiting(queue)
    queue.put((5, "first"))
    assert waiting.result() == (5, "first")
    queue.put_many([(5, "b"), (1, "a")])
    assert other.do(queue.get) == (1, "a")


@pytest.mark.parametrize("settle", ["nack", "raise", "forget"])
def test_an_item_given_back_has_the_place_that_it_had(settle: str) -> None:
    queue = treadle.PriorityQueue()
    queue.put_many([(1, "a"), (2, "b"), (2, "c"), (3, "d")])
    assert queue.get() == (1, "a")
    held = queue.lease()
    assert held.item == (2, "b")
    queue.put_many([(2, "e"), (0, "f")])
    if settle == "nack":
        held.nack()
    elif settle == "raise":
        with pytest.raises(ValueError), held:
            raise ValueError
    else:
        del held
    assert queue.get() == (0, "f")
    with queue.lease() as lease:
        assert (lease.item, lease.deliveries) == ((2, "b"), 2)
    assert queue.get_many(9) == [(2, "c"), (2, "e"), (3, "d")]


def test_a_stack_takes_what_was_given_back_as_old_as_it_is() -> None:
    stack = treadle.LifoQueue()
    stack.put_many("abc")
    held = [stack.lease() for _ in range(2)]
    stack.put("d")
    for lease in held:
        lease.nack()
    assert stack.get_many(9) == ["d", "c", "b", "a"]


def hold(line: Connection, queue: treadle.Queue, count: int) -> None:
    leases = [queue.lease() for _ in range(count)]
    line.send([lease.item for lease in leases])
    signal.pause()


@ordered
def test_what_the_dead_held_comes_back_to_its_place(queue: treadle.Queue) -> None:
    queue.put_many(range(100))
    with forked(hold, queue, 30) as one, forked(hold, queue, 30) as two:
        held = one.hear() + two.hear()
        one.kill()
        two.kill()
    assert queue.statistics().leased == 60
    assert queue.join(timeout=0) is False  # it looks at the holders
    order = [queue.get() for _ in range(100)]
    newest = isinstance(queue, treadle.LifoQueue)
    assert order == sorted(range(100), reverse=newest)
    assert sorted(held, reverse=newest) == order[:60]


def produce(queue: treadle.Queue, who: int, count: int) -> None:
    for number in range(count):
        queue.put((number % 7, who, number, {"any": "object"}))


def consume(queue: treadle.Queue, out: treadle.Queue) -> None:
    for item in queue:
        out.put(item)


@pytest.mark.slow
@ordered
@pytest.mark.parametrize("kind", WORKERS)
def test_workers_of_every_kind_share_it(queue: treadle.Queue, start: Start, kind: str) -> None:
    out = treadle.Queue()
    producers = [start(kind, produce, queue, who, 200) for who in range(2)]
    consumers = [start(kind, consume, queue, out) for _ in range(2)]
    for producer in producers:
        producer.join()
    queue.shutdown()
    for consumer in consumers:
        consumer.join()
    items = [(who, number) for _, who, number, _ in out.get_many(1000)]
    assert sorted(items) == [(who, number) for who in range(2) for number in range(200)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", PROCESSES)
def test_what_several_put_comes_out_in_one_order(start: Start, kind: str) -> None:
    queue = treadle.PriorityQueue()
    for worker in [start(kind, produce, queue, who, 200) for who in range(3)]:
        worker.join()
    items = queue.get_many(1000)
    assert [item[:3] for item in items] == sorted(item[:3] for item in items)
    assert len(items) == 600


@pytest.mark.slow
@ordered
def test_nothing_is_lost_or_doubled_whoever_is_killed(queue: treadle.Queue, start: Start) -> None:
    done = treadle.Queue()
    jobs = 300
    queue.put_many(range(jobs))
    dice = random.Random(6)
    workers = [start("fork", work, queue, done) for _ in range(3)]
    seen: dict[int, list[int]] = {job: [] for job in range(jobs)}
    kills = 0
    while not queue.join(timeout=0):
        with contextlib.suppress(
            treadle.Empty
        ):  # the last one may be done and not acknowledged yet
            for job, delivery in done.get_many(10, timeout=0.1):
                seen[job].append(delivery)
        if kills < 20:
            kills += 1
            victim = dice.randrange(3)
            workers[victim].kill()
            workers[victim] = start("fork", work, queue, done)
    queue.shutdown()
    for worker in workers:
        worker.join()
    while not done.empty():
        job, delivery = done.get()
        seen[job].append(delivery)
    for job, deliveries in seen.items():
        assert deliveries, f"job {job} was never done"
        assert len(set(deliveries)) == len(deliveries), f"job {job} was delivered as {deliveries}"


def work(queue: treadle.Queue, done: treadle.Queue) -> None:
    try:
        while True:
            with queue.lease() as lease:
                done.put((lease.item, lease.deliveries))
    except treadle.ShutDown:
        pass


@ordered
def test_large_items_pass_and_their_memory_comes_back(queue: treadle.Queue) -> None:
    before = books()
    array = np.arange(300_000)
    queue.put_many([(2, array), (1, "x" * 50_000), (3, bytes(9000))])
    items = sorted(queue.get_many(3), key=lambda item: item[0])
    assert items[0][1] == "x" * 50_000 and items[2][1] == bytes(9000)
    assert np.array_equal(items[1][1], array)
    del items
    queue.put((1, array))
    view = queue.get(copy=False)[1]
    assert not view.flags.owndata and np.array_equal(view, array)
    del view
    queue.put_many((n, bytes(20_000)) for n in range(5))
    queue.shutdown(immediate=True)
    assert queue.qsize() == 0
    assert books()[0] == before[0]


@ordered
def test_a_queue_that_was_long_is_small_again(queue: treadle.Queue) -> None:
    queue.put(0)
    queue.get()
    blocks, used = books()
    for _ in range(2):
        queue.put_many(range(20_000))
        assert len(queue.get_many(20_000)) == 20_000
    after = books()
    assert after[0] == blocks
    assert after[1] <= used + (1 << 20)


@ordered
def test_bounds_are_kept(queue: treadle.Queue, other: OtherThread) -> None:
    bounded = type(queue)(2)
    bounded.put_many([1, 2])
    assert bounded.full()
    with pytest.raises(treadle.Full):
        bounded.put_nowait(3)
    putting = other.start(bounded.put, 3)
    until_waiting(bounded)
    bounded.get()
    putting.result()
    light = type(queue)(maxbytes=100)
    light.put(bytes(1000))  # larger than the bound: alone
    with pytest.raises(treadle.Full):
        light.put_nowait(b"")
    light.get()
    light.put_nowait(b"")


@ordered
def test_it_says_what_it_is(queue: treadle.Queue) -> None:
    kind = type(queue).__name__
    bounded = type(queue)(3, maxbytes=1000, label="jobs")
    bounded.put(1)
    assert (bounded.maxsize, bounded.maxbytes, bounded.label) == (3, 1000, "jobs")
    assert bounded.shared
    assert repr(bounded) == f"<treadle.{kind} 'jobs', shared: qsize=1/3>"
    lease = bounded.lease()
    assert repr(lease).startswith(f"<treadle.Lease of <treadle.{kind} 'jobs'")
    figures = bounded.statistics()
    assert (figures.qsize, figures.puts, figures.gets, figures.leased) == (0, 1, 1, 1)
    assert (figures.unfinished, figures.bytes, figures.redelivered) == (1, 0, 0)
    lease.nack()
    key = 16 if kind == "PriorityQueue" else 0
    assert bounded.statistics().bytes == key + 16 + 16  # a header, an int with its tag, padded
    bounded.get()
    assert bounded.statistics().redelivered == 1


@ordered
def test_a_copy_is_another_handle_of_the_same_queue(queue: treadle.Queue) -> None:
    for duplicate in (copy.copy, copy.deepcopy, lambda q: pickle.loads(pickle.dumps(q))):
        twin = duplicate(queue)
        assert type(twin) is type(queue)
        twin.put("item")
        assert queue.get() == "item"


@pytest.mark.parametrize("kind", [treadle.Queue, *ORDERED])
def test_a_handle_leads_to_no_queue_of_another_kind(kind: type[treadle.Queue]) -> None:
    for other in {treadle.Queue, *ORDERED} - {kind}:
        queue = other()
        ticket = ticket_of(queue)[1]
        rebuild = kind().__reduce__()[0]
        with pytest.raises(treadle.HandleError, match="handle"):
            rebuild(kind, ticket)


class Urgent(treadle.PriorityQueue):
    def __init__(self, team: str) -> None:
        super().__init__(label=team)
        self.team = team


def test_a_subclass_stays_what_it_is() -> None:
    queue = pickle.loads(pickle.dumps(Urgent("jobs")))
    assert type(queue) is Urgent
    assert queue.team == queue.label == "jobs"


def test_a_pickle_that_fails_leaves_the_queue_as_it_was() -> None:
    queue = treadle.PriorityQueue()
    for put in (queue.put, lambda item: queue.put_many([(0, "fine"), item])):
        with pytest.raises(Exception, match="pickle"):
            put((1, threading.Lock()))
    assert queue.statistics().puts == 0
