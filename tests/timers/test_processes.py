"""Timers and the end of the interpreter; timers and fork."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from multiprocessing.connection import Connection

import pytest

import treadle
from tests.sync.children import forked

# ---- The end of the interpreter


def _output(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import threading, treadle\n{program}"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


_ENDINGS = {
    "a pending timer is awaited": ("treadle.Timer(0.1, print, ['fired']).start()", "fired\n"),
    "so is one that it starts": (
        "treadle.Timer(0.05, lambda: treadle.Timer(0.05, print, ['fired']).start()).start()",
        "fired\n",
    ),
    "a running one is awaited": (
        "begun, go = threading.Event(), threading.Event()\n"
        "treadle.Timer(0, lambda: (begun.set(), threading.main_thread().join(), print('ran')))"
        ".start()\nbegun.wait()",
        "ran\n",
    ),
    "so is a thread that it starts": (
        "def say():\n    threading.main_thread().join()\n    print('said')\n"
        "timer = treadle.Timer(0, lambda: threading.Thread(target=say).start())\n"
        "timer.start()\ntimer.join()",
        "said\n",
    ),
    "a daemon is not": (
        "timer = treadle.Timer(3600, print, ['fired'])\ntimer.daemon = True\ntimer.start()",
        "",
    ),
    "a running daemon is not": (
        "begun = threading.Event()\n"
        "timer = treadle.Timer(0, lambda: (begun.set(), threading.Event().wait()))\n"
        "timer.daemon = True\ntimer.start()\nbegun.wait()",
        "",
    ),
    "a cancelled one is not": (
        "timer = treadle.Timer(3600, print)\ntimer.start()\ntimer.cancel()",
        "",
    ),
    "nor one that is cancelled after the main thread's end": (
        "timer = treadle.Timer(3600, print)\ntimer.start()\n"
        "threading.Thread(target=lambda: (threading.main_thread().join(), timer.cancel())).start()",
        "",
    ),
    "one that a thread starts after the main thread's end is awaited": (
        "threading.Thread(target=lambda: (threading.main_thread().join(),"
        " treadle.Timer(0.05, print, ['fired']).start())).start()",
        "fired\n",
    ),
    "an error is reported as a thread's": (
        "import sys\nthreading.excepthook = lambda args: print(args.exc_type.__name__)\n"
        "treadle.Timer(0.01, lambda: 1 / 0).start()",
        "ZeroDivisionError\n",
    ),
}


_STARTING_LATE = {
    "so is one that it starts",
    "one that a thread starts after the main thread's end is awaited",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", _ENDINGS)
def test_at_the_end_of_the_interpreter(name: str) -> None:
    if name in _STARTING_LATE and (3, 12) <= sys.version_info < (3, 12, 2):
        pytest.skip("no thread can be started any more then (python/cpython#113964)")
    program, expected = _ENDINGS[name]
    assert _output(program) == expected


@pytest.mark.slow
def test_the_standard_library_ends_alike() -> None:
    for name in ("a pending timer is awaited", "a daemon is not", "a cancelled one is not"):
        program, expected = _ENDINGS[name]
        assert _output(program.replace("treadle.Timer", "threading.Timer")) == expected


# ---- Fork


def test_a_child_has_none_of_its_parents_timers() -> None:
    timer = treadle.Timer(3600, int)
    timer.start()

    def look(line: Connection) -> None:
        timer.join()
        line.send((timer.is_alive(), timer.fired, timer.cancel(), timer.statistics().all_pending))

    with forked(look) as child:
        assert child.hear() == (False, False, True, 0)
    assert timer.is_alive()
    assert timer.cancel()


def test_a_childs_own_timers_fire() -> None:
    treadle.Timer(0, int).start()  # the parent's scheduler runs

    def start(line: Connection) -> None:
        timer = treadle.Timer(0.001, line.send, ["fired in the child"])
        timer.start()
        timer.join()

    with forked(start) as child:
        child.expect("fired in the child")


def test_a_child_may_be_forked_from_a_function(capfd: pytest.CaptureFixture[str]) -> None:
    pids: list[int] = []
    timer = treadle.Timer(0, lambda: pids.append(os.fork()))
    timer.start()
    timer.join()
    assert os.waitpid(pids[0], 0)[1] == 0
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_fork_amid_starts_and_cancels() -> None:
    stop = threading.Event()

    def fire(line: Connection) -> None:
        timer = treadle.Timer(0, line.send, ["fired"])
        timer.start()
        timer.join()

    def start_and_cancel() -> None:
        while not stop.is_set():
            treadle.Timer(0, int).start()
            timer = treadle.Timer(60, int)
            timer.start()
            timer.cancel()

    thread = threading.Thread(target=start_and_cancel)
    thread.start()
    try:
        for _ in range(20):
            with forked(fire) as child:
                child.expect("fired")
    finally:
        stop.set()
        thread.join()
