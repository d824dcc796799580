"""task_done and join: what is put is done with in the end, and not more than that."""

from __future__ import annotations

import threading
import time

import pytest

import treadle
from tests.queue.kinds import every_kind
from tests.queue.workers import KINDS, Start, until_waiting
from tests.sync.threads import OtherThread


@every_kind
def test_a_queue_that_never_held_anything_is_joined(queue: treadle.Queue) -> None:
    assert queue.join() is True
    assert queue.join(timeout=0) is True


@every_kind
def test_join_waits_for_the_last_task(queue: treadle.Queue, other: OtherThread) -> None:
    queue.put_many("abc")
    joining = other.start(queue.join)
    until_waiting(queue)
    queue.get_many(3)
    for _ in range(2):
        queue.task_done()
    assert not joining.done()
    queue.task_done()
    assert joining.result() is True


@every_kind
def test_what_is_got_is_not_yet_done(queue: treadle.Queue) -> None:
    queue.put(1)
    assert queue.join(timeout=0) is False
    queue.get()
    began = time.monotonic()
    assert queue.join(timeout=0.02) is False
    assert time.monotonic() - began >= 0.02
    assert queue.join(timeout=-1) is False
    queue.task_done()
    assert queue.join() is True


@every_kind
def test_more_done_than_put_is_refused(queue: treadle.Queue) -> None:
    with pytest.raises(ValueError, match=r"task_done\(\) called too many times"):
        queue.task_done()
    queue.put_many("ab")
    queue.get()
    queue.task_done()
    with queue.lease():
        pass
    with pytest.raises(ValueError, match=r"task_done\(\) called too many times"):
        queue.task_done()
    assert queue.join(timeout=0)


@every_kind
def test_an_acknowledged_lease_is_done_by_itself(queue: treadle.Queue, other: OtherThread) -> None:
    queue.put_many("ab")
    joining = other.start(queue.join)
    with queue.lease():
        pass
    lease = queue.lease()
    until_waiting(queue)
    assert not joining.done()
    lease.nack()
    assert queue.join(timeout=0) is False
    queue.lease().ack()
    assert joining.result() is True


@every_kind
def test_a_put_after_all_was_done_is_to_be_done_again(queue: treadle.Queue) -> None:
    for _ in range(3):
        queue.put(1)
        assert queue.join(timeout=0) is False
        queue.get()
        queue.task_done()
        assert queue.join(timeout=0) is True


@every_kind
def test_all_joiners_are_woken(queue: treadle.Queue) -> None:
    queue.put(1)
    threads = [OtherThread() for _ in range(5)]
    joining = [thread.start(queue.join) for thread in threads]
    until_waiting(queue, 5)
    queue.get()
    queue.task_done()
    assert [future.result() for future in joining] == [True] * 5
    for thread in threads:
        thread.end()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@every_kind
def test_tasks_done_elsewhere_are_done(queue: treadle.Queue, start: Start, kind: str) -> None:
    workers = [start(kind, do_tasks, queue) for _ in range(2)]
    queue.put_many(range(1000))
    assert queue.join() is True
    assert queue.statistics().unfinished == 0
    queue.shutdown()
    for worker in workers:
        worker.join()


def do_tasks(queue: treadle.Queue) -> None:
    for number in queue:
        if number % 3 == 0:
            queue.put(1)
        queue.task_done()


@every_kind
def test_task_done_from_many_threads_at_once_counts_each(queue: treadle.Queue) -> None:
    queue.put_many(range(4000))
    threads = [
        threading.Thread(target=lambda: [queue.task_done() for _ in range(1000)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert queue.join(timeout=0)
    with pytest.raises(ValueError):
        queue.task_done()
