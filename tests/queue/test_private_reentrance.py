"""Code that runs in the midst of a call of the queue, and uses the same queue.

Finalizers of items, callbacks of weak references, the cycle collector's finalizers, handlers of
signals, comparisons: a SimpleQueue serves them all, as the standard library's; the others serve
those that come between calls, and refuse those that come while an order is being found.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

import treadle
from tests.queue.kinds import UNBOUNDED, every_private_and_simple_kind
from tests.sync.threads import OtherThread, until_parked
from treadle import queue as dropin

Make = Callable[..., Any]

simple = pytest.mark.parametrize("make", UNBOUNDED.values(), ids=UNBOUNDED)
priority = pytest.mark.parametrize(
    "make",
    [partial(treadle.PriorityQueue, shared=False), dropin.PriorityQueue],
    ids=["PriorityQueue", "queue.PriorityQueue"],
)


class Last:
    """When it goes, it does something."""

    def __init__(self, deed: Callable[[], object]) -> None:
        self.deed = deed

    def __del__(self) -> None:
        self.deed()

    def __lt__(self, other: object) -> bool:
        return False


@contextmanager
def handling(handler: Callable[[], object]) -> Iterator[None]:
    former = signal.signal(signal.SIGUSR1, lambda *_: handler())
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, former)


# ---- Finalizers


@every_private_and_simple_kind
def test_the_end_of_an_item_that_was_thrown_away_may_use_the_queue(make: Make) -> None:
    """shutdown(immediate=True) drops its items when all is done, and not in its midst."""
    queue, seen = make(), []

    def look() -> None:
        seen.append((queue.qsize(), queue.is_shutdown))
        for call in (lambda: queue.put(0), lambda: queue.get(), lambda: queue.lease()):
            with pytest.raises(treadle.ShutDown):
                call()

    for _ in range(3):
        queue.put(Last(look))
    queue.shutdown(immediate=True)
    assert seen == [(0, True)] * 3


@every_private_and_simple_kind
def test_the_end_of_an_item_that_is_got_may_put_another(make: Make) -> None:
    queue = make()

    def again(left: int) -> None:
        if left:
            queue.put(Last(lambda: again(left - 1)))

    again(10)
    count = 0
    while not queue.empty():
        queue.get()  # and forgets it
        count += 1
    assert count == 10


@every_private_and_simple_kind
def test_the_callback_of_a_weak_reference_may_put_another(make: Make) -> None:
    queue, refs = make(), []

    class Item:
        def __lt__(self, other: object) -> bool:
            return False

    item = Item()
    refs.append(weakref.ref(item, lambda _: queue.put("it is gone")))
    queue.put(item)
    del item
    queue.get()
    assert queue.get_nowait() == "it is gone"


@every_private_and_simple_kind
def test_a_queue_s_end_lets_items_end_that_use_other_queues(make: Make) -> None:
    queue, heirs = make(), make()
    for number in range(20):
        queue.put(Last(partial(heirs.put, number)))
    del queue
    assert sorted(heirs.get_many(30)) == list(range(20))


def test_the_end_of_an_item_may_use_the_queue_that_ends() -> None:
    """The collector has come upon both; whatever it answers, nothing is broken."""
    said: list[object] = []

    for make in UNBOUNDED.values():
        queue = make()

        def use(queue: Any = queue) -> None:
            try:
                queue.put("more")
                said.append(queue.qsize())
                said.append(queue.get(timeout=0))
            except (treadle.Empty, treadle.ShutDown) as error:
                said.append(type(error))

        for _ in range(3):
            queue.put(Last(use))
        del queue, use
        gc.collect()
    assert len(said) >= 3 * len(UNBOUNDED)


@pytest.mark.slow
@simple
def test_finalizers_of_the_collector_put_wherever_they_come(make: Make) -> None:
    """It is triggered by any allocation, in any thread; as the standard library's own test."""
    queue = make()
    rounds, per_round = 300, 20
    threads = 3

    class Cyclic:
        def __init__(self, number: int) -> None:
            self.itself, self.number = self, number

        def __del__(self) -> None:
            queue.put(("finalizer", self.number))

    former = gc.get_threshold()
    gc.set_threshold(5)
    try:

        def work(of: int) -> None:
            for _round in range(rounds):
                for _ in range(per_round):
                    Cyclic(of)
                queue.put(("call", of))
                queue.get()

        workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        gc.set_threshold(*former)
    gc.collect()
    # Every put counts, and each round took one.
    assert queue.qsize() == threads * rounds * per_round
    assert queue.statistics().puts == threads * rounds * (per_round + 1)
    assert len(queue.get_many(1 << 20)) == threads * rounds * per_round


# ---- Handlers of signals


@simple
def test_a_handler_may_put_in_the_midst_of_any_call(make: Make) -> None:
    """Signals come all the while, and each is an item more."""
    queue = make()
    heard = 0

    def hear() -> None:
        nonlocal heard
        heard += 1
        queue.put(("signal", heard))

    got: list[Any] = []
    with handling(hear):
        for number in range(2000):
            os.kill(os.getpid(), signal.SIGUSR1)
            queue.put(("call", number))
            got.append(queue.get())
    got += queue.get_many(1 << 20) if not queue.empty() else []
    assert heard > 0
    assert sorted(n for kind, n in got if kind == "signal") == list(range(1, heard + 1))
    assert [n for kind, n in got if kind == "call"] == list(range(2000))


@every_private_and_simple_kind
def test_a_handler_may_put_what_the_call_waits_for(make: Make, other: OtherThread) -> None:
    queue, main = make(), threading.main_thread()

    def send() -> None:
        until_parked(queue, main.native_id or 0)
        signal.pthread_kill(main.ident or 0, signal.SIGUSR1)

    with handling(lambda: queue.put("from the handler")):
        sent = other.start(send)
        assert queue.get() == "from the handler"
        sent.result()


