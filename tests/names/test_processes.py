"""Handles of named objects go where all handles go."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

import treadle
from tests.names.conftest import Start

pytestmark = pytest.mark.slow


def _answer(queue: Any, lock: Any) -> None:
    with lock:
        queue.put((queue.name, lock.name, treadle.Lock().name, os.getpid()))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_gets_a_handle_of_a_named_object(method: str) -> None:
    queue: treadle.Queue[Any] = treadle.Queue(name=f"answers of {method}")
    lock = treadle.RLock(name=f"lock of {method}")
    process = multiprocessing.get_context(method).Process(target=_answer, args=(queue, lock))
    process.start()
    assert queue.get() == (queue.name, lock.name, None, process.pid)
    process.join()
    assert process.exitcode == 0


_CHILD = """
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.close(write)
    os.read(read, 1)
    it.set()
    os._exit(0)
os.close(read)
"""


def test_a_child_of_fork_keeps_what_its_parent_had(start: Start, names: Path) -> None:
    parent, other = start(), start()
    parent.tell("it = treadle.Event(name='x')")
    parent.tell(_CHILD)
    parent.tell("del it")
    other.tell("it = treadle.Event(name='x')")
    assert other.tell(
        "[users for *_, users, pids, size, ticket in treadle._core.list_names()]"
    ) == [2]
    parent.tell("os.close(write)")
    parent.tell("os.waitpid(child, 0)")
    assert other.tell("it.is_set()"), "it was one object"


def test_a_child_s_end_does_not_end_its_parent_s_membership(start: Start, names: Path) -> None:
    parent, other = start(), start()
    parent.tell("it = treadle.Event(name='x')")
    # It ends as programs do, with all that is to be done at exit.
    parent.tell("child = os.fork()\nif child == 0: sys.exit()")
    parent.tell("os.waitpid(child, 0)")
    assert names.exists()
    other.tell("it = treadle.Event(name='x')")
    other.tell("it.set()")
    assert parent.tell("it.is_set()")


def test_a_handle_arrives_though_its_sender_has_ended(start: Start) -> None:
    sender, keeper, receiver = start(), start(), start()
    for program in sender, keeper:
        program.tell("it = treadle.Queue(name='x')")
    ticket = sender.tell("pickle.dumps(it)")
    sender.tell("it.put('hello')")
    sender.end()
    receiver.tell(f"it = pickle.loads({ticket!r})")
    assert receiver.tell("(it.name, it.get())") == ("x", "hello")
    assert receiver.tell("treadle.Lock().name") is None
    assert receiver.tell("len(treadle._core.list_names())") == 1, "its own arena is another"


def test_a_handle_of_what_is_gone_says_so(start: Start) -> None:
    sender, receiver = start(), start()
    sender.tell("it = treadle.Queue(name='x')")
    ticket = sender.tell("pickle.dumps(it)")
    sender.end()
    answer = receiver.tell(f"it = pickle.loads({ticket!r})")
    assert answer.startswith("HandleError: the arena of names that this queue lay in is gone")


def test_an_exec_leaves(start: Start, names: Path) -> None:
    program = start()
    program.tell("it = treadle.Queue(name='x')")
    program.begin(
        "os.execv(sys.executable, [sys.executable, '-c', 'print(1, flush=True); input()'])"
    )
    assert program.answer() == 1
    other = start()
    other.tell("it = treadle.Lock(name='x')")
    other.end()
    assert not names.exists()


def test_a_program_without_descriptors_is_still_in(start: Start, names: Path) -> None:
    one, two = start(), start()
    one.tell("it = treadle.Queue(name='x')")
    one.tell("os.closerange(3, 200)")
    two.tell("treadle.Queue(name='x').put('hello')")
    assert one.tell("treadle.Queue(name='x').get()") == "hello"
    one.end()
    two.end()
    assert not names.exists()


def test_threads_open_one_name_at_once(start: Start) -> None:
    program = start()
    program.tell("all = []")
    program.tell(
        "threads = [threading.Thread(target=lambda: all.append(treadle.Semaphore(8, name='x')))"
        " for _ in range(8)]"
    )
    program.tell("for thread in threads: thread.start()")
    program.tell("for thread in threads: thread.join()")
    program.tell("for each in all: each.acquire()")
    assert program.tell("[each.get_value() for each in all]") == [0] * 8


def test_a_daemon_thread_that_waits_does_not_disturb_the_end(start: Start, names: Path) -> None:
    for _ in range(5):
        program = start()
        program.tell("it = treadle.Queue(name='x')")
        program.tell(
            "threads = [threading.Thread(target=it.get, daemon=True) for _ in range(8)]\n"
            "for thread in threads: thread.start()"
        )
        while program.tell("it.statistics().waiting") < 8:
            pass
        program.end()
        assert not names.exists()
