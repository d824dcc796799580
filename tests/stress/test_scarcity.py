"""Memory that the system refuses: a clear error, and all goes on once there is some again."""

import resource

import pytest

import treadle
from tests.stress import fresh

pytestmark = pytest.mark.slow


def test_an_address_space_too_small_for_the_arena_is_a_clear_error() -> None:
    fresh.run(make_without_address_space)


def make_without_address_space() -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, hard))
    for _ in range(2):
        with pytest.raises(treadle.ArenaFullError):
            treadle.Lock()
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    with treadle.Lock():
        pass


def test_a_get_without_memory_for_the_item_loses_it_the_second_time() -> None:
    fresh.run(get_without_memory)


def get_without_memory() -> None:
    queue = treadle.Queue()
    large = b"x" * (200 << 20)
    queue.put(large)
    queue.put("next")
    _without_memory(lambda: _refused(queue.get, MemoryError))
    assert queue.get() == large
    queue.put(large)
    assert queue.get() == "next"
    _without_memory(lambda: _refused(queue.get, MemoryError))
    _without_memory(lambda: _refused(queue.get, treadle.ItemError))
    assert queue.empty()
    with pytest.raises(treadle.Empty):
        queue.get_nowait()


def test_a_lease_without_memory_for_the_item_gives_it_back() -> None:
    fresh.run(lease_without_memory)


def lease_without_memory() -> None:
    queue = treadle.Queue()
    queue.put(b"x" * (200 << 20))
    _without_memory(lambda: _refused(queue.lease, MemoryError))
    lease = queue.lease()
    assert len(lease.item) == 200 << 20
    assert lease.deliveries == 2
    lease.ack()
    assert queue.join(timeout=0)


def test_a_put_without_memory_puts_nothing() -> None:
    fresh.run(put_without_memory)


def put_without_memory() -> None:
    import numpy

    queue = treadle.Queue()
    strided = numpy.zeros((200 << 20, 2), dtype=numpy.uint8)[:, 0]  # must be copied to be pickled
    _without_memory(lambda: _refused(lambda: queue.put(strided), MemoryError))
    assert queue.empty()
    queue.put(strided)
    assert queue.get().nbytes == 200 << 20


def _refused(call: object, error: type[BaseException]) -> None:
    with pytest.raises(error):
        call()  # type: ignore[operator]


def _without_memory(call: object) -> None:
    """Calls with 100 MiB of address space left to this process."""
    treadle.Lock()  # the arena is mapped
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20), hard))
    try:
        call()  # type: ignore[operator]
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