@every_private_and_simple_kind
def test_a_handler_may_get_while_a_call_waits_to_join(make: Make, other: OtherThread) -> None:
    queue, main = make(), threading.main_thread()
    queue.put("job")

    def send() -> None:
        until_parked(queue, main.native_id or 0)
        signal.pthread_kill(main.ident or 0, signal.SIGUSR1)

    got = []
    with handling(lambda: got.append(queue.get()) or queue.task_done()):  # type: ignore[func-returns-value]
        sent = other.start(send)
        queue.join()
        sent.result()
    assert got == ["job"]


# ---- Comparisons


class Rank:
    """Compared by number, after something was done."""

    def __init__(self, number: int, deed: Callable[[], object] = int) -> None:
        self.number, self.deed = number, deed

    def __lt__(self, other: Rank) -> bool:
        self.deed()
        other.deed()
        return self.number < other.number


def fail() -> None:
    raise LookupError("incomparable")


@priority
@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 20])
def test_a_comparison_that_raises_at_any_step_changes_nothing(make: Make, size: int) -> None:
    """At the first comparison of a call, the second, and so on."""
    left = 1 << 30

    def count() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            fail()

    def numbers() -> list[int]:
        nonlocal left
        left = 1 << 30
        items = queue.get_many(100)
        assert [item.number for item in items] == sorted(item.number for item in items)
        queue.put_many(items)
        return [item.number for item in items]

    calls: list[Callable[[], object]] = [
        lambda: queue.put(Rank(-1, count)),
        lambda: queue.get(),
        lambda: queue.get_many(3),
        lambda: queue.lease(),
    ]
    for call in calls:
        queue = make()
        queue.put_many(Rank(n * 7 % size, count) for n in range(size))
        before = numbers()
        failures = 0
        while True:
            puts = queue.statistics().unfinished
            left = failures
            try:
                call()
            except LookupError:
                failures += 1
                assert queue.qsize() == size
                assert queue.statistics().unfinished == puts
                assert numbers() == before
            else:
                break
        left = 1 << 30
        assert failures > 0 or size < 3


@priority
def test_giving_back_compares_nothing_and_loses_nothing(make: Make) -> None:
    """A comparison that would raise does so in the next call that takes."""
    queue = make()
    queue.put_many([Rank(1), Rank(2)])
    lease = queue.lease()
    lease.item.deed = fail
    lease.nack()
    assert queue.qsize() == 2
    for _ in range(2):
        with pytest.raises(LookupError):
            queue.get()
        assert queue.qsize() == 2
    lease.item.deed = int
    assert queue.lease().deliveries == 2  # and is forgotten
    assert [queue.get().number for _ in "ab"] == [1, 2]


@priority
def test_a_lease_that_is_forgotten_in_a_comparison_gives_its_item_back(make: Make) -> None:
    queue = make()
    queue.put_many([Rank(1), Rank(2)])
    leases = [queue.lease()]
    queue.put(Rank(3, leases.clear))
    assert queue.qsize() == 3
    assert [queue.get().number for _ in "abc"] == [1, 2, 3]
    leases.append(None)
    queue.put(Rank(4))
    leases[0] = queue.lease()
    queue.put_many([Rank(6), Rank(5)])
    queue.lease().nack()
    queue.put(Rank(7))
    leases[0].item.deed = leases.clear
    leases[0].nack()
    assert [queue.get().number for _ in "abcd"] == [4, 5, 6, 7]


@priority
@pytest.mark.parametrize(
    "use",
    [
        lambda queue: queue.put(Rank(5)),
        lambda queue: queue.get_nowait(),
        lambda queue: queue.lease(timeout=0),
        lambda queue: queue.task_done(),
        lambda queue: treadle.Queue.join(queue, 0),
        lambda queue: queue.shutdown(immediate=True),
    ],
    ids=["put", "get", "lease", "task_done", "join", "shutdown"],
)
def test_a_comparison_that_uses_the_queue_is_told_so(make: Make, use: Any) -> None:
    queue = make()
    queue.put(Rank(1, lambda: use(queue)))
    with pytest.raises(RuntimeError, match="used by the very code"):
        queue.put(Rank(2))
    assert queue.qsize() == 1
    assert queue.get().number == 1


@priority
def test_a_comparison_may_look_at_the_queue(make: Make) -> None:
    queue, seen = make(4), []
    look = lambda: seen.append((queue.qsize(), queue.full(), queue.maxsize))  # noqa: E731
    queue.put(Rank(1, look))
    queue.put(Rank(2))
    assert seen == [(1, False, 4)]


@priority
def test_while_a_comparison_lasts_other_threads_wait_and_then_go_on(
    make: Make, other: OtherThread
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def last() -> None:
        begun.set()
        go_on.wait()

    queue = make()
    queue.put(Rank(2, last))
    putting = other.start(queue.put, Rank(1))
    begun.wait()
    assert queue.qsize() == 1  # is told at once
    second = OtherThread()
    getting = second.start(lambda: queue.get().number)
    until_parked(queue, second.native_id)
    go_on.set()
    putting.result()
    assert getting.result() == 1
    second.end()


@priority
def test_items_that_mutate_their_order_break_nothing(make: Make) -> None:
    """The order is lost then, as with heapq; the items are not."""
    queue = make()
    ranks = [Rank(n) for n in range(30)]
    for rank in ranks:
        queue.put(rank)
    for rank in ranks[::3]:
        rank.number = -rank.number
    got = queue.get_many(30)
    assert set(got) == set(ranks)
    assert all(sys.getrefcount(rank) < 6 for rank in ranks)
