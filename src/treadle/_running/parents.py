"""A process that ends when its parent does, however that ends: told by the kernel, not by polling.

The parent-death signal of Linux comes when the *thread* that forked has ended, and goes by the
parent in the kernel's sense, which under forkserver is another process. So a thread waits for a
descriptor of the parent's process (pidfd), which names a process and not a number: it is opened by
pid, and what it was opened for is told by the time at which that process began.
"""

from __future__ import annotations

import os
import select
import signal
import time
from _thread import start_new_thread

__all__ = ["Parent", "end_with", "this_process"]

_GRACE = 0.5  # seconds between the signal that can be handled and the one that cannot

Parent = tuple[int, int]  # pid, and the clock tick of the system at which it began


_this: Parent | None = None  # once somebody has asked


def this_process() -> Parent:
    """What a child that is about to be made is to wait for."""
    global _this
    if _this is None:
        pid = os.getpid()
        _this = pid, _began(pid)
    return _this


def _forget_this() -> None:
    global _this
    _this = None


os.register_at_fork(after_in_child=_forget_this)


def end_with(parent: Parent) -> None:
    """Have this process end when the parent has: by SIGTERM, half a second later by SIGKILL."""
    pid, began = parent
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        _end()
        return
    try:
        alive = _began(pid) == began
    except OSError:
        alive = False
    if alive:
        start_new_thread(_wait, (descriptor,))
    else:
        os.close(descriptor)
        _end()


def _wait(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.poll()
    _end()


def _end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os.kill(os.getpid(), signal.SIGKILL)


def _began(pid: int) -> int:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])
