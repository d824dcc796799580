"""Whole programs with pools in them: how they end, are interrupted, and fork; pools in pools."""

from __future__ import annotations

import gc
import multiprocessing
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import treadle
from tests.pains.programs import output_of, running
from tests.pool import tasks
from tests.pool.kinds import new_pool, options

pytestmark = pytest.mark.slow

_BEGIN = """
import os, signal, sys, threading, time
import treadle
from tests.pool import tasks
from tests.pool.kinds import new_executor, new_pool
"""


def program(text: str, kind: str) -> str:
    """The main part of a program, where KIND is the kind of workers."""
    body = "\n    ".join(text.strip().splitlines())
    return f"{_BEGIN}\nKIND = {kind!r}\nif __name__ == '__main__':\n    {body}\n"


def wait_for_the_end_of(pids: list[int]) -> None:
    """For the kernel to tell that: none of them runs any more."""
    for pid in pids:
        try:
            end = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        poll = select.poll()
        poll.register(end, select.POLLIN)
        poll.poll()
        os.close(end)


# ---- The end of the interpreter


@pytest.mark.parametrize("kind", ["thread", "fork", "forkserver"])
def test_a_program_may_forget_its_pools(kind: str) -> None:
    """Idle ones, busy ones, and such as have more to do than is done."""
    said = output_of(
        program(
            """
begun = treadle.Queue()
idle, busy, full = (new_pool(KIND) for _ in range(3))
results = [idle.apply_async(tasks.square, (3,))]
results += [busy.apply_async(tasks.put_and_stay, (begun,)) for _ in range(3)]
results += [full.imap(tasks.put_and_stay, iter(lambda: begun, None))]
begun.get(), begun.get()
print(results[0].get(), *idle.statistics().pids, *busy.statistics().pids, *full.statistics().pids)
""",
            kind,
        ),
        stderr=subprocess.STDOUT,
    )
    answer, *pids = map(int, said.split())
    assert answer == 9
    assert len(pids) == 3
    wait_for_the_end_of(pids)


@pytest.mark.parametrize("kind", ["thread", "fork"])
def test_an_executor_that_is_forgotten_does_its_work(kind: str) -> None:
    said = output_of(
        program(
            """
executor = new_executor(KIND)
begun = treadle.Event()
future = executor.submit(tasks.begin_and_wait, begun, begun, "done")
for _ in range(20):
    last = executor.submit(tasks.square, 3)
last.add_done_callback(lambda future: os.write(1, str(future.result()).encode()))
""",
            kind,
        ),
        stderr=subprocess.STDOUT,
    )
    assert said == "9"


@pytest.mark.parametrize("kind", ["thread", "fork"])
@pytest.mark.parametrize("end", ["raise LookupError('mine')", "sys.exit(5)", "os._exit(6)"])
def test_a_program_that_ends_by_an_error(kind: str, end: str) -> None:
    with running(
        program(
            f"""
pool = new_pool(KIND)
begun = treadle.Queue()
result = pool.apply_async(tasks.put_and_stay, (begun,))
print(begun.get(), flush=True)
{end}
""",
            kind,
        ),
        stderr=subprocess.PIPE,
    ) as ended:
        said, complaints = ended.communicate()
    assert ended.returncode == {"r": 1, "s": 5, "o": 6}[end[0]]
    wait_for_the_end_of([int(said)])
    assert complaints.count("Traceback") == (end[0] == "r")
    assert "Exception ignored" not in complaints


def test_a_program_without_the_guard_of_its_main_part_is_told_so() -> None:
    """Under spawn each worker would start the next: the pool breaks, and the program ends."""
    code = _BEGIN + "pool = treadle.Pool(1, start_method='spawn')\nprint(pool.apply(abs, (-1,)))\n"
    path = Path(os.environ["TREADLE_NAMES_DIR"], "unguarded.py")
    path.write_text(code)
    ended = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, check=False, env=_environment()
    )
    assert ended.returncode == 1
    assert "if __name__ == '__main__':" in ended.stderr
    assert "exit code 1 before it was ready" in ended.stderr


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.mark.parametrize("kind", ["thread", "fork"])
def test_results_may_be_taken_after_the_join(kind: str) -> None:
    """As with multiprocessing.Pool, where imap has drawn its whole input by then."""
    pool = new_pool(kind)
    results = pool.imap(abs, range(1000))
    pool.close()
    pool.join()
    assert len(list(results)) == 1000


# ---- Ctrl-C


_INTERRUPTED = """
pool = new_pool(KIND, 2)
begun = treadle.Queue()
with pool:
    print(*pool.statistics().pids, flush=True)
    threading.Thread(target=lambda: print(begun.get(), begun.get(), flush=True)).start()
    CALL
"""
_CALLS = {
    "map": "pool.map(tasks.put_and_stay, [begun] * 100)",
    "apply": "pool.apply_async(tasks.put_and_stay, (begun,))"
    "; pool.apply(tasks.put_and_stay, (begun,))",
    "imap": "list(pool.imap(tasks.put_and_stay, [begun] * 100))",
}


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        *(("fork", call) for call in _CALLS),
        *((kind, "map") for kind in ("thread", "spawn", "forkserver")),
    ],
)
def test_ctrl_c_gives_one_traceback_and_ends_all(kind: str, call: str) -> None:
    code = program(_INTERRUPTED.replace("CALL", _CALLS[call]), kind)
    with running(code, stderr=subprocess.PIPE) as interrupted:
        assert interrupted.stdout is not None
        pids = [int(pid) for pid in interrupted.stdout.readline().split()]
        interrupted.stdout.readline()  # both are at work
        os.killpg(interrupted.pid, signal.SIGINT)  # as a terminal does: to all of them
        _, complaints = interrupted.communicate()
    assert interrupted.returncode == -signal.SIGINT
    assert complaints.count("Traceback") == 1
    assert complaints.rstrip().endswith("KeyboardInterrupt")
    wait_for_the_end_of(pids)


