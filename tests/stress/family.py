"""Children by fork, and what their parent does with them."""

import mmap
import os
import signal
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from tests.crash.sudden_death import die_with_parent


def fork(function: Callable[..., Any], *arguments: Any) -> int:
    """Starts a child that calls the function and ends: with 0, or 1 after printing the exception.

    It does not outlive its parent.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _live(parent, function, arguments)
    return pid


def _live(parent: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> NoReturn:
    code = 1
    try:
        die_with_parent(parent)
        function(*arguments)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def join(pids: Iterable[int]) -> None:
    """Waits for the children; all must have ended well."""
    codes = {pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids}
    assert not any(codes.values()), f"exit codes: {codes}"


def kill(pid: int) -> None:
    """Kills the child; it is dead on return, and reaped."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def stop(pid: int) -> None:
    """Stops the child (SIGSTOP); it stands on return."""
    os.kill(pid, signal.SIGSTOP)
    _, status = os.waitpid(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)


def go_on(pid: int) -> None:
    os.kill(pid, signal.SIGCONT)


def sleeps(pid: int) -> bool:
    """Whether the main thread of the process is blocked in the kernel, at this instant."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "S"


def wait_until(true: Callable[[], object]) -> None:
    """Returns when it is so; the watchdog bounds it."""
    while not true():
        os.sched_yield()


def resident_bytes() -> int:
    """The memory of this process that is its own: what grows with a leak."""
    _, resident, shared, *_ = map(int, Path("/proc/self/statm").read_text().split())
    return (resident - shared) * mmap.PAGESIZE


class Words:
    """64-bit words that children by fork share; changes of one are not atomic, on purpose."""

    def __init__(self, count: int) -> None:
        self._words = memoryview(mmap.mmap(-1, count * 8)).cast("q")

    def __getitem__(self, index: int) -> int:
        return int(self._words[index])

    def __setitem__(self, index: int, value: int) -> None:
        self._words[index] = value

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._words)
