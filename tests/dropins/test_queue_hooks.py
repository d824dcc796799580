"""Subclasses of queue.Queue that keep the items themselves, as programs have them."""

from __future__ import annotations

import heapq
import threading
from collections import OrderedDict, deque
from typing import Any

import pytest

import treadle
from tests.sync.threads import OtherThread, until_parked
from treadle import queue

# ---- Famous ones


class SetQueue(queue.Queue):
    """Drops what is in it already."""

    def _init(self, maxsize: int) -> None:
        self.queue: Any = set()

    def _put(self, item: Any) -> None:
        self.queue.add(item)

    def _get(self) -> Any:
        return self.queue.pop()


class OrderedSetQueue(queue.Queue):
    """Drops what it has ever seen, and counts that as done."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self.seen: set[Any] = set()

    def _put(self, item: Any) -> None:
        if item in self.seen:
            self.unfinished_tasks -= 1
        else:
            self.seen.add(item)
            super()._put(item)


class LatestByKey(queue.Queue):
    """Least recently used first; a second put of a key replaces the value."""

    def _init(self, maxsize: int) -> None:
        self.queue: Any = OrderedDict()

    def _put(self, item: tuple[str, int]) -> None:
        self.queue[item[0]] = item
        self.queue.move_to_end(item[0])

    def _get(self) -> Any:
        return self.queue.popitem(last=False)[1]


class StablePriorityQueue(queue.Queue):
    """A heap of its own; equal priorities come out as they came."""

    def _init(self, maxsize: int) -> None:
        self.queue: Any = []
        self.count = 0

    def _put(self, item: tuple[int, str]) -> None:
        heapq.heappush(self.queue, (item[0], self.count, item[1]))
        self.count += 1

    def _get(self) -> Any:
        return heapq.heappop(self.queue)[2]


class LimitedBytes(queue.Queue):
    """maxsize is a number of bytes."""

    def _qsize(self) -> int:
        return sum(map(len, self.queue))


class Newest(queue.Queue):
    """Keeps the newest maxsize items and is never full."""

    def _init(self, maxsize: int) -> None:
        self.queue: Any = deque(maxlen=self.maxsize)
        self.maxsize = 0


def test_a_set_drops_what_is_in_it_already() -> None:
    jobs = SetQueue()
    for job in "abab":
        jobs.put(job)
    assert jobs.qsize() == 2
    assert {jobs.get(), jobs.get()} == {"a", "b"}
    with pytest.raises(queue.Empty):
        jobs.get_nowait()
    assert jobs.unfinished_tasks == 4  # as in the standard library: each put counts


def test_a_duplicate_wakes_nobody_for_nothing(other: OtherThread) -> None:
    jobs = OrderedSetQueue()
    jobs.put("a")
    assert jobs.get() == "a"
    getting = other.start(jobs.get)
    until_parked(jobs, other.native_id)
    jobs.put("a")
    jobs.put("b")
    assert getting.result() == "b"
    assert jobs.qsize() == 0


def test_an_item_that_a_hook_drops_and_counts_off_is_not_joined_for(other: OtherThread) -> None:
    jobs = OrderedSetQueue()
    for job in "aab":
        jobs.put(job)
    assert jobs.unfinished_tasks == 2
    joining = other.start(jobs.join)
    for _ in range(2):
        jobs.get()
        jobs.task_done()
    joining.result()
    jobs.put("b")  # counted off before it is counted, from none
    assert jobs.unfinished_tasks == 0
    jobs.join()


def test_a_cache_gives_out_the_least_recently_put() -> None:
    jobs = LatestByKey()
    for item in [("a", 1), ("b", 2), ("a", 3)]:
        jobs.put(item)
    assert [jobs.get(), jobs.get()] == [("b", 2), ("a", 3)]


def test_a_heap_of_its_own() -> None:
    jobs = StablePriorityQueue()
    for item in [(2, "c"), (1, "a"), (2, "d"), (1, "b")]:
        jobs.put(item)
    assert [jobs.get() for _ in range(4)] == ["a", "b", "c", "d"]


def test_a_size_of_its_own_is_what_the_bound_is_for(other: OtherThread) -> None:
    jobs = LimitedBytes(10)
    jobs.put(b"123456")
    jobs.put(b"123456")
    assert jobs.qsize() == 12
    assert jobs.full()
    with pytest.raises(queue.Full):
        jobs.put_nowait(b"1")
    putting = other.start(jobs.put, b"1")
    until_parked(jobs, other.native_id)
    jobs.get()
    putting.result()
    assert jobs.qsize() == 7
    figures = jobs.statistics()
    assert (figures.puts, figures.gets, figures.unfinished) == (3, 1, 3)


def test_a_shutdown_at_once_empties_one_that_has_a_size_of_its_own() -> None:
    jobs = LimitedBytes(10)
    jobs.put(b"123456")
    jobs.put(b"123456")
    jobs.shutdown(immediate=True)
    assert jobs.qsize() == 0
    assert jobs.empty()
    assert jobs.unfinished_tasks == 0
    jobs.join()


def test_init_may_read_the_bound_and_set_another() -> None:
    jobs = Newest(2)
    for item in range(5):
        jobs.put(item)
    assert [jobs.get(), jobs.get()] == [3, 4]
    assert jobs.empty()


# ---- What the hooks are given, and when


@pytest.mark.parametrize("maxsize", [0, 3, -1])
def test_init_gets_the_maxsize_as_it_was_given(maxsize: int) -> None:
    given = []

    class Told(queue.Queue):
        def _init(self, maxsize: int) -> None:
            given.append(maxsize)
            super()._init(maxsize)

    Told(maxsize)
    assert given == [maxsize]


@pytest.mark.parametrize("base", [queue.Queue, queue.LifoQueue, queue.PriorityQueue])
@pytest.mark.parametrize("hook", ["_init", "_qsize", "_put", "_get"])
def test_any_hook_alone_goes_with_the_others_of_its_base(base: Any, hook: str) -> None:
    calls = []

    def spy(self: Any, *arguments: Any) -> Any:
        calls.append(hook)
        return getattr(base, hook)(self, *arguments)

    jobs = type("Spied", (base,), {hook: spy})()
    for item in (2, 3, 1):
        jobs.put(item)
    expected = {
        queue.Queue: [2, 3, 1],
        queue.LifoQueue: [1, 3, 2],
        queue.PriorityQueue: [1, 2, 3],
    }
    assert [jobs.get() for _ in range(3)] == expected[base]
    assert hook in calls


def test_a_hook_of_a_mixin_counts() -> None:
    class Doubling:
        def _put(self, item: int) -> None:
            super()._put(item * 2)  # type: ignore[misc]

    class Jobs(Doubling, queue.Queue):
        pass

    jobs = Jobs()
    jobs.put(21)
    assert jobs.get() == 42


def test_hooks_never_run_at_the_same_time() -> None:
    """Three threads, and hooks that are interrupted in their midst."""
    inside = threading.Semaphore(1)
    overlaps = []

    class Watched(queue.Queue):
        def _enter(self, what: str, *item: Any) -> Any:
            if not inside.acquire(blocking=False):
                overlaps.append(what)
                return getattr(super(), what)(*item)
            for _ in range(50):  # the interpreter may go to another thread here
                pass
            try:
                return getattr(super(), what)(*item)
            finally:
                inside.release()

        def _put(self, item: Any) -> None:
            self._enter("_put", item)

        def _get(self) -> Any:
            return self._enter("_get")

        def _qsize(self) -> int:
            return self._enter("_qsize")

    jobs = Watched(3)
    got: list[int] = []
    threads = [threading.Thread(target=lambda: [jobs.put(n) for n in range(500)]) for _ in "ab"]
    threads.append(threading.Thread(target=lambda: got.extend(jobs.get() for _ in range(1000))))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlaps == []
    assert sorted(got) == sorted([*range(500), *range(500)])


def test_what_changes_by_itself_is_seen_by_the_next_call(other: OtherThread) -> None:
    class Plain(queue.Queue):
        def _put(self, item: Any) -> None:
            super()._put(item)

    jobs = Plain(1)
    jobs.put(1)
    jobs.queue.clear()
    with pytest.raises(queue.Empty):
        jobs.get_nowait()
    jobs.queue.append(2)
    with pytest.raises(queue.Full):
        jobs.put_nowait(3)
    putting = other.start(jobs.put, 3)
    until_parked(jobs, other.native_id)
    jobs.queue.clear()
    with pytest.raises(queue.Empty):  # its look lets the putter in, at the latest after this
        jobs.get_nowait()
    putting.result()
    assert jobs.get() == 3


# ---- Hooks that raise, and hooks that use the queue


class Failing(queue.Queue):
    """The named hooks raise."""

    failing: tuple[str, ...] = ()

    def _check(self, hook: str) -> None:
        if hook in self.failing:
            raise LookupError(hook)

    def _put(self, item: Any) -> None:
        self._check("_put")
        super()._put(item)

    def _get(self) -> Any:
        self._check("_get")
        return super()._get()

    def _qsize(self) -> int:
        self._check("_qsize")
        return super()._qsize()


@pytest.mark.parametrize("hook", ["_put", "_get", "_qsize"])
@pytest.mark.parametrize(
    "call",
    [
        lambda jobs: jobs.put(3),
        lambda jobs: jobs.get(),
        lambda jobs: jobs.put_many([3, 4]),
        lambda jobs: jobs.get_many(2),
        lambda jobs: jobs.lease(),
        lambda jobs: jobs.shutdown(immediate=True),
    ],
    ids=["put", "get", "put_many", "get_many", "lease", "shutdown"],
)
def test_a_hook_that_raises_leaves_the_queue_usable(
    hook: str, call: Any, other: OtherThread
) -> None:
    jobs = Failing(8)
    jobs.put(1)
    jobs.put(2)
    jobs.failing = (hook,)
    try:
        call(jobs)
    except LookupError:
        jobs.failing = ()
        assert jobs.qsize() == len(jobs.queue)
    jobs.failing = ()
    while not jobs.is_shutdown and not jobs.empty():
        other.do(jobs.get)  # no section is held
    jobs.shutdown()
    assert jobs.qsize() == len(jobs.queue)


@pytest.mark.parametrize("hook", ["_put", "_get"])
def test_a_call_that_fails_counts_nothing(hook: str) -> None:
    jobs = Failing()
    jobs.put(1)
    before = jobs.statistics()
    jobs.failing = (hook,)
    with pytest.raises(LookupError):
        jobs.put(2) if hook == "_put" else jobs.get()
    jobs.failing = ()
    assert jobs.statistics() == before
    assert jobs.get() == 1


def test_an_item_on_lease_comes_back_though_the_hooks_raise() -> None:
    jobs = Failing()
    jobs.put("job")
    lease = jobs.lease()
    jobs.failing = ("_put", "_get", "_qsize")
    with pytest.raises(LookupError, match="_qsize"):
        lease.nack()
    jobs.failing = ()
    assert jobs.qsize() == 1
    with jobs.lease() as again:
        assert (again.item, again.deliveries) == ("job", 2)
    assert jobs.unfinished_tasks == 0


def test_what_comes_back_from_a_lease_is_not_put_again() -> None:
    """A hook that drops what it has seen must not drop it."""
    jobs = OrderedSetQueue()
    jobs.put("job")
    jobs.lease().nack()
    assert jobs.statistics().gets == 0
    assert jobs.get() == "job"
    assert jobs.statistics().gets == 1


@pytest.mark.parametrize(
    "use",
    [
        lambda jobs: jobs.put(1),
        lambda jobs: jobs.put_nowait(1),
        lambda jobs: jobs.get_nowait(),
        lambda jobs: jobs.lease(timeout=0),
        lambda jobs: jobs.task_done(),
        lambda jobs: jobs.join(),
        lambda jobs: jobs.shutdown(),
        lambda jobs: treadle.Queue.join(jobs, 0),
    ],
    ids=["put", "put_nowait", "get", "lease", "task_done", "join", "shutdown", "join in time"],
)
@pytest.mark.parametrize("hook", ["_put", "_get", "_qsize"])
def test_a_hook_that_uses_the_queue_is_told_so(hook: str, use: Any) -> None:
    """The standard library's would wait for ever."""

    class Curious(queue.Queue):
        def _use(self, where: str) -> None:
            if curious and where == hook:
                use(self)

        def _put(self, item: Any) -> None:
            self._use("_put")
            super()._put(item)

        def _get(self) -> Any:
            self._use("_get")
            return super()._get()

        def _qsize(self) -> int:
            self._use("_qsize")
            return super()._qsize()

    curious: list[bool] = []
    jobs = Curious()
    jobs.put(0)
    curious.append(True)
    with pytest.raises(RuntimeError, match="used by the very code"):
        jobs.put(1)
        jobs.get()
    curious.clear()
    assert jobs.get() == 0


