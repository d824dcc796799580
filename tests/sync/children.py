"""Processes that a test forks, talks with, kills, and waits for."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any


class Child:
    """A forked process: ``function(line, *args)`` runs in it, where ``line`` leads to the test."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self.line, far_end = Pipe()
        self.status: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self.line.close()
            _run(function, far_end, args)
        far_end.close()

    def expect(self, said: object) -> None:
        """Wait until the child says something; it must be that."""
        heard = self.hear()
        assert heard == said, f"the child said {heard!r} and not {said!r}"

    def hear(self) -> Any:
        try:
            return self.line.recv()
        except EOFError:
            raise AssertionError("the child ended early; its traceback is on stderr") from None

    def say(self, word: object) -> None:
        self.line.send(word)

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        self.status = os.waitpid(self.pid, 0)[1]
        assert os.WIFSIGNALED(self.status), "it had ended before it was killed"

    def until_zombie(self) -> None:
        """Wait until it has ended, without burying it."""
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def join(self) -> None:
        """Wait until it ends, which it must do without an error."""
        if self.status is None:
            self.status = os.waitpid(self.pid, 0)[1]
            assert self.status == 0, "the child failed; its traceback is on stderr"

    def dispose(self) -> None:
        """See that nothing of it is left, however the test went."""
        self.line.close()
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def _run(function: Callable[..., object], line: Connection, args: tuple[object, ...]) -> None:
    status = 1
    try:
        function(line, *args)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


@contextmanager
def forked(function: Callable[..., object], *args: object) -> Iterator[Child]:
    """A child for the length of the block; unless the test has ended it, it must end by itself."""
    child = Child(function, *args)
    try:
        yield child
        child.join()
    finally:
        child.dispose()


def hold(line: Connection, acquire: Callable[[], object]) -> None:
    """A child that acquires, says so, and keeps what it has until it is told to end."""
    acquire()
    line.send("holding")
    line.recv()


def killed_while(acquire: Callable[[], object], thread_name: str = "MainThread") -> int:
    """Let a process acquire and be killed by SIGKILL; returns its pid, which is free by then."""
    with forked(_hold_in_thread, acquire, thread_name) as child:
        child.expect("holding")
        child.kill()
    return child.pid


def _hold_in_thread(line: Connection, acquire: Callable[[], object], name: str) -> None:
    if name == "MainThread":
        hold(line, acquire)
    else:
        thread = threading.Thread(target=hold, args=(line, acquire), name=name)
        thread.start()
        thread.join()
