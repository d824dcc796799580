"""A small /dev/shm gives SIGBUS or a hang (python/cpython#114390, pytorch/pytorch#5247)."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from functools import cache

import pytest

from tests.pains.programs import ROOT, output_of, seen_in_this_version

pytestmark = pytest.mark.slow

# In a mount namespace of its own, where /dev/shm has room for a page.
MOUNT = 'mount -t tmpfs -o size=4k tmpfs /dev/shm && exec "$0" "$@"'


@cache
def namespace() -> tuple[str, ...] | None:
    """The command that makes such a namespace, if this user may make one at all."""
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        return None
    for options in (["-m"], ["-rm"]):
        command = ("unshare", *options, "sh", "-c", MOUNT)
        if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    return None


def run_with_small_dev_shm(code: str) -> subprocess.CompletedProcess[str]:
    command = namespace()
    if command is None:
        pytest.skip("this user may not mount a small /dev/shm")
    return subprocess.run(
        [*command, sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )


@seen_in_this_version
def test_the_standard_library_crashes() -> None:
    run = run_with_small_dev_shm(
        """
from multiprocessing.shared_memory import SharedMemory
memory = SharedMemory(create=True, size=1 << 20)
memory.unlink()
memory.buf[:] = bytes(1 << 20)
"""
    )
    assert run.returncode == -signal.SIGBUS


MOVE = """
import multiprocessing, sys
import numpy, treadle

def double(there, back):
    for array in there:
        back.put(array * 2)

there, back = treadle.Queue(), treadle.Queue()
worker = multiprocessing.get_context(sys.argv[1] if sys.argv[1:] else "fork").Process(
    target=double, args=(there, back))
worker.start()
for size in (10, 10_000, 3_000_000):
    there.put(numpy.arange(size))
    assert (back.get(copy=False) == numpy.arange(size) * 2).all()
there.shutdown()
worker.join()
print("moved", worker.exitcode)
"""


def test_treadle_does_not_need_it() -> None:
    run = run_with_small_dev_shm(MOVE)
    assert (run.stdout, run.stderr) == ("moved 0\n", "")


DATA = """
import multiprocessing
import treadle

def fill(value, array, items):
    value.value = 7
    array[:] = 1
    items[:] = [2] * len(items)

data = treadle.Value("i"), treadle.ndarray(1_000_000), treadle.Array("i", 1_000_000)
worker = multiprocessing.Process(target=fill, args=data)
worker.start()
worker.join()
print(data[0].value, data[1].sum(), data[2][-1])
for make in (treadle.SharedMemory, lambda **options: treadle.ShareableList([" " * (1 << 20)])):
    try:
        make(create=True, size=1 << 20)
    except MemoryError as error:
        print(type(error).__name__)
small = treadle.SharedMemory(create=True, size=4000)
small.buf[:] = bytes(4000)
small.unlink()
"""


def test_treadle_s_data_does_not_need_it_and_shared_memory_says_so() -> None:
    run = run_with_small_dev_shm(DATA)
    said = "7 1000000.0 2\nArenaFullError\nArenaFullError\n"
    assert (run.stdout, run.stderr) == (said, "")


def test_treadle_takes_nothing_from_it() -> None:
    """Wherever it can be seen: no file of a treadle program lies there."""
    said = output_of(
        "import os, treadle; q = treadle.Queue(); q.put(bytes(30 << 20));"
        "print([line for line in open('/proc/self/maps') if '/dev/shm' in line], len(q.get()))"
    )
    assert said == f"[] {30 << 20}\n"


def test_a_shortage_is_an_exception_and_the_program_goes_on() -> None:
    """What memory there is is asked for before it is used."""
    said = output_of(
        """
import treadle
treadle.set_arena_limit(4 << 20)
queue = treadle.Queue()
for _ in range(3):
    count = 0
    try:
        while True:
            queue.put(bytes(100_000))
            count += 1
    except treadle.ArenaFullError:
        print(20 < count < 40, [len(queue.get()) for _ in range(count)] == [100_000] * count)
"""
    )
    assert said == "True True\n" * 3
