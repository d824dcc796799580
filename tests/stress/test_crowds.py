"""Many participants: at once, or one after the other; and what is left of them afterwards."""

import os
import pickle
import subprocess
import sys
import threading
from typing import Any

import pytest

import treadle
from tests.stress import family, fresh

pytestmark = pytest.mark.slow

_CROWD = 520  # more than one chunk of process records holds (511)


def test_500_processes_are_attached_at_once() -> None:
    fresh.run(crowd_of_forks)


def crowd_of_forks() -> None:
    objects = _Meeting()
    blocks = [_meet(objects, lambda: objects)]
    blocks.append(_meet(objects, lambda: objects))
    # What the first crowd made the arena's tables grow by serves the second.
    assert blocks[1] == blocks[0]


@pytest.mark.parametrize("guests", [100, pytest.param(_CROWD, marks=pytest.mark.soak)])
def test_many_processes_attach_by_handle_at_once(guests: int) -> None:
    fresh.run(crowd_of_strangers, guests)


def crowd_of_strangers(number_of_guests: int) -> None:
    # The children inherit no arena: it is made by another child, and they join it by its handles.
    reading, writing = os.pipe()
    host = family.fork(_host_a_meeting, writing, number_of_guests)
    os.close(writing)
    with open(reading, "rb") as pipe:
        handles = pipe.read()
    guests = [
        family.fork(_attend, lambda: pickle.loads(handles), n) for n in range(number_of_guests)
    ]
    family.join([*guests, host])


def _host_a_meeting(writing: int, guests: int) -> None:
    objects = _Meeting()
    with open(writing, "wb") as pipe:
        pickle.dump(objects, pipe)
    objects.receive(guests)


class _Meeting:
    """Guests do one piece of work each, and leave when all have come."""

    def __init__(self) -> None:
        self.lock = treadle.Lock()
        self.queue = treadle.Queue()
        self.counts = treadle.Queue()
        self.counts.put(0)
        self.end = treadle.Event()

    def attend(self, number: int) -> None:
        with self.lock:  # not atomic but for the lock
            self.counts.put(self.counts.get(block=False) + 1)
        self.queue.put(number)
        self.end.wait()

    def receive(self, guests: int) -> None:
        numbers = {self.queue.get() for _ in range(guests)}
        assert numbers == set(range(guests))
        with self.lock:
            assert self.counts.get(block=False) == guests
            self.counts.put(0)
        self.end.set()


def _attend(reach: Any, number: int) -> None:
    reach().attend(number)


def _meet(objects: _Meeting, reach: Any) -> int:
    """Returns how many blocks the arena has when all guests are gone."""
    objects.end.clear()
    guests = [family.fork(_attend, reach, number) for number in range(_CROWD)]
    objects.receive(_CROWD)
    family.join(guests)
    treadle.sweep()
    return treadle.arena_statistics().blocks


@pytest.mark.parametrize("processes", [250, pytest.param(2000, marks=pytest.mark.soak)])
def test_short_processes_leave_nothing(processes: int) -> None:
    fresh.run(churn_of_forks, processes)


def churn_of_forks(processes: int) -> None:
    lock, queue = treadle.Lock(), treadle.Queue()
    blocks = treadle.arena_statistics().blocks
    for number in range(processes):
        family.join([family.fork(_visit, lock, queue, number)])
        assert queue.get(block=False) == number
    # Nobody made an object, or swept: the records went although only fork looked for the dead.
    assert treadle.arena_statistics().backed < 16 << 20
    treadle.sweep()
    assert treadle.arena_statistics().blocks == blocks


def _visit(lock: treadle.Lock, queue: treadle.Queue, number: int) -> None:
    with lock:
        queue.put(number)


def test_hundreds_of_children_fit_into_the_smallest_arena() -> None:
    fresh.run(churn_in_a_small_arena)


def churn_in_a_small_arena() -> None:
    treadle.set_arena_limit(1 << 20)
    lock, queue = treadle.Lock(), treadle.Queue()
    for number in range(300):
        family.join([family.fork(_visit, lock, queue, number)])
        assert queue.get(block=False) == number


@pytest.mark.parametrize("processes", [12, pytest.param(500, marks=pytest.mark.soak)])
@pytest.mark.watchdog(600)
def test_short_programs_that_attach_leave_nothing(processes: int) -> None:
    fresh.run(churn_of_programs, processes)


def churn_of_programs(processes: int) -> None:
    lock, queue = treadle.Lock(), treadle.Queue()
    handles = pickle.dumps((lock, queue))
    program = (
        "import pickle, sys\n"
        "lock, queue = pickle.load(sys.stdin.buffer)\n"
        "with lock: queue.put(int(sys.argv[1]))\n"
    )
    blocks = set()
    for number in range(processes):
        subprocess.run([sys.executable, "-c", program, str(number)], input=handles, check=True)
        assert queue.get(block=False) == number
        treadle.sweep()
        blocks.add(treadle.arena_statistics().blocks)
    assert len(blocks) == 1


def test_ten_thousand_short_threads_leave_nothing() -> None:
    fresh.run(churn_of_threads)


def churn_of_threads() -> None:
    lock = treadle.Lock()
    total = 0

    def visit() -> None:
        nonlocal total
        with lock:
            total += 1

    def visit_in_groups(groups: int) -> None:
        for _ in range(groups):
            threads = [threading.Thread(target=visit) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    visit_in_groups(10)
    before = treadle.arena_statistics()
    visit_in_groups(1250)
    assert total == 10_080
    assert treadle.arena_statistics() == before
