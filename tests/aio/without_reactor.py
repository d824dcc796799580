"""A program in which no reactor runs: wakes within the process must suffice.

A reactor has the tasks look again from time to time, which would hide a wake-up that is lost.
"""

import _thread

_start_new_thread = _thread.start_new_thread


def _start_no_reactor(function, *arguments):  # type: ignore[no-untyped-def]
    if getattr(function, "__name__", "") == "_react":
        return 0
    return _start_new_thread(function, *arguments)


_thread.start_new_thread = _start_no_reactor

import sys  # noqa: E402

from tests.aio.kinds import WAITS, TaskWait  # noqa: E402
from tests.aio.loops import Loop, gather, native_threads, settle, spawn_in_turn, steps  # noqa: E402


async def line(wait: TaskWait, cancelled: int, before: int) -> None:
    """Tasks in line; one is cancelled so many rounds before the first is let through."""
    thing = wait.make(True)
    wait.hold(thing)
    tasks = await spawn_in_turn(*(wait.use(thing) for _ in range(5)))
    await settle()
    victim = tasks.pop(cancelled)
    victim.cancel()
    await steps(before)
    for _ in range(4 if wait.one_each else 1):
        wait.end(thing)
        await settle()
    assert await gather(*tasks) == [True] * 4
    wait.settled(thing)


def main(loop: Loop) -> None:
    for wait in WAITS:
        if wait.shared_too:
            print(wait.name, flush=True)
            for cancelled in range(5):
                for before in range(3):
                    loop.run(line(wait, cancelled, before))
    assert native_threads() == 1


if __name__ == "__main__":
    main(Loop(sys.argv[1]))