def test_hooks_may_look_at_the_queue() -> None:
    seen = []

    class Looking(queue.Queue):
        def _put(self, item: Any) -> None:
            seen.append((self.maxsize, self.unfinished_tasks, self.is_shutdown, self.full()))
            super()._put(item)

    jobs = Looking(2)
    jobs.put(1)
    jobs.put(2)
    assert seen == [(2, 0, False, False), (2, 1, False, False)]


# ---- mutex


class SkipsRepeats(queue.Queue):
    """As the observers of a well-known package have it: what equals the latest is not put."""

    latest: Any = None

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        with self.mutex:
            repeated = item == self.latest
        if not repeated:
            super().put(item, block, timeout)

    def _put(self, item: Any) -> None:
        super()._put(item)
        self.latest = item

    def clear(self) -> None:
        with self.mutex:
            self.queue.clear()
            self.unfinished_tasks = 0


def test_a_subclass_looks_at_its_own_under_the_mutex() -> None:
    jobs = SkipsRepeats()
    for item in "aabbba":
        jobs.put(item)
    assert [jobs.get() for _ in range(jobs.qsize())] == ["a", "b", "a"]


def test_what_was_changed_under_the_mutex_is_told_to_who_waits(other: OtherThread) -> None:
    jobs = SkipsRepeats(1)
    jobs.put("a")
    putting = other.start(jobs.put, "b")
    until_parked(jobs, other.native_id)
    jobs.clear()
    putting.result()
    assert jobs.get() == "b"
    jobs.task_done()
    getting = other.start(jobs.get)
    until_parked(jobs, other.native_id)
    with jobs.mutex:
        jobs.queue.append("c")
    assert getting.result() == "c"
    jobs.join()


def test_the_mutex_keeps_others_out(other: OtherThread) -> None:
    jobs = SkipsRepeats()
    jobs.mutex.acquire()
    putting = other.start(jobs.put, "a")
    assert not jobs.queue
    with pytest.raises(RuntimeError, match="was used by the very code"):
        jobs.get_nowait()
    jobs.mutex.release()
    putting.result()
    assert jobs.get() == "a"
    with pytest.raises(RuntimeError, match="release unlocked lock"):
        jobs.mutex.release()
