"""How processes end: a whole tree by SIGKILL, and interpreters whose threads still wait."""

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import treadle
from tests.demo.processes import of_session, pidfds, wait_until_gone
from tests.stress import family, fresh

pytestmark = pytest.mark.slow

_ROOT = Path(__file__).parents[2]


def test_a_tree_killed_as_a_whole_leaves_nothing_behind(tmp_path: Path) -> None:
    before = _litter()
    reading, writing = os.pipe()
    root = subprocess.Popen(
        [sys.executable, "-m", "tests.stress.fresh", __name__, "grow_a_tree", f"[{writing}]"],
        cwd=_ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        pass_fds=[writing],
        start_new_session=True,
    )
    os.close(writing)
    with open(reading, "rb") as pipe:
        ready = pipe.readline().split()  # all are at work
    assert len(ready) == 1
    arena = int(ready[0])
    tree = of_session(root.pid)
    assert len(tree) == 1 + 3 + 9
    assert _who_maps(arena) == set(tree)
    descriptors = pidfds(tree)
    for pid in tree:
        os.kill(pid, signal.SIGKILL)
    root.wait()
    wait_until_gone(descriptors)
    assert of_session(root.pid) == []
    assert _who_maps(arena) == set()  # so its memory is the system's again
    assert _litter() == before
    assert list(tmp_path.iterdir()) == []


def grow_a_tree(writing: int) -> None:
    queue, lock, ready = treadle.Queue(), treadle.Lock(), treadle.Semaphore(0)
    permits, condition = treadle.BoundedSemaphore(2), treadle.Condition()
    queue.put_many([b"x" * 1_000_000] * 30)

    def branch() -> None:
        for _ in range(3):
            family.fork(leaf)
        leaf()

    def leaf() -> None:
        ready.release()
        while True:
            with queue.lease() as lease, lock, condition:
                queue.put(lease.item)
                condition.notify()
            with permits:
                _ = [treadle.Event() for _ in range(10)]

    for _ in range(3):
        family.fork(branch)
    for _ in range(3 + 9):
        ready.acquire()
    os.write(writing, b"%d\n" % _inode_of_the_arena())
    os.close(writing)
    leaf()


def _inode_of_the_arena() -> int:
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            if "memfd:treadle" in os.readlink(descriptor):
                return descriptor.stat().st_ino
        except FileNotFoundError:  # the listing's own
            continue
    raise AssertionError("this process has no arena")


def _who_maps(inode: int) -> set[int]:
    found = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                lines = (process / "maps").read_text().splitlines()
            except OSError:
                continue
            if any("memfd:treadle" in line and line.split()[4] == str(inode) for line in lines):
                found.add(int(process.name))
    return found


def _litter() -> list[str]:
    """What outlives processes: names in /dev/shm, and System V segments and semaphores."""
    names = [path.name for path in Path("/dev/shm").iterdir()]
    # Folders of other test runs, which come and go (tests/conftest.py).
    names = [name for name in names if not name.startswith("treadle-tests-")]
    for kind in ("shm", "sem"):
        table = Path("/proc/sysvipc") / kind
        names += table.read_text().splitlines()[1:] if table.exists() else []
    return sorted(name for name in names if "treadle" in name or not name[0].isalpha())


def _block_in(waits: list[Callable[[], Any]]) -> None:
    begun = threading.Semaphore(0)

    def block(wait: Callable[[], Any]) -> None:
        begun.release()
        wait()

    for wait in waits:
        threading.Thread(target=block, args=(wait,), daemon=True).start()
    for _ in waits:
        begun.acquire()


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "private"])
def test_an_interpreter_ends_well_while_daemon_threads_wait(shared: bool) -> None:
    fresh.run(end_while_threads_wait, shared)


def end_while_threads_wait(shared: bool) -> None:
    lock, rlock = treadle.Lock(shared=shared), treadle.RLock(shared=shared)
    semaphore, event = treadle.Semaphore(0, shared=shared), treadle.Event(shared=shared)
    permits, barrier = treadle.BoundedSemaphore(1, shared=shared), treadle.Barrier(2, shared=shared)
    condition, full, empty = treadle.Condition(shared=shared), treadle.Queue(1), treadle.Queue()
    rwlock, latch = treadle.RWLock(shared=shared), treadle.Latch(1, shared=shared)
    lock.acquire(), rlock.acquire(), permits.acquire(), full.put(1)
    rwlock.acquire_write()

    def await_notice() -> None:
        with condition:
            condition.wait()

    forever: list[Callable[[], Any]] = [
        lock.acquire,
        rlock.acquire,
        rwlock.acquire_read,
        rwlock.acquire_write,
        latch.wait,
        semaphore.acquire,
        permits.acquire,
        event.wait,
        barrier.wait,
        await_notice,
        lambda: full.put(2),
        empty.get,
        empty.lease,
        full.join,
    ]

    def again_and_again(wait: Callable[[], Any]) -> Callable[[], None]:
        def loop() -> None:
            while True:
                wait()

        return loop

    briefly: list[Callable[[], Any]] = [
        lambda: lock.acquire(timeout=0.0001),
        lambda: semaphore.acquire(timeout=0.0001),
        lambda: event.wait(0.0001),
        lambda: empty.join(0.0001),
    ]
    _block_in(forever + [again_and_again(wait) for wait in briefly])

    # Threads come back from their waits while the interpreter is being taken down.
    never = treadle.Event(shared=shared)

    class Slow:
        def __del__(self, wait: Callable[..., Any] = never.wait) -> None:
            wait(0.4)

    sys.modules["slow"] = Slow()  # type: ignore[assignment]


def test_handles_are_dropped_quietly_at_the_interpreters_end() -> None:
    fresh.run(end_with_handles_everywhere)


def end_with_handles_everywhere() -> None:
    queue = treadle.Queue()
    queue.put_many([1, 2, b"x" * 50_000])
    kept = [treadle.Lock(), treadle.Condition(), treadle.Barrier(3), queue, queue.lease()]
    kept.append(kept)  # only the cycle collector gets it
    sys.modules["kept"] = kept  # type: ignore[assignment]
    pickle.dumps(queue)