def test_workers_are_deaf_to_ctrl_c_and_what_they_start_is_not() -> None:
    with new_pool("fork") as pool:
        before = pool.apply(os.getpid)
        os.kill(before, signal.SIGINT)
        assert pool.apply(os.getpid) == before
        code = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
        said = pool.apply(
            lambda: subprocess.check_output([sys.executable, "-c", code], text=True).strip()
        )
        assert said == "True"


# ---- Forked children


def test_a_forked_child_is_refused() -> None:
    with new_pool("fork") as pool:
        result = pool.apply_async(tasks.square, (3,))
        assert result.get() == 9
        go = treadle.Event()
        late, stream = pool.apply_async(tasks.wait_for, (go,)), pool.imap(tasks.wait_for, [go])

        def use() -> list[str]:
            told = []
            for call in (
                lambda: pool.apply(int),
                lambda: pool.map(int, []),
                lambda: pool.imap(int, []),
                pool.close,
                pool.terminate,
                pool.join,
                pool.__enter__,
                late.get,
                late.wait,
                stream.next,
            ):
                try:
                    call()
                except RuntimeError as error:
                    told.append(str(error))
            return told

        told = _in_a_fork(use)
        go.set()
        assert len(told) == 10
        label, pid = pool.statistics().label, os.getpid()
        wanted = f"{label} belongs to process {pid}, from which this one was forked: make a pool"
        assert all(each.startswith(wanted) for each in told)
        assert _in_a_fork(result.get) == 9  # what is there is there
        assert pool.apply(tasks.square, (4,)) == 16


def test_a_forked_child_may_drop_the_pool_and_make_its_own() -> None:
    pools = [new_pool("fork"), new_pool("thread")]

    def drop_and_make() -> int:
        while pools:
            pools.pop()
        gc.collect()
        with new_pool("fork") as mine:
            return mine.apply(tasks.square, (3,))

    assert _in_a_fork(drop_and_make) == 9
    for pool in pools:
        assert pool.apply(tasks.square, (4,)) == 16
        pool.terminate()
        pool.join()


def _in_a_fork(function: Any) -> Any:
    process = treadle.Process(target=function)
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("fork", force=True)
    try:
        process.start()
    finally:
        multiprocessing.set_start_method(before, force=True)
    return process.result()


# ---- Pools in pools


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        *(("thread", inner) for inner in ("thread", "fork")),
        *(("fork", inner) for inner in ("thread", "fork", "spawn")),
        ("forkserver", "forkserver"),
    ],
)
def test_a_task_may_have_a_pool(outer: str, inner: str) -> None:
    settings = options(inner)

    def sum_of_squares(count: int) -> int:
        with treadle.Pool(1, **settings) as pool:
            return sum(pool.map(tasks.square, range(count)))

    with new_pool(outer, 2) as pool:
        assert pool.map(sum_of_squares, [3, 4], 1) == [5, 14]


@pytest.mark.xfail(
    strict=True,
    raises=ChildProcessError,
    reason="multiprocessing takes the fork server of the parent for one of the forked child's own",
)
def test_a_forked_worker_of_a_program_with_a_fork_server_may_have_a_pool() -> None:
    """By default, that is: pools have a fork server unless something else is set."""

    def start_a_worker() -> int:
        with new_pool("forkserver") as inner:
            return inner.apply(tasks.square, (3,))

    with new_pool("forkserver") as first, new_pool("fork") as second:
        assert first.apply(tasks.square, (3,)) == 9
        assert second.apply(start_a_worker) == 9


def test_the_workers_of_a_worker_that_is_killed_end_too() -> None:
    begun: treadle.Queue[int] = treadle.Queue()

    def have_a_pool() -> None:
        with new_pool("fork") as inner:
            inner.apply(tasks.put_and_stay, (begun,))

    with new_pool("fork") as pool:
        result = pool.apply_async(have_a_pool)
        grandchild = begun.get()
        os.kill(pool.statistics().pids[0], signal.SIGKILL)
        with pytest.raises(treadle.WorkerDiedError):
            result.get()
        wait_for_the_end_of([grandchild])


def test_a_pool_in_a_callback_and_a_pool_in_a_thread() -> None:
    made: treadle.Queue[Any] = treadle.Queue(shared=False)

    def make(value: int) -> None:
        with new_pool("fork") as inner:
            made.put(inner.apply(tasks.square, (value,)))

    with new_pool("fork") as pool:
        pool.apply_async(tasks.square, (2,), callback=make)
        assert made.get() == 16
        thread = treadle.Thread(target=make, args=(3,))
        thread.start()
        thread.join()
        assert made.get() == 9
