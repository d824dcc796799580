"""A shared object's handle can be sent by any way that pickles; a private one cannot be sent."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import treadle
from tests.sync import meeting
from tests.sync.children import forked
from tests.sync.kinds import all_objects

_ROOT = Path(__file__).parents[2]
_METHODS = ["fork", "spawn", "forkserver"]
all_start_methods = pytest.mark.parametrize("method", _METHODS)


@pytest.mark.slow
@all_start_methods
def test_as_arguments_of_a_process(method: str) -> None:
    things = meeting.things()
    _meet_process(method, things, meeting.attend, things)


@pytest.mark.slow
@all_start_methods
def test_as_arguments_of_a_pool(method: str) -> None:
    things = meeting.things()
    with multiprocessing.get_context(method).Pool(1) as pool:
        result = pool.map_async(meeting.attend, [things])
        pid = meeting.receive(things)
        assert result.get() == [pid]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_through_a_multiprocessing_queue(method: str) -> None:
    things = meeting.things()
    queue = multiprocessing.get_context(method).Queue()
    queue.put(things)
    _meet_process(method, things, _attend_from, queue)
    queue.close()
    queue.join_thread()


@pytest.mark.slow
@all_start_methods
def test_through_a_treadle_queue(method: str) -> None:
    things = meeting.things()
    queue: treadle.Queue[Any] = treadle.Queue()
    queue.put(things)
    _meet_process(method, things, _attend_from, queue)


@pytest.mark.slow
@all_start_methods
def test_in_a_closure(method: str) -> None:
    things = meeting.things()
    closure = cloudpickle.dumps(lambda: meeting.attend(things))
    _meet_process(method, things, _call, closure)


@pytest.mark.slow
def test_on_the_standard_input_of_any_program() -> None:
    things = meeting.things()
    code = "import pickle, sys; from tests.sync import meeting\n"
    code += "print(meeting.attend(pickle.load(sys.stdin.buffer)))"
    program = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=_ROOT,
        env=os.environ | {"PYTHONPATH": str(_ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with program:
        assert program.stdin is not None
        pickle.dump(things, program.stdin)
        program.stdin.close()
        assert meeting.receive(things) == program.pid
        assert program.stdout is not None
        assert int(program.stdout.read()) == program.pid
    assert program.returncode == 0


@pytest.mark.slow
def test_what_a_program_has_made_can_be_used_by_who_started_it_and_outlives_it() -> None:
    """Its arena is another one than ours."""
    code = "import pickle, sys, treadle\n"
    code += "lock = treadle.Lock(label='theirs')\nlock.acquire()\n"
    code += "sys.stdout.buffer.write(pickle.dumps(lock))\nsys.stdout.flush()\nsys.stdin.read()"
    ours = treadle.Lock()
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with program, ours:
        assert program.stdout is not None
        theirs = pickle.load(program.stdout)
        assert theirs.label == "theirs"
        assert theirs.owner.pid == program.pid
        assert theirs.acquire(False) is False
        program.kill()
        program.wait()
        with pytest.raises(treadle.OwnerDiedError, match=f"'theirs' was held by pid {program.pid}"):
            theirs.acquire()
    with theirs.recover() as needed:
        assert needed is True
    with forked(_meet_over, theirs) as child:
        child.expect("held")
        assert theirs.owner.pid == child.pid
        assert theirs.acquire(False) is False
        child.say("enough")


@pytest.mark.slow
def test_from_one_process_to_the_next() -> None:
    """Who has handed it on may be gone."""
    things = meeting.things()
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    courier = context.Process(target=_hand_back, args=(there, things))
    courier.start()
    handed_on = here.recv_bytes()
    courier.join()
    assert courier.exitcode == 0
    _meet_process("spawn", things, _load_and_attend, handed_on)


@all_objects
def test_a_copy_is_another_handle_of_the_same(make: Callable[..., Any]) -> None:
    thing = make()
    for duplicate in (copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))):
        twin = duplicate(thing)
        assert twin is not thing
        assert type(twin) is type(thing)
        assert twin.statistics() == thing.statistics()
    twins = [pickle.loads(pickle.dumps(thing, protocol)) for protocol in range(2, 6)]
    if hasattr(thing, "acquire"):
        thing.acquire()
        assert all(twin.statistics() == thing.statistics() for twin in twins)
        twins[0].release()
        assert thing.acquire(False) is True
    elif isinstance(thing, treadle.Event):
        thing.set()
        assert all(twin.is_set() for twin in twins)
    elif isinstance(thing, treadle.RWLock):
        thing.acquire_read()
        assert all(twin.readers == 1 for twin in twins)
        twins[0].release_read()
        assert thing.acquire_write(False) is True
        assert all(twin.owner == thing.owner for twin in twins)
    elif isinstance(thing, treadle.Latch):
        thing.count_down(2)
        assert all(twin.wait(0) for twin in twins)
    else:
        thing.abort()
        assert all(twin.broken for twin in twins)


@all_objects
def test_a_handle_under_way_keeps_its_object(make: Callable[..., Any]) -> None:
    sent = pickle.dumps(make(label="letter"))
    assert pickle.loads(sent).label == "letter"


@all_objects
def test_a_private_one_stays_in_its_process(make: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"cannot pickle a private treadle\..*shared=True"):
        pickle.dumps(make(shared=False))


def test_what_a_barrier_and_a_condition_are_made_with_travels_with_them() -> None:
    barrier = treadle.Barrier(1, os.getpid, timeout=0.01)
    twin = pickle.loads(pickle.dumps(barrier))
    assert twin.wait() == 0
    assert pickle.loads(pickle.dumps(treadle.Barrier(2, timeout=0.01))).parties == 2
    lock = treadle.Lock()
    condition, same = pickle.loads(pickle.dumps((treadle.Condition(lock), lock)))
    with condition:
        assert same.locked()
        assert lock.locked()


# ---- What the other processes do


def _meet_process(
    method: str, things: meeting.Things, target: Callable[..., object], argument: object
) -> None:
    process = multiprocessing.get_context(method).Process(target=target, args=(argument,))
    process.start()
    assert meeting.receive(things) == process.pid
    process.join()
    assert process.exitcode == 0


def _attend_from(queue: Any) -> None:
    meeting.attend(queue.get())


def _call(closure: bytes) -> None:
    pickle.loads(closure)()


def _load_and_attend(handles: bytes) -> None:
    meeting.attend(pickle.loads(handles))


def _hand_back(line: Connection, things: meeting.Things) -> None:
    line.send_bytes(pickle.dumps(things))


def _meet_over(line: Connection, lock: treadle.Lock) -> None:
    with lock:
        line.send("held")
        line.recv()
