"""There is no semaphore between unrelated processes (python/cpython#82216).

With treadle they meet at a name; or get a pickled handle, by any way that bytes can go.
"""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys

import pytest

import treadle
from tests.names.conftest import Start, start
from tests.pains.programs import seen_in_this_version
from tests.sync.threads import until

__all__ = ["start"]

pytestmark = pytest.mark.slow


@seen_in_this_version
def test_the_standard_library_s_go_to_children_only() -> None:
    with pytest.raises(RuntimeError, match="through inheritance"):
        pickle.dumps(multiprocessing.Semaphore())


# ---- By name

_OPEN = "licence = treadle.BoundedSemaphore(2, name='licence')"


def test_programs_share_a_semaphore_by_its_name(start: Start) -> None:
    """Whoever comes first makes it."""
    one, two, three = start(), start(), start()
    for program in one, two, three:
        program.begin(_OPEN)
    for program in one, two, three:
        assert program.answer() is None
    assert one.tell("licence.acquire(blocking=False)")
    assert two.tell("licence.acquire(blocking=False)")
    assert three.tell("licence.acquire(blocking=False)") is False
    two.tell("licence.release()")
    assert three.tell("licence.acquire(blocking=False)")


def test_a_program_that_waits_is_woken_by_another(start: Start) -> None:
    one, two = start(), start()
    for program in one, two:
        program.tell("work = treadle.Semaphore(0, name='work')")
    one.begin("work.acquire()")
    while not two.tell("work.statistics().waiting"):
        pass
    two.tell("work.release()")
    assert one.answer() is True


def test_a_task_of_a_program_is_woken_by_another(start: Start) -> None:
    one, two = start(), start()
    for program in one, two:
        program.tell("import asyncio")
        program.tell("work = treadle.Semaphore(0, name='work')")
    one.begin("asyncio.run(work.aio.acquire())")
    two.tell("work.release()")
    assert one.answer() is True


def test_a_killed_program_gives_its_permit_back(start: Start) -> None:
    one, two = start(), start()
    for program in one, two:
        program.tell(_OPEN)
        program.tell("licence.acquire()")
    assert two.tell("licence.acquire(blocking=False)") is False
    two.tell("import warnings; warnings.simplefilter('error')")
    one.kill()
    answer = two.tell("licence.acquire()")
    assert answer.startswith("OwnerDiedWarning: semaphore 'licence'") and str(one.pid) in answer
    assert two.tell("licence.acquire()") is True


def test_programs_that_do_not_agree_are_told(start: Start) -> None:
    one, two = start(), start()
    one.tell(_OPEN)
    answer = two.tell("treadle.BoundedSemaphore(3, name='licence')")
    assert answer.startswith(
        "HandleError: name 'licence' is that of BoundedSemaphore(2, reclaim=True), "
        "and BoundedSemaphore(3, reclaim=True) was asked for"
    )


# ---- By handle


def test_programs_share_a_semaphore_through_standard_input() -> None:
    semaphore = treadle.Semaphore(0)
    program = "import pickle, sys; pickle.load(sys.stdin.buffer).release(3)"
    subprocess.run([sys.executable, "-c", program], input=pickle.dumps(semaphore), check=True)
    assert semaphore.get_value() == 3


def test_a_program_that_waits_is_woken_through_a_handle() -> None:
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
