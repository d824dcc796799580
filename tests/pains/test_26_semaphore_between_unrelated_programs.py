"""There is no semaphore between unrelated processes (python/cpython#82216).

Without names yet: the programs get a pickled handle, by any way that bytes can go.
"""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import treadle
from tests.pains.programs import running, seen_in_this_version
from tests.sync.threads import until

pytestmark = pytest.mark.slow


@seen_in_this_version
def test_the_standard_library_s_go_to_children_only() -> None:
    with pytest.raises(RuntimeError, match="through inheritance"):
        pickle.dumps(multiprocessing.Semaphore())


# Says what it has: `True` for a permit that it acquired and keeps.
ACQUIRE = """
import pickle, sys
semaphore = pickle.load({source})
print(semaphore.acquire(blocking=False), flush=True)
sys.stdin.readline()
"""
MAKE = """
import os, pickle, sys
import treadle
semaphore = treadle.Semaphore(2)
with open(sys.stdin.readline().strip(), "wb") as file:
    pickle.dump(semaphore, file)
print("made", flush=True)
sys.stdin.readline()
print(semaphore.get_value(), flush=True)
"""


def test_programs_share_a_semaphore_through_a_file(tmp_path: Path) -> None:
    """They know nothing of each other but a file."""
    handle = tmp_path / "semaphore"
    acquire = ACQUIRE.format(source=f"open({str(handle)!r}, 'rb')")
    with running(MAKE, stdin=subprocess.PIPE) as maker:
        tell(maker, str(handle))
        assert hear(maker) == "made"
        with (
            running(acquire, stdin=subprocess.PIPE) as one,
            running(acquire, stdin=subprocess.PIPE) as two,
        ):
            assert hear(one) == hear(two) == "True"
            with running(acquire, stdin=subprocess.PIPE) as three:
                assert hear(three) == "False"
            tell(maker, "look")
            assert hear(maker) == "0"


def test_programs_share_a_semaphore_through_standard_input() -> None:
    semaphore = treadle.Semaphore(0)
    program = "import pickle, sys; pickle.load(sys.stdin.buffer).release(3)"
    subprocess.run([sys.executable, "-c", program], input=pickle.dumps(semaphore), check=True)
    assert semaphore.get_value() == 3


def test_a_program_that_waits_is_woken_by_another() -> None:
    semaphore = treadle.Semaphore(0)
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).acquire())"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as waiter:
        assert waiter.stdin is not None
        pickle.dump(semaphore, waiter.stdin)
        waiter.stdin.flush()
        until(lambda: semaphore.statistics().waiting == 1)
        program = "import pickle, sys; pickle.load(sys.stdin.buffer).release()"
        subprocess.run([sys.executable, "-c", program], input=pickle.dumps(semaphore), check=True)
        assert waiter.communicate()[0] == b"True\n"


def test_a_killed_program_gives_its_permit_back() -> None:
    semaphore = treadle.BoundedSemaphore(1, label="licence")
    code = "import pickle, sys, time; print(pickle.load(sys.stdin.buffer).acquire(), flush=True)\n"
    code += "sys.stdin.buffer.readline()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdin is not None and program.stdout is not None
        pickle.dump(semaphore, program.stdin)
        program.stdin.flush()
        assert program.stdout.readline() == b"True\n"
        assert not semaphore.acquire(blocking=False)
        program.kill()
    with pytest.warns(treadle.OwnerDiedWarning, match=f"pid {program.pid}"):
        assert semaphore.acquire()


def tell(program: subprocess.Popen[str], line: str) -> None:
    assert program.stdin is not None
    program.stdin.write(line + "\n")
    program.stdin.flush()


def hear(program: subprocess.Popen[str]) -> str:
    assert program.stdout is not None
    return program.stdout.readline().strip()
