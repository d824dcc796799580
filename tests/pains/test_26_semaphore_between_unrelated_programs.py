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
from tests.names.programs import Program
from tests.pains.parties import PARTIES
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


# What makes one with two permits, which come back when their holder dies.
each_that_reclaims = pytest.mark.parametrize(
    "made",
    [
        pytest.param("BoundedSemaphore(2, name='licence')", id="BoundedSemaphore"),
        pytest.param("Semaphore(2, reclaim=True, name='licence')", id="Semaphore"),
    ],
)
each_holder = pytest.mark.parametrize("holder", PARTIES, ids="held by a {}".format)
each_asker = pytest.mark.parametrize("asker", PARTIES, ids="for a {}".format)


def both(start: Start, made: str) -> tuple[Program, Program]:
    one, two = start(), start()
    for program in one, two:
        program.tell("import warnings; warnings.simplefilter('error')")
        program.tell("from tests.pains import parties")
        program.tell(f"licence = treadle.{made}")
    return one, two


@each_asker
@each_holder
@each_that_reclaims
def test_a_killed_program_gives_its_permit_back(
    start: Start, made: str, holder: str, asker: str
) -> None:
    one, two = both(start, made)
    one.begin(f"parties.hold(parties.Stdio(), {holder!r}, licence)")
    assert one.answer() == "holding"
    assert two.tell("licence.acquire()") is True
    assert two.tell("licence.acquire(blocking=False)") is False
    one.kill()
    answer = two.tell(f"parties.call({asker!r}, licence, 'acquire')")
    assert answer.startswith("OwnerDiedWarning: semaphore 'licence'") and str(one.pid) in answer
    assert two.tell(f"parties.call({asker!r}, licence, 'acquire')") is True
    assert two.tell("licence.get_value()") == 0


@each_asker
@each_holder
@each_that_reclaims
def test_a_program_that_waits_gets_the_permit_of_one_that_is_killed(
    start: Start, made: str, holder: str, asker: str
) -> None:
    one, two = both(start, made)
    two.tell("warnings.simplefilter('ignore')")
    assert two.tell("licence.acquire()") is True
    one.begin(f"parties.hold(parties.Stdio(), {holder!r}, licence)")
    assert one.answer() == "holding"
    two.begin(f"parties.wait(parties.Stdio(), {asker!r}, licence, 'acquire')")
    assert two.answer() == "waiting"
    one.kill()
    assert two.answer() is True


@each_asker
@each_holder
def test_permits_that_stand_for_work_done_are_nobody_s(
    start: Start, holder: str, asker: str
) -> None:
    """What was taken from a plain Semaphore is used up, whoever dies then; the others go on."""
    one, two = both(start, "Semaphore(2, name='work')")
    one.begin(f"parties.hold(parties.Stdio(), {holder!r}, licence)")
    assert one.answer() == "holding"
    one.kill()
    assert two.tell("licence.get_value()") == 1
    assert two.tell(f"parties.call({asker!r}, licence, 'acquire')") is True
    two.begin(f"parties.wait(parties.Stdio(), {asker!r}, licence, 'acquire')")
    assert two.answer() == "waiting"
    three = start()
    three.tell("treadle.Semaphore(2, name='work').release()")
    assert two.answer() is True


@each_asker
@each_holder
@pytest.mark.parametrize("of", ["Semaphore", "BoundedSemaphore"])
def test_a_program_that_is_killed_while_it_waits_takes_no_permit(
    start: Start, of: str, holder: str, asker: str
) -> None:
    one, two = both(start, f"{of}(1, name='licence')")
    assert two.tell("licence.acquire()") is True
    one.begin(f"parties.wait(parties.Stdio(), {holder!r}, licence, 'acquire')")
    assert one.answer() == "waiting"
    one.kill()
    two.tell("licence.release()")
    assert two.tell(f"parties.call({asker!r}, licence, 'acquire')") is True


def test_a_program_that_is_started_again_has_all_permits(start: Start) -> None:
    """None are left of its former life, though it was killed with all of them."""
    for _ in range(3):
        program = start()
        program.tell(_OPEN)
        assert program.tell("[licence.acquire(blocking=False) for _ in range(3)]") == [
            True,
            True,
            False,
        ]
        program.kill()


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
