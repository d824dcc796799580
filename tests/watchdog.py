"""Ends a test run that hangs, after showing where each of its processes stands.

A process of its own, so that it works whatever hangs: a thread or a signal handler of the
test run could not act while native code holds the GIL. The stacks are printed by the hanging
processes themselves: `faulthandler`, enabled in all of them, does it on SIGABRT without the GIL.

    python watchdog.py PID

watches the process PID and reads orders from its standard input, one a line: `arm SECONDS NAME`
starts the clock, `disarm` stops it. It ends when PID ends.
"""

import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_PATIENCE = 5.0  # seconds that a process gets to print its stacks
_TAIL = 64 * 1024  # bytes shown of the output that pytest holds back


def main() -> None:
    pid = int(sys.argv[1])
    pidfd = os.pidfd_open(pid)
    pending = b""
    watched: tuple[float, str, str] | None = None
    while True:
        timeout = None if watched is None else max(0.0, watched[0] - time.monotonic())
        ready, _, _ = select.select([pidfd, 0], [], [], timeout)
        if pidfd in ready:
            return
        if 0 in ready:
            received = os.read(0, 65536)
            if not received:
                return
            *orders, pending = (pending + received).split(b"\n")
            for order in orders:
                watched = None
                if order.startswith(b"arm "):
                    _, seconds, name = order.decode().split(" ", 2)
                    watched = (time.monotonic() + float(seconds), seconds, name)
        elif watched is not None and time.monotonic() >= watched[0]:
            _, seconds, name = watched
            end(pid, pidfd, f"{name} did not end within {seconds} s")
            return


def end(pid: int, pidfd: int, reason: str) -> None:
    """Print `reason` and the stacks of `pid` and all its descendants; kill them all."""
    frozen = freeze(pid)
    say(f"\nwatchdog: {reason}; the stacks of all its processes follow, then the run ends")
    for child in reversed(frozen[1:]):
        show_and_kill(child, os.pidfd_open(child))
    show_captured_output(pid)
    show_and_kill(pid, pidfd)


def freeze(pid: int) -> list[int]:
    """Stop `pid` and its descendants, so that the end of one does not move another."""
    frozen: list[int] = []
    fresh = [pid]
    while fresh:
        for process in fresh:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP)
        frozen += fresh
        fresh = [child for child in descendants(pid) if child not in frozen]
    return frozen


def descendants(pid: int) -> list[int]:
    """The living descendants of `pid` without this process, parents before children."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                # The name, in parentheses, may hold anything.
                state, parent = (entry / "stat").read_text().rpartition(") ")[2].split()[:2]
                if state not in "ZX":
                    children.setdefault(int(parent), []).append(int(entry.name))
    found: list[int] = []
    level = [pid]
    while level:
        level = [child for parent in level for child in children.get(parent, [])]
        level = [child for child in level if child != os.getpid()]
        found += level
    return found


def show_and_kill(pid: int, pidfd: int) -> None:
    """Let the stopped process `pid` print its stacks, and wait until it is dead."""
    say(f"\nwatchdog: process {pid}: {describe(pid)}")
    with suppress(ProcessLookupError):
        # The pending SIGABRT is delivered before a stopped process runs another instruction.
        os.kill(pid, signal.SIGABRT)
        os.kill(pid, signal.SIGCONT)
    if not select.select([pidfd], [], [], _PATIENCE)[0]:
        say(f"watchdog: process {pid} printed no stacks and is killed")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        select.select([pidfd], [], [], _PATIENCE)


def describe(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    except OSError:
        return "gone"
    return f"{threads} thread{'s' * (threads != 1)}, {command.strip()[:200]}"


def show_captured_output(pid: int) -> None:
    """Print what the test, and the stacks of processes that it started, put on its stderr.

    pytest keeps that in a file without a name, which would vanish with the run.
    """
    with suppress(OSError), open(f"/proc/{pid}/fd/2", "rb") as captured:
        if os.path.sameopenfile(captured.fileno(), 2) or not captured.seekable():
            return
        captured.seek(max(0, captured.seek(0, os.SEEK_END) - _TAIL))
        if text := captured.read().decode(errors="replace").strip():
            say(f"\nwatchdog: captured on standard error:\n{text}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
