"""The resource tracker unlinks shared memory that is still in use (python/cpython#82300)."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import treadle
from tests.pains.programs import ROOT, output_of, running, seen_in_this_version
from tests.sync.threads import until

pytestmark = pytest.mark.slow

CREATOR = """
from multiprocessing.shared_memory import SharedMemory
memory = SharedMemory(create=True, size=100)
print(memory.name, flush=True)
input()
"""
VISITOR = """
import sys
from multiprocessing.shared_memory import SharedMemory
memory = SharedMemory(sys.stdin.readline().strip())
memory.close()
"""


@seen_in_this_version
def test_in_the_standard_library_a_visitor_that_leaves_takes_the_memory_with_it() -> None:
    with running(CREATOR, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as creator:
        assert creator.stdout is not None
        name = creator.stdout.readline().strip()
        file = Path("/dev/shm", name)
        assert file.exists()
        with running(VISITOR, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as visitor:
            visitor.communicate(name)
        try:
            until(lambda: not file.exists())
        finally:
            file.unlink(missing_ok=True)
        assert creator.poll() is None  # which made it, and has not finished with it


def test_a_visitor_of_treadle_s_shared_memory_leaves_it() -> None:
    makers = CREATOR.replace("multiprocessing.shared_memory", "treadle")
    visitors = VISITOR.replace("multiprocessing.shared_memory", "treadle")
    with running(makers, stdin=subprocess.PIPE) as creator:
        assert creator.stdin is not None and creator.stdout is not None
        name = creator.stdout.readline().strip()
        for code in (visitors, visitors.replace("memory.close()", "")):
            with running(code, stdin=subprocess.PIPE) as visitor:
                visitor.communicate(name)
                assert visitor.returncode == 0
            assert Path("/dev/shm", name).exists()
        memory = treadle.SharedMemory(name)
        creator.communicate("\n")  # ends without unlinking it
        assert Path("/dev/shm", name).exists()
        memory.buf[0] = 1
        memory.unlink()


USE_DATA = """
import pickle, sys
value, array, raw = pickle.load(sys.stdin.buffer)
value.fetch_add(1)
array += 1
raw[:] = [value.load()] * 3
"""


def test_visitors_of_treadle_s_data_leave_it_to_the_others() -> None:
    data = treadle.Value("i"), treadle.ndarray(100_000), treadle.RawArray("i", 3)
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-c", USE_DATA], input=pickle.dumps(data), check=True, cwd=ROOT
        )
    treadle.sweep()
    value, array, raw = data
    assert (value.value, (array == 2).all(), raw[:]) == (2, True, [2, 2, 2])


USE_AND_LEAVE = """
import pickle, sys
queue = pickle.load(sys.stdin.buffer)
number, array = queue.get(copy=False)
queue.put((number + 1, array + 1))
"""


def visit(queue: treadle.Queue) -> None:
    """Lets an unrelated program use the queue and end."""
    subprocess.run(
        [sys.executable, "-c", USE_AND_LEAVE], input=pickle.dumps(queue), check=True, cwd=ROOT
    )


def test_visitors_of_treadle_s_memory_leave_it_to_the_others() -> None:
    queue = treadle.Queue()
    queue.put((0, np.zeros(100_000)))
    for _ in range(3):
        visit(queue)
    number, array = queue.get(copy=False)
    assert number == 3
    assert (array == 3).all()


MAKE_AND_LEAVE = """
import pickle, sys
import numpy, treadle
queue = treadle.Queue()
queue.put((10, numpy.full(100_000, 10.0)))
queue.put((20, numpy.full(100_000, 20.0)))
pickle.dump(queue, sys.stdout.buffer)
sys.stdout.flush()
input()
"""


def test_treadle_s_memory_outlives_the_program_that_made_it(tmp_path: Path) -> None:
    """This program, which only visits, is a new interpreter: it has no arena of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", MAKE_AND_LEAVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as creator:
        assert creator.stdin is not None and creator.stdout is not None
        queue = pickle.load(creator.stdout)
        _, view = queue.get(copy=False)
        creator.communicate(b"\n")
    treadle.sweep()
    assert (view == 10).all()
    visit(queue)  # reached through this process: its maker is gone
    number, array = queue.get(copy=False)
    assert (number, array.sum()) == (21, 2_100_000)
    assert (view == 10).all()


def test_a_killed_owner_takes_nothing_from_the_others() -> None:
    said = output_of(
        """
import os, signal
import numpy, treadle
queue = treadle.Queue()
if os.fork() == 0:
    queue.put(numpy.arange(100_000))
    os.kill(os.getpid(), signal.SIGKILL)
os.wait()
treadle.sweep()
view = queue.get(copy=False)
del queue
print(view.sum() == sum(range(100_000)))
"""
    )
    assert said == "True\n"


def test_treadle_starts_no_process_that_could_tidy_up_too_early() -> None:
    said = output_of(
        """
import os, treadle
treadle.Queue().put(1), treadle.Lock(), treadle.Event()
with open(f"/proc/self/task/{os.getpid()}/children") as children:
    print(children.read().split(), len(os.listdir("/proc/self/task")))
"""
    )
    assert said == "[] 1\n"
