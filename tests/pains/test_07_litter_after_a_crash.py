"""Semaphores and shared memory leak after a crash (celery/billiard#293)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import treadle
from tests.demo.processes import of_session, pidfds, wait_until_gone
from tests.pains.programs import running, seen_in_this_version
from treadle import _segments

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def litter_goes_with_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # multiprocessing leaves folders there


STANDARD = """
import multiprocessing, signal
from multiprocessing.shared_memory import SharedMemory
lock = multiprocessing.get_context("spawn").Lock()
memory = SharedMemory(create=True, size=1000)
print("sem." + lock._semlock.name.lstrip("/"), memory.name, flush=True)
signal.pause()
"""


@seen_in_this_version
def test_the_standard_library_leaves_files_behind() -> None:
    with running(STANDARD) as program:
        assert program.stdout is not None
        files = [Path("/dev/shm", name) for name in program.stdout.readline().split()]
        kill_session(program)
        try:
            assert [file.exists() for file in files] == [True, True]
        finally:
            for file in files:
                file.unlink(missing_ok=True)


# A tree of processes of every kind; each holds a lock, waits in a queue, and uses memory.
TREE = """
import multiprocessing, os, pickle, signal, subprocess, sys
import treadle
from tests.pains.tree import hold_and_wait
lock, queue, ready = treadle.Lock(), treadle.Queue(), treadle.Queue()
queue.put(bytes(20 << 20))
for kind in ("fork", "spawn", "forkserver"):
    multiprocessing.get_context(kind).Process(target=hold_and_wait, args=(queue, ready)).start()
program = "import pickle, sys; call = pickle.load(sys.stdin.buffer); call[0](*call[1:])"
other = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
pickle.dump((hold_and_wait, queue, ready), other.stdin)
other.stdin.flush()
lock.acquire()
for _ in range(4):
    ready.get()
print("ready", flush=True)
signal.pause()
"""


def kill_session(program: subprocess.Popen[str]) -> None:
    """Kill all of its processes at once, and wait until they are gone."""
    descriptors = pidfds(of_session(program.pid))
    os.killpg(program.pid, signal.SIGKILL)
    wait_until_gone(descriptors)
    program.wait()


def files_of(pid: int) -> set[str]:
    """Every file that a process has open or mapped."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    found = {line.split(maxsplit=5)[5] for line in maps if "/" in line}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.add(os.readlink(entry))
        except OSError:
            pass
    return found


def test_of_treadle_nothing_is_left_when_the_whole_tree_is_killed(names: Path) -> None:
    with running(TREE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        tree = of_session(program.pid)
        assert len(tree) >= 5
        users = 0
        for pid in tree:
            files = files_of(pid)
            users += any(file.startswith("/memfd:treadle") for file in files)
            # That file has no name, and of those that have one nothing could be left but these.
            assert not [file for file in files if file.startswith("/dev/shm")]
        assert users == 5
        kill_session(program)
        assert of_session(program.pid) == []
        assert not list(names.parent.iterdir()), "what has no name makes no file there either"


# What lies in /dev/shm by the standard library's naming has a name, and is used by a tree as well.
SEGMENTS = """
import multiprocessing, signal
import treadle
from tests.pains.tree import hold_and_wait
memory = treadle.SharedMemory(create=True, size=1000)
items = treadle.ShareableList([1, 2, 3])
value, array = treadle.Value("i"), treadle.ndarray(1000)
queue, ready = treadle.Queue(), treadle.Queue()
queue.put((memory, items, value, array))
for kind in ("fork", "spawn"):
    multiprocessing.get_context(kind).Process(target=hold_and_wait, args=(queue, ready)).start()
for _ in range(2):
    ready.get()
print(memory.name, items.shm.name, flush=True)
signal.pause()
"""


def test_shared_memory_of_a_killed_tree_goes_with_the_next_to_come() -> None:
    with running(SEGMENTS) as program:
        assert program.stdout is not None
        files = [Path("/dev/shm", name) for name in program.stdout.readline().split()]
        assert [file.exists() for file in files] == [True, True]
        treadle.SharedMemory(create=True, size=1).unlink()
        assert not {file.name for file in files} & set(_segments.sweep())
        assert [file.exists() for file in files] == [True, True], "they are in use"
        kill_session(program)
    with pytest.raises(FileNotFoundError):
        treadle.SharedMemory(files[0].name)
    subprocess.run([sys.executable, "-m", "treadle", "gc"], check=True, capture_output=True)
    assert [file.exists() for file in files] == [False, False]
