"""Semaphore and BoundedSemaphore: counts and bounds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import treadle
from tests.sync.children import Child, forked, hold
from tests.sync.kinds import both_storages
from tests.sync.threads import OtherThread, until_parked

pytestmark = both_storages

_SEMAPHORES = {
    "Semaphore": treadle.Semaphore,
    "reclaiming Semaphore": partial(treadle.Semaphore, reclaim=True),
    "BoundedSemaphore": treadle.BoundedSemaphore,
    "forgetful BoundedSemaphore": partial(treadle.BoundedSemaphore, reclaim=False),
}
_MOST = 2**31 - 1
all_semaphores = pytest.mark.parametrize("of", _SEMAPHORES.values(), ids=_SEMAPHORES)
unbounded = pytest.mark.parametrize(
    "of", [_SEMAPHORES["Semaphore"], _SEMAPHORES["reclaiming Semaphore"]]
)
bounded = pytest.mark.parametrize(
    "of", [_SEMAPHORES["BoundedSemaphore"], _SEMAPHORES["forgetful BoundedSemaphore"]]
)


@all_semaphores
def test_it_gives_out_as_many_permits_as_it_has(of: Callable[..., Any], shared: bool) -> None:
    semaphore = of(5, shared=shared)
    for left in range(4, -1, -1):
        assert semaphore.acquire(False) is True
        assert semaphore.get_value() == left
    assert semaphore.acquire(False) is False
    assert semaphore.acquire(timeout=0.01) is False
    for value in range(1, 6):
        semaphore.release()
        assert semaphore.get_value() == value


@all_semaphores
def test_it_has_one_permit_by_default(of: Callable[..., Any], shared: bool) -> None:
    assert of(shared=shared).get_value() == 1


@all_semaphores
def test_it_may_begin_without_permits(of: Callable[..., Any], shared: bool) -> None:
    semaphore = of(0, shared=shared)
    assert semaphore.acquire(False) is False
    assert semaphore.get_value() == 0


@all_semaphores
def test_a_negative_timeout_is_none(of: Callable[..., Any], shared: bool) -> None:
    assert of(0, shared=shared).acquire(timeout=-1) is False
    assert of(1, shared=shared).acquire(timeout=-1) is True


@all_semaphores
@pytest.mark.parametrize(
    ("value", "error"),
    [(-1, ValueError), (2**31, OverflowError), (2**70, OverflowError), ("1", TypeError),
     (None, TypeError), (1.5, TypeError)],
)  # fmt: skip
def test_a_number_of_permits_that_is_none_is_refused(
    of: Callable[..., Any], shared: bool, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        of(value, shared=shared)


@all_semaphores
@pytest.mark.parametrize(
    ("n", "error"), [(0, ValueError), (-1, ValueError), ("1", TypeError), (1.5, TypeError)]
)
def test_a_number_of_releases_that_is_none_is_refused(
    of: Callable[..., Any], shared: bool, n: Any, error: type[Exception]
) -> None:
    semaphore = of(1, shared=shared)
    semaphore.acquire()
    with pytest.raises(error):
        semaphore.release(n)
    assert semaphore.get_value() == 0


@unbounded
def test_releases_add_permits_up_to_the_most_there_can_be(
    of: Callable[..., Any], shared: bool
) -> None:
    semaphore = of(0, shared=shared)
    semaphore.release(3)
    semaphore.release(n=2)
    assert semaphore.get_value() == 5
    semaphore.release(_MOST - 5)
    assert semaphore.get_value() == _MOST
    for n in (1, 2, _MOST, 2**70):
        with pytest.raises(OverflowError, match=str(_MOST)):
            semaphore.release(n)
    assert semaphore.get_value() == _MOST
    assert semaphore.acquire(False) is True
    semaphore.release()


@bounded
def test_a_bounded_one_never_has_more_permits_than_at_first(
    of: Callable[..., Any], shared: bool
) -> None:
    semaphore = of(3, shared=shared)
    for n in (1, 2, 2**70):
        with pytest.raises(ValueError, match="too many times"):
            semaphore.release(n)
    semaphore.acquire()
    with pytest.raises(ValueError, match="too many times"):
        semaphore.release(2)
    assert semaphore.get_value() == 2
    semaphore.release()
    assert semaphore.get_value() == 3


@all_semaphores
def test_one_release_of_many_wakes_as_many(of: Callable[..., Any], shared: bool) -> None:
    semaphore = of(4, shared=shared)
    for _ in range(4):
        semaphore.acquire()
    threads = [OtherThread() for _ in range(4)]
    waiting = [thread.start(semaphore.acquire) for thread in threads]
    for thread in threads:
        until_parked(semaphore, thread.native_id)
    semaphore.release(4)
    assert [w.result() for w in waiting] == [True] * 4
    assert semaphore.get_value() == 0
    for thread in threads:
        thread.end()


@all_semaphores
def test_another_thread_or_process_may_release_it(
    of: Callable[..., Any], shared: bool, other: OtherThread
) -> None:
    semaphore = of(2, shared=shared)
    semaphore.acquire()
    semaphore.acquire()
    other.do(semaphore.release)
    assert semaphore.get_value() == 1
    if shared:
        with forked(lambda line: semaphore.release()):
            pass
        assert semaphore.get_value() == 2


@all_semaphores
def test_more_processes_than_it_first_had_room_for_hold_permits(
    of: Callable[..., Any], shared: bool
) -> None:
    """Who holds what is kept in a table, which grows."""
    if not shared:
        assert of(40, shared=False).statistics().reclaim is False  # nobody dies alone there
        return
    semaphore = of(40)
    children = [Child(hold, semaphore.acquire) for _ in range(24)]
    try:
        for child in children:
            child.expect("holding")
        assert semaphore.get_value() == 16
        semaphore.release(3)  # on behalf of others
        assert semaphore.get_value() == 19
        for child in children:
            child.say("end")
            child.join()
    finally:
        for child in children:
            child.dispose()
