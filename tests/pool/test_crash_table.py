"""What goes wrong × in which step × of what: the task is told, and the pool goes on.

After the table of loky's ``test_reusable_executor.py``. A cell is the error of the task, or a text:
the reason for which there is no such case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import pytest

import treadle
from tests.pool import tasks
from tests.pool.crashes import (
    CRASHES,
    Fine,
    WhenCalled,
    WhenPickled,
    WhenRebuilt,
    Wrong,
    ignore,
    initialize,
    make,
)
from tests.pool.kinds import new_executor, new_pool

pytestmark = pytest.mark.slow

DIED, STOPPED, STARVED = (
    treadle.WorkerDiedError,
    treadle.TaskTimeoutError,
    treadle.WorkerMemoryError,
)
UNSENT = treadle.TaskError  # "cannot be sent", "cannot be rebuilt"
ENDED = treadle.TaskError  # "ended itself by SystemExit(3)"

Cell = type[BaseException] | str

PROGRAM = "it is the program itself that ends"
CALLER = "it is the caller's own thread that hangs"
READER = "results are rebuilt by a thread of the program's, which nobody can stop"
NOLIMIT = "memory_limit is the workers'"
UNTIMED = "timeouts are the tasks'"
PROCESSES: dict[tuple[str, str], tuple[Cell, ...]] = {
    # SIGSEGV, SIGKILL, _exit, sys.exit, error, hang, memory
    ("pickling", "argument"): (PROGRAM, PROGRAM, PROGRAM, SystemExit, UNSENT, CALLER, NOLIMIT),
    ("pickling", "function"): (PROGRAM, PROGRAM, PROGRAM, SystemExit, UNSENT, CALLER, NOLIMIT),
    ("rebuilding", "argument"): (DIED, DIED, DIED, ENDED, UNSENT, STOPPED, STARVED),
    ("rebuilding", "function"): (DIED, DIED, DIED, UNSENT, UNSENT, STOPPED, STARVED),
    ("running", "function"): (DIED, DIED, DIED, ENDED, Wrong, STOPPED, STARVED),
    ("pickling", "result"): (DIED, DIED, DIED, UNSENT, UNSENT, STOPPED, STARVED),
    ("rebuilding", "result"): (PROGRAM, PROGRAM, PROGRAM, UNSENT, UNSENT, READER, NOLIMIT),
    ("initializing", "worker"): (DIED, DIED, DIED, SystemExit, Wrong, UNTIMED, MemoryError),
}
SHARED = "threads share their process: it is the program that ends, or has no more memory"
UNPICKLED = ("threads pass references: nothing is pickled",) * len(CRASHES)
THREADS: dict[tuple[str, str], tuple[Cell, ...]] = dict.fromkeys(PROCESSES, UNPICKLED) | {
    ("running", "function"): (SHARED, SHARED, SHARED, ENDED, Wrong, STOPPED, SHARED),
    ("initializing", "worker"): (SHARED, SHARED, SHARED, SystemExit, Wrong, UNTIMED, SHARED),
}


def cells(table: dict[tuple[str, str], tuple[Cell, ...]], *kinds: str) -> Iterator[Any]:
    for kind in kinds:
        for (step, of_what), row in table.items():
            for crash, cell in zip(CRASHES, row, strict=True):
                if isinstance(cell, type):
                    name = f"{crash}, {step}, {of_what}, {kind}"
                    # The start methods differ in how a worker comes to be, not in what it does.
                    sample = kind == "forkserver" and (crash, step) == ("SIGKILL", "running")
                    long = kind in ("forkserver", "spawn") and not sample
                    marks = [pytest.mark.soak] if long else []
                    yield pytest.param(kind, step, of_what, crash, cell, id=name, marks=marks)


ALL = [*cells(THREADS, "thread"), *cells(PROCESSES, "fork", "forkserver", "spawn")]
_INITIALIZING = "initializing"
each_cell_of_a_task = pytest.mark.parametrize(
    ("kind", "step", "of_what", "crash", "error"),
    [cell for cell in ALL if cell.values[1] != _INITIALIZING],
)
each_cell_of_an_initializer = pytest.mark.parametrize(
    ("kind", "step", "of_what", "crash", "error"),
    [cell for cell in ALL if cell.values[1] == _INITIALIZING],
)


@pytest.fixture(scope="module")
def pools() -> Iterator[dict[tuple[str, bool], treadle.Pool]]:
    """Those that there are so far, by their kind, and whether their memory is limited."""
    pools: dict[tuple[str, bool], treadle.Pool] = {}
    yield pools
    for pool in pools.values():
        pool.terminate()
        pool.join()


def pool_for(pools: dict[tuple[str, bool], treadle.Pool], kind: str, crash: str) -> treadle.Pool:
    limited = crash == "memory"
    if (kind, limited) not in pools:
        limit = _data_of_this_process() + (256 << 20) if limited else None
        pools[kind, limited] = new_pool(kind, 2, memory_limit=limit)
    return pools[kind, limited]


def _data_of_this_process() -> int:
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmData:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


@each_cell_of_a_task
def test_a_task(
    pools: Any, kind: str, step: str, of_what: str, crash: str, error: type[BaseException]
) -> None:
    """By itself, and in a chunk, where its neighbours are done if they are not of its fault."""
    pool = pool_for(pools, kind, crash)
    policy = {"timeout": 0.1} if crash == "hang" else {}
    trap = {"pickling": WhenPickled, "rebuilding": WhenRebuilt, "running": WhenCalled}[step]
    if of_what == "argument":
        function, good, bad = ignore, 1, trap(crash)
    elif of_what == "result":
        function, good, bad = make, 1, (trap, crash)
    else:
        function, good, bad = trap(crash), 1, 1
    for _ in range(2):
        with pytest.raises(error):
            pool.apply(function, (bad,), **policy)
    items = [good, bad, good, good]
    if step == "pickling" and error is SystemExit:  # nothing is sent after it
        with pytest.raises(SystemExit):
            pool.map(function, items, 4)
        with pytest.raises(SystemExit):
            pool.map(function, [good] * 50 + items, 1)
    else:
        results = pool.imap(function, items, 4, **policy)
        for item in items if (step, of_what) != ("pickling", "function") else items[:1]:
            if item == good and function in (ignore, make):
                assert next(results) == 49
            else:
                with pytest.raises(error):
                    next(results)
        assert list(results) == []
        with pytest.raises(error):
            pool.map(function, items, **policy)
    check_is_whole(pool)


def check_is_whole(pool: treadle.Pool) -> None:
    barrier = treadle.Barrier(2)
    indices = pool.map(lambda _: (barrier.wait(), treadle.current_worker().index), range(2), 1)
    assert {index for _, index in indices} == {0, 1}
    assert pool.apply(Fine()) == 49


@each_cell_of_an_initializer
def test_an_initializer(
    kind: str, step: str, of_what: str, crash: str, error: type[BaseException]
) -> None:
    """Again and again: it breaks the pool, which says why, and ends. Once: it is made up for."""
    gate = treadle.Event()
    limit = _data_of_this_process() + (256 << 20) if crash == "memory" else None
    settings: Any = {"initializer": initialize, "initargs": (crash, gate), "memory_limit": limit}
    pool = new_pool(kind, 2, **settings)
    with pytest.raises(error):
        pool.apply(tasks.square, (7,))
    with pytest.raises(error):
        pool.map(tasks.square, [7])
    pool.terminate()
    pool.join()

    with new_executor(kind, 2, **settings) as executor, pytest.raises(BrokenExecutor):
        executor.submit(tasks.square, 7).result()

    gate.set()
    with new_pool(kind, 1, max_tasks_per_worker=1, **settings) as pool:
        assert pool.apply(tasks.square, (7,)) == 49
        assert pool.apply(tasks.square, (7,)) == 49


def test_every_cell_works_or_has_its_reason() -> None:
    for table in (PROCESSES, THREADS):
        for row in table.values():
            assert len(row) == len(CRASHES)
            assert all(cell if isinstance(cell, str) else isinstance(cell, type) for cell in row)
    assert PROCESSES.keys() == THREADS.keys()
