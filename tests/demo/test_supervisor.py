"""The supervisor: as many workers as asked for, replacements for the dead, none left behind."""

import multiprocessing
import os
import queue
import signal
import threading
from multiprocessing.connection import Connection

import pytest

from tests.demo.processes import pidfds, wait_until_gone
from treadle.demo.messages import Died
from treadle.demo.supervisor import UNASKED_DEATHS, Supervisor, how_it_ended

pytestmark = pytest.mark.slow


def announce_and_return(sender: Connection) -> None:
    sender.send(os.getpid())


def announce_and_wait(sender: Connection) -> None:
    sender.send(os.getpid())
    signal.pause()


def announce_and_fail(sender: Connection) -> None:
    sender.send(os.getpid())
    os._exit(7)


def announce_mask_and_return(sender: Connection) -> None:
    sender.send((os.getpid(), signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())))


class Crew:
    """A supervisor with ears: what it posts, what its workers send, whether it finished."""

    def __init__(self, target: object, workers: int) -> None:
        self.receiver, sender = multiprocessing.Pipe(duplex=False)
        self.posts: queue.SimpleQueue[Died] = queue.SimpleQueue()
        self.finished = threading.Event()
        self.supervisor = Supervisor(
            target,  # type: ignore[arg-type]
            (sender,),
            workers,
            post=self.posts.put,
            finished=self.finished.set,
        )
        self.supervisor.start()

    def pids(self, number: int) -> list[int]:
        return [self.receiver.recv() for _ in range(number)]


def test_workers_that_return_are_not_replaced() -> None:
    crew = Crew(announce_and_return, 2)
    assert len(set(crew.pids(2))) == 2
    crew.finished.wait()
    assert crew.posts.empty()
    assert not crew.receiver.poll()
    assert crew.supervisor.close() == []


def test_a_killed_worker_is_replaced_and_told() -> None:
    crew = Crew(announce_and_wait, 2)
    first, second = crew.pids(2)
    assert crew.supervisor.kill(first)
    died = crew.posts.get()
    (third,) = crew.pids(1)
    assert died == Died(first, -signal.SIGKILL, third)
    assert third not in (first, second)
    assert crew.supervisor.close() == []
    assert crew.finished.is_set()


def test_only_its_own_living_workers_are_killed() -> None:
    crew = Crew(announce_and_wait, 1)
    (pid,) = crew.pids(1)
    assert not crew.supervisor.kill(os.getpid())
    assert crew.supervisor.kill(pid)
    crew.posts.get()
    assert not crew.supervisor.kill(pid)
    assert crew.supervisor.close() == []


def test_close_leaves_nobody_behind_and_replaces_nobody() -> None:
    crew = Crew(announce_and_wait, 3)
    descriptors = pidfds(crew.pids(3))
    assert crew.supervisor.close() == []
    wait_until_gone(descriptors)
    assert crew.posts.empty()
    assert not crew.receiver.poll()


def test_close_before_the_start_is_nothing() -> None:
    supervisor = Supervisor(announce_and_wait, (), 1, post=lambda died: None)
    assert supervisor.close() == []


def test_workers_that_keep_dying_are_given_up() -> None:
    crew = Crew(announce_and_fail, 1)
    crew.finished.wait()
    assert crew.supervisor.failure is not None
    assert crew.supervisor.failure.startswith(
        f"{UNASKED_DEATHS + 1} workers died without having been killed on purpose"
    )
    assert crew.supervisor.failure.endswith("with exit code 7")
    assert len(crew.pids(UNASKED_DEATHS + 1)) == UNASKED_DEATHS + 1
    assert crew.supervisor.close() == []


def test_a_worker_that_cannot_be_started_is_told() -> None:
    crew = Crew(lambda sender: None, 1)  # has no name that a spawned process could find
    crew.finished.wait()
    assert crew.supervisor.failure is not None
    assert crew.supervisor.failure.startswith("no worker could be started: ")


def test_workers_are_deaf_to_ctrl_c_from_their_first_instruction() -> None:
    crew = Crew(announce_mask_and_return, 2)
    assert [deaf for _, deaf in crew.pids(2)] == [True, True]  # type: ignore[misc]
    crew.finished.wait()


@pytest.mark.parametrize(
    ("exitcode", "words"),
    [(1, "with exit code 1"), (-9, "by SIGKILL"), (-11, "by SIGSEGV"), (-42, "by signal 42")],
)
def test_ends_are_said_in_words(exitcode: int, words: str) -> None:
    assert how_it_ended(exitcode) == words
