"""shutdown while items are out on lease: what comes back of them is still delivered."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.aio.loops import OtherLoop, loop_named
from tests.queue.kinds import every_kind, every_kind_of_both_storages, every_private_kind
from tests.queue.workers import KINDS, Start
from tests.sync.children import forked
from tests.sync.threads import OtherThread, until_parked


@every_kind_of_both_storages
def test_get_waits_while_others_hold_leases_and_is_told_at_the_last_ack(
    queue: treadle.Queue, other: OtherThread
) -> None:
    queue.put_many("ab")
    leases = [queue.lease(), queue.lease()]
    queue.shutdown()
    waiting = other.start(queue.get)
    until_parked(queue, other.native_id)
    leases[0].ack()
    assert not waiting.done()
    leases[1].ack()
    with pytest.raises(treadle.ShutDown):
        waiting.result()


@pytest.mark.parametrize("call", ["get", "lease"])
@every_kind_of_both_storages
def test_get_waits_while_others_hold_leases_and_takes_what_comes_back(
    queue: treadle.Queue, other: OtherThread, call: str
) -> None:
    queue.put("job")
    lease = queue.lease()
    queue.shutdown()
    waiting = other.start(getattr(queue, call))
    until_parked(queue, other.native_id)
    lease.nack()
    result = waiting.result()
    assert (result.item if call == "lease" else result) == "job"
    other.do(lambda: result.ack() if call == "lease" else None)
    with pytest.raises(treadle.ShutDown):
        queue.get()


@every_kind_of_both_storages
def test_one_s_own_lease_is_not_waited_for(queue: treadle.Queue) -> None:
    queue.put("job")
    lease = queue.lease()
    queue.shutdown()
    with pytest.raises(treadle.ShutDown):
        queue.get()
    lease.nack()
    assert queue.get() == "job"


@pytest.mark.parametrize("kind", KINDS)
@every_kind
def test_two_that_hold_a_lease_each_do_not_wait_for_each_other(
    queue: treadle.Queue, start: Start, kind: str
) -> None:
    queue.put_many("ab")
    steps = treadle.Barrier(3)
    workers = [start(kind, take_one_and_ask_for_another, queue, steps) for _ in range(2)]
    steps.wait()  # both have taken one
    queue.shutdown()
    steps.wait()
    for worker in workers:
        worker.join()
    assert queue.join(timeout=0)


def take_one_and_ask_for_another(queue: treadle.Queue, steps: treadle.Barrier) -> None:
    with queue.lease():
        steps.wait()
        steps.wait()
        with pytest.raises(treadle.ShutDown):
            queue.lease()
        with pytest.raises(treadle.ShutDown):
            queue.get()


@every_kind_of_both_storages
def test_while_others_hold_leases_a_get_in_time_is_empty_and_not_shut_down(
    queue: treadle.Queue, other: OtherThread
) -> None:
    queue.put("job")
    lease = other.do(queue.lease)
    queue.shutdown()
    for get in (queue.get_nowait, lambda: queue.get(timeout=0.01)):
        with pytest.raises(treadle.Empty):
            get()
    lease.ack()
    with pytest.raises(treadle.ShutDown):
        queue.get_nowait()


@every_kind_of_both_storages
def test_at_once_leases_are_not_waited_for_and_can_be_settled(
    queue: treadle.Queue, other: OtherThread
) -> None:
    queue.put_many("ab")
    leases = [other.do(queue.lease), other.do(queue.lease)]
    waiting = other.start(queue.get)
    until_parked(queue, other.native_id)
    queue.shutdown(immediate=True)
    with pytest.raises(treadle.ShutDown):
        waiting.result()
    leases[0].ack()
    leases[1].nack()
    with pytest.raises(treadle.ShutDown):
        queue.get()
    assert queue.statistics().leased == 0


@every_kind_of_both_storages
def test_of_two_threads_that_hold_a_lease_each_none_waits_for_the_other(
    queue: treadle.Queue, other: OtherThread
) -> None:
    queue.put_many("ab")
    leases = [queue.lease(), other.do(queue.lease)]
    queue.shutdown()
    for call in (queue.lease, queue.get, queue.get_nowait):
        with pytest.raises(treadle.ShutDown):
            call()
        with pytest.raises(treadle.ShutDown):
            other.do(call)
    for lease in leases:
        lease.ack()


@every_kind_of_both_storages
def test_a_task_waits_as_well(queue: treadle.Queue, other: OtherThread) -> None:
    loop = OtherLoop(loop_named("asyncio"))
    for ends in ("nack", "ack"):
        queue.put("job") if ends == "nack" else None
        lease = other.do(queue.lease)
        queue.shutdown()
        getting = loop.spawn(_lease_by_task(queue))
        loop.settle()
        assert not getting.done()
        getattr(lease, ends)()
        if ends == "ack":
            with pytest.raises(treadle.ShutDown):
                getting.result()
        else:
            getting.result().nack()
    loop.end()


async def _lease_by_task(queue: Any) -> Any:
    return await queue.aio.lease()


@every_private_kind
def test_a_fork_s_child_does_not_wait_for_its_parent_s(
    make: Callable[..., Any], other: OtherThread
) -> None:
    queue = make()
    queue.put("job")
    lease = other.do(queue.lease)
    queue.shutdown()
    with forked(_find_it_shut, queue):
        pass
    lease.nack()
    assert queue.get() == "job"


def _find_it_shut(line: Connection, queue: Any) -> None:
    with pytest.raises(treadle.ShutDown):
        queue.get()
    assert queue.statistics().leased == 0
