"""What the tests ask about processes: who belongs to whom, and whether they are gone."""

import os
import select
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def of_session(session: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                # The name, in parentheses, may hold anything.
                state, _, _, of = (entry / "stat").read_text().rpartition(") ")[2].split()[:4]
                if int(of) == session and state not in "ZX":
                    found.append(int(entry.name))
    return found


def pidfds(pids: Iterable[int]) -> list[int]:
    """Descriptors that stand for the living among ``pids``."""
    found = []
    for pid in pids:
        with suppress(ProcessLookupError):
            found.append(os.pidfd_open(pid))
    return found


def wait_until_gone(descriptors: Iterable[int]) -> None:
    """Return when the processes behind ``descriptors`` have ended; the watchdog bounds it."""
    for descriptor in descriptors:
        select.select([descriptor], [], [])
        os.close(descriptor)
