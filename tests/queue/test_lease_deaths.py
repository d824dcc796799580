"""What a process held on lease when it died is delivered again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from multiprocessing.connection import Connection

import pytest

import treadle
from tests.queue.kinds import ascending, every_kind
from tests.queue.workers import PROCESSES, Start, until_waiting
from tests.sync.children import forked
from tests.sync.threads import OtherThread, until


def hold(line: Connection, queue: treadle.Queue, count: int = 1) -> None:
    """A child that takes leases and keeps them until it is told to end."""
    leases = [queue.lease() for _ in range(count)]
    line.send([lease.item for lease in leases])
    line.recv()
    for lease in leases:
        lease.ack()


def take_and_wait(queue: treadle.Queue, taken: treadle.Queue) -> None:
    """For workers of all kinds: takes a lease, says so, and waits to be killed."""
    with queue.lease() as lease:
        taken.put(lease.item)
        signal.pause()


@pytest.mark.slow
@pytest.mark.parametrize("kind", PROCESSES)
@ascending
def test_sigkill_gives_the_item_back(queue: treadle.Queue, start: Start, kind: str) -> None:
    taken = treadle.Queue()
    worker = start(kind, take_and_wait, queue, taken)
    queue.put("job")
    queue.put("next")
    assert taken.get() == "job"
    assert queue.qsize() == 1
    worker.kill()
    with queue.lease() as lease:
        assert (lease.item, lease.deliveries) == ("job", 2)
    with queue.lease() as lease:
        assert (lease.item, lease.deliveries) == ("next", 1)
    assert queue.join(timeout=0)


@pytest.mark.parametrize("call", ["get", "lease", "get_many"])
@every_kind
def test_who_waits_when_the_holder_dies_gets_the_item(
    queue: treadle.Queue, other: OtherThread, call: str
) -> None:
    queue.put("job")
    with forked(hold, queue) as holder:
        holder.expect(["job"])
        waiting = other.start(
            *((queue.get_many, 5) if call == "get_many" else (getattr(queue, call),))
        )
        until_waiting(queue)
        holder.kill()
        result = waiting.result()
    if call == "lease":
        assert (result.item, result.deliveries) == ("job", 2)
    else:
        assert result == (["job"] if call == "get_many" else "job")


@every_kind
def test_polling_finds_what_the_dead_held(queue: treadle.Queue) -> None:
    queue.put("job")
    with forked(hold, queue) as holder:
        holder.expect(["job"])
        holder.kill()
    assert queue.get_nowait() == "job"


def test_a_busy_queue_delivers_what_the_dead_held_too(queue: treadle.Queue) -> None:
    """Consumers that never wait, since there is always another item, come upon it as well."""
    queue.put("job")
    with forked(hold, queue) as holder:
        holder.expect(["job"])
        holder.kill()
    number = 0
    while True:
        queue.put(number)
        if (got := queue.get()) == "job":
            break
        assert got == number
        number += 1
    assert queue.get() == number


@every_kind
def test_join_waits_for_what_the_dead_held(queue: treadle.Queue, other: OtherThread) -> None:
    queue.put("job")
    with forked(hold, queue) as holder:
        holder.expect(["job"])
        joining = other.start(queue.join)
        until_waiting(queue)
        holder.kill()
    until(lambda: queue.qsize() == 1)  # the joiner itself finds out
    assert not joining.done()
    with queue.lease() as lease:
        assert lease.deliveries == 2
    assert joining.result() is True


@ascending
def test_all_that_the_dead_held_comes_back_in_its_order(queue: treadle.Queue) -> None:
    queue.put_many(range(100))
    with forked(hold, queue, 30) as one, forked(hold, queue, 30) as two:
        assert sorted(one.hear() + two.hear()) == list(range(60))
        one.kill()
        two.kill()
    assert (
        queue.join(timeout=0) is False
    )  # it looks at the holders; a busy get does so now and then
    assert [queue.get() for _ in range(100)] == list(range(100))


@pytest.mark.slow
@every_kind
def test_a_stopped_process_is_not_a_dead_one(queue: treadle.Queue) -> None:
    queue.put("job")
    with forked(hold, queue) as holder:
        holder.expect(["job"])
        os.kill(holder.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
        with pytest.raises(treadle.Empty):
            queue.get(timeout=0.5)  # long enough for several looks
        os.kill(holder.pid, signal.SIGCONT)
        holder.say("end")
        assert queue.join() is True


@pytest.mark.parametrize("end", [lambda: os._exit(0), lambda: None])
@every_kind
def test_a_process_that_ends_without_settling_gives_back(queue: treadle.Queue, end: object) -> None:
    queue.put("job")
    kept = []

    def child(line: Connection) -> None:
        kept.append(queue.lease())
        line.send("leased")
        end()  # type: ignore[operator]

    with forked(child) as process:
        process.expect("leased")
    assert queue.get() == "job"


@every_kind
def test_a_zombie_is_dead(queue: treadle.Queue) -> None:
    queue.put("job")
    with forked(hold, queue) as holder:
        holder.expect(["job"])
        os.kill(holder.pid, signal.SIGKILL)
        holder.until_zombie()
        assert queue.get() == "job"
        holder.status = os.waitpid(holder.pid, 0)[1]


@every_kind
def test_after_a_shutdown_what_the_dead_held_is_still_delivered(
    queue: treadle.Queue, other: OtherThread
) -> None:
    queue.put("job")
    with forked(hold, queue) as holder:
        holder.expect(["job"])
        queue.shutdown()
        rest = other.start(list, queue)
        until_waiting(queue)
        assert not rest.done()
        holder.kill()
        assert rest.result() == ["job"]


@pytest.mark.slow
@every_kind
def test_every_job_is_done_in_the_end_whoever_is_killed(queue: treadle.Queue, start: Start) -> None:
    """Workers are killed at random moments; no job is lost, and no delivery is made twice."""
    done = treadle.Queue()
    jobs = 400
    queue.put_many(range(jobs))
    dice = random.Random(5)
    workers = [start("fork", work, queue, done) for _ in range(3)]
    deliveries: dict[int, list[int]] = {job: [] for job in range(jobs)}
    kills = 0
    while not queue.join(timeout=0):
        with contextlib.suppress(
            treadle.Empty
        ):  # the last one may be done and not acknowledged yet
            for job, delivery in done.get_many(10, timeout=0.1):
                deliveries[job].append(delivery)
        if kills < 25:
            kills += 1
            victim = dice.randrange(3)
            time.sleep(dice.random() / 500)  # whatever it does by then
            workers[victim].kill()
            workers[victim] = start("fork", work, queue, done)
    queue.shutdown()
    for worker in workers:
        worker.join()
    while not done.empty():
        job, delivery = done.get()
        deliveries[job].append(delivery)
    for job, seen in deliveries.items():
        assert seen, f"job {job} was never done"
        assert len(set(seen)) == len(seen), f"job {job} was delivered twice as {seen}"


def work(queue: treadle.Queue, done: treadle.Queue) -> None:
    try:
        while True:
            with queue.lease() as lease:
                done.put((lease.item, lease.deliveries))
    except treadle.ShutDown:
        pass
