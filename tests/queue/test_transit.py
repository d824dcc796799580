"""Handles on their way: what is pickled is kept alive until it has arrived, and not much longer.

The handle of an object that nobody holds any more leads to it as long as it is in transit.
"""

from __future__ import annotations

import multiprocessing
import pickle
from typing import Any

import pytest

import treadle
from tests.queue.tickets import LAYOUT, ticket_of

_LATEST = 128  # handles that have arrived, and whose objects are kept all the same
_MANY = 2000


def used() -> int:
    return treadle.arena_statistics().used


def sent() -> bytes:
    """A handle whose object only the transit keeps."""
    return pickle.dumps(treadle.Queue())


def arrives(handle: bytes) -> None:
    pickle.loads(handle).put(1)


def arrive_many() -> None:
    for _ in range(3 * _LATEST):
        arrives(sent())


def _reply(requests: Any) -> None:
    for n, replies in requests:
        replies.put(n)


def test_a_loop_that_sends_handles_does_not_grow() -> None:
    """Each request brings the queue that its reply is to go to."""
    requests = treadle.Queue()
    before = used()
    for n in range(_MANY):
        replies = treadle.Queue()
        requests.put((n, replies))
        sender, there = requests.get()
        there.put(sender)
        assert replies.get() == n
    assert used() - before < 3 << 20  # that of a few hundred queues


@pytest.mark.slow
def test_a_loop_that_sends_handles_to_another_process_does_not_grow() -> None:
    requests = treadle.Queue()
    process = multiprocessing.get_context("fork").Process(target=_reply, args=(requests,))
    process.start()
    try:
        before = used()
        for n in range(_MANY):
            replies = treadle.Queue()
            requests.put((n, replies))
            assert replies.get() == n
        assert used() - before < 3 << 20
    finally:
        requests.shutdown()
        process.join()


def test_what_has_not_arrived_is_kept_however_much_arrives_after_it() -> None:
    waiting = [sent() for _ in range(3 * _LATEST)]
    arrive_many()
    for handle in waiting:
        arrives(handle)


def test_a_handle_may_arrive_several_times() -> None:
    handle = sent()
    for _ in range(10):
        arrives(handle)


def test_a_handle_that_has_arrived_is_let_go_after_others() -> None:
    handle = sent()
    arrives(handle)
    arrive_many()
    with pytest.raises(treadle.HandleError, match="is gone"):
        arrives(handle)


def test_each_handle_is_waited_for_by_itself() -> None:
    """Of one object, whose other handles have arrived, one of them several times."""
    queue = treadle.Queue()
    handles = [pickle.dumps(queue) for _ in range(3)]
    del queue
    for handle in (handles[0], handles[0], handles[0], handles[1]):
        arrives(handle)
    arrive_many()
    arrives(handles[2])


def test_a_handle_that_arrives_again_stands_for_no_other() -> None:
    """Whose arrival is told at the same place."""
    first, others = treadle.Queue(), treadle.Queue()
    rebuild, early = ticket_of(first)
    rebuild(early)
    tickets = (ticket_of(others)[1] for _ in range(_MANY))
    again = next(ticket for ticket in tickets if _place(ticket) == _place(early))
    del others
    rebuild(early)
    arrive_many()
    rebuild(again)


def _place(ticket: bytes) -> tuple[int, int]:
    fields = LAYOUT.unpack(ticket)
    return fields[7], fields[8] % 500
