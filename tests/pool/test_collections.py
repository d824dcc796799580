"""Collections that begin anywhere: what is dropped then is ended elsewhere."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from tests.pool.kinds import new_pool, thread_or_process
from tests.sync.threads import until

LAPS = 200


@pytest.fixture
def busy_collector() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(1)
    yield
    gc.set_threshold(*before)


@pytest.mark.slow
@thread_or_process
def test_iterators_in_cycles(kind: str, busy_collector: None) -> None:
    with new_pool(kind, 2) as pool:
        for _ in range(LAPS):
            results = pool.imap(abs, range(100), 5)
            cycle: list[object] = [results]
            cycle.append(cycle)
            assert next(results) == 0
            del results, cycle
        pool.close()
        pool.join()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_pools_in_cycles(busy_collector: None) -> None:
    pools: list[weakref.ref[Any]] = []
    for _ in range(LAPS // 10):
        pool = new_pool("thread", 2)
        cycle: list[object] = [pool, pool.map_async(abs, range(10))]
        cycle.append(cycle)
        pools.append(weakref.ref(pool._engine))
        del pool, cycle
    until(lambda: gc.collect() >= 0 and not any(engine() for engine in pools))
