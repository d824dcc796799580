"""Process: what it returns and raises, how it dies, and that it does not outlive its parent."""

from __future__ import annotations

import functools
import multiprocessing
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.popen_fork import Popen
from pathlib import Path
from typing import Any

import pytest

import treadle
from tests.sync.threads import OtherThread
from treadle._running.processes import SpawnProcess

_ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow  # each starts interpreters


def started(function: Callable[..., Any], *args: Any, **options: Any) -> treadle.Process:
    process = treadle.Process(target=function, args=args, **options)
    process.start()
    return process


class Adder:
    def __init__(self, n: int) -> None:
        self.n = n

    def add(self, m: int) -> int:
        return self.n + m


# ---- Results


@pytest.mark.parametrize("kind", ["lambda", "closure", "partial", "method", "built-in"])
def test_it_returns_what_its_target_returns(kind: str, start_method: str) -> None:
    n = 40

    def closure(m: int) -> int:
        return n + m

    target: Any = {
        "lambda": lambda m: n + m,
        "closure": closure,
        "partial": functools.partial(closure),
        "method": Adder(n).add,
        "built-in": n.__add__,
    }[kind]
    process = started(target, 2)
    assert process.result() == 42
    assert process.result() == 42
    assert process.exception() is None
    assert process.exitcode == 0


def test_arguments_may_be_what_only_a_child_can_be_given(start_method: str) -> None:
    """Such as the standard library's connections and locks, and functions without a name."""
    here, there = multiprocessing.Pipe()
    lock, queue = multiprocessing.Lock(), treadle.Queue()

    def send(make: Callable[[], str]) -> None:
        with lock:
            there.send(make())
            queue.put("by treadle")

    process = started(send, lambda: "by the standard library")
    assert here.recv() == "by the standard library"
    assert queue.get() == "by treadle"
    assert process.result() is None


def test_a_large_result_is_there_after_a_join() -> None:
    """What hangs with multiprocessing.Queue: joining before getting."""
    process = started(bytes, 50_000_000)
    process.join()
    assert process.result() == bytes(50_000_000)


def test_several_threads_may_ask(start_method: str, other: OtherThread) -> None:
    go = treadle.Event()
    process = started(go.wait)
    asked = other.start(process.result)
    joined = OtherThread().start(process.join)
    go.set()
    assert process.result() is asked.result() is True
    joined.result()
    assert process.exitcode == 0


def test_a_grandchild_that_lives_on_does_not_delay_a_join() -> None:
    """The standard library's sentinel is a pipe that it has inherited."""
    go = treadle.Event()

    def leave_one_behind() -> str:
        if os.fork() == 0:
            go.wait()
            os._exit(0)
        return "done"

    process = started(leave_one_behind)
    assert process.result() == "done"
    go.set()


def test_it_cannot_be_asked_before_it_is_started() -> None:
    with pytest.raises(RuntimeError, match=r"call start\(\) first"):
        treadle.Process().result()


def test_a_result_that_takes_too_long(start_method: str) -> None:
    process = started(signal.pause, name="sleeper")
    with pytest.raises(TimeoutError, match=r"'sleeper' .* still runs after 0.01 s"):
        process.result(timeout=0.01)
    with pytest.raises(TimeoutError):
        process.exception(timeout=0)
    process.terminate()
    with pytest.raises(treadle.WorkerDiedError, match=r"killed by SIGTERM"):
        process.result()


def test_a_subclass_may_run_by_itself(start_method: str) -> None:
    process = _Ringing()
    process.start()
    assert process.result() is None
    assert process.rung.is_set()


class _Ringing(treadle.Process):
    def __init__(self) -> None:
        super().__init__()
        self.rung = treadle.Event()

    def run(self) -> None:
        self.rung.set()


# ---- Errors


class Plain(Exception):
    pass


class Demanding(Exception):
    """Pickles, and cannot be rebuilt: its arguments are not those of its constructor."""

    def __init__(self, what: str, *, why: str) -> None:
        super().__init__(f"{what}: {why}")


def _raise(make: Callable[[], BaseException]) -> None:
    raise make()


def test_it_raises_what_its_target_raises(
    start_method: str, capfd: pytest.CaptureFixture[str]
) -> None:
    process = started(_raise, functools.partial(Plain, "no"))
    for _ in range(2):
        with pytest.raises(Plain, match="no") as caught:
            process.result()
    assert isinstance(process.exception(), Plain)
    assert isinstance(caught.value.__cause__, treadle.RemoteTraceback)
    assert "in _raise" in str(caught.value.__cause__)
    assert process.exitcode == 1
    if start_method != "forkserver":  # whose stderr is that of the first test to use it
        assert "in _raise" in capfd.readouterr().err  # as any process's: nobody may ever ask


def test_the_exception_has_its_cause_before_anybody_raises_it() -> None:
    error = started(_raise, functools.partial(Plain, "no")).exception()
    assert error is not None
    assert "in _raise" in str(error.__cause__)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Demanding("a", why="b"),
        lambda: Plain(threading.Lock()),
    ],
    ids=["cannot be rebuilt", "cannot be pickled"],
)
def test_an_exception_that_cannot_travel_is_told_as_a_text(
    make: Callable[[], BaseException], start_method: str
) -> None:
    process = started(_raise, make, name="thrower")
    with pytest.raises(
        treadle.TaskError, match=r"'thrower' .* cannot be pickled and rebuilt"
    ) as caught:
        process.result()
    assert type(make()).__name__ in str(caught.value)
    assert "in _raise" in str(caught.value.__cause__)


def test_a_result_that_cannot_be_pickled(start_method: str) -> None:
    process = started(threading.Lock, name="maker")
    with pytest.raises(
        treadle.TaskError, match=r"the result of process 'maker'.*cannot be pickled"
    ):
        process.result()


def test_a_result_that_is_too_large_for_the_arena() -> None:
    limit = treadle.arena_statistics().limit
    treadle.set_arena_limit(treadle.arena_statistics().used + (8 << 20))
    try:
        process = started(bytes, 64 << 20)
        with pytest.raises(treadle.ArenaFullError):
            process.result()
    finally:
        treadle.set_arena_limit(limit)


class Fragile:
    def __reduce__(self) -> Any:
        return int, ("not a number",)


def test_a_result_that_cannot_be_rebuilt(start_method: str) -> None:
    process = started(Fragile)
    with pytest.raises(treadle.ItemError, match=r"not a number"):
        process.result()


@pytest.mark.parametrize(
    ("end", "exitcode", "told"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), -9, "was killed by SIGKILL"),
        (lambda: os.kill(os.getpid(), 40), -40, "was killed by signal 40"),
        (lambda: os._exit(7), 7, "ended with exit code 7"),
        (lambda: sys.exit(3), 3, "ended with exit code 3"),
        (lambda: sys.exit("no"), 1, "ended with exit code 1"),
        (lambda: os._exit(0), 0, "ended with exit code 0"),
    ],
    ids=["SIGKILL", "a realtime signal", "_exit", "exit", "exit with a text", "_exit 0"],
)
def test_a_death(end: Callable[[], None], exitcode: int, told: str) -> None:
    process = started(end, name="mortal")
    with pytest.raises(
        treadle.WorkerDiedError, match=rf"process 'mortal' \(pid \d+\) {told}"
    ) as caught:
        process.result()
    assert caught.value.pid == process.pid
    assert caught.value.exitcode == process.exitcode == exitcode
    assert caught.value.signal == (-exitcode if exitcode < 0 else None)


@pytest.mark.parametrize("code", [None, 0])
def test_who_exits_with_success_has_the_result_none(code: int | None) -> None:
    process = started(sys.exit, code)
    assert process.result() is None
    assert process.exception() is None
    assert process.exitcode == 0


def test_a_death_whose_exit_code_a_stranger_has_taken() -> None:
    process = started(os._exit, 3, name="mortal")
    os.waitpid(process.pid or 0, 0)
    with pytest.raises(treadle.WorkerDiedError, match="somebody else has taken its exit code"):
        process.result()


@pytest.fixture
def ignored_children() -> Iterator[None]:
    """The system takes the exit codes of this process's children, and tells nobody."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.mark.usefixtures("ignored_children")
def test_a_result_does_not_need_the_exit_code(start_method: str) -> None:
    process = started(pow, 2, 3)
    assert process.result(timeout=60) == 8
    assert process.result(timeout=0) == 8
    assert not process.is_alive()
    if start_method != "forkserver":
        assert process.exitcode is None


@pytest.mark.usefixtures("ignored_children")
def test_a_death_without_an_exit_code() -> None:
    process = started(os._exit, 3)
    with pytest.raises(treadle.WorkerDiedError, match="somebody else has taken its exit code"):
        process.result(timeout=60)


def test_a_join_does_not_wait_for_an_exit_code_that_nobody_can_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "sleep", _must_not_sleep)
    process = started(os._exit, 3)
    os.waitpid(process.pid or 0, 0)
    for _ in range(2):
        process.join()
    assert not process.is_alive()


def _must_not_sleep(_: float) -> None:
    raise AssertionError


def test_a_grandchild_delays_no_join_where_the_exit_code_is_lost() -> None:
    go = treadle.Event()

    def leave_one_behind() -> None:
        if os.fork() == 0:
            go.wait()
        os._exit(0)

    process = started(leave_one_behind)
    os.waitpid(process.pid or 0, 0)
    process.join()
    go.set()


def test_who_asks_for_the_exit_code_meanwhile_takes_nothing_from_a_join(other: OtherThread) -> None:
    """Every start of a process asks for those of all others."""
    for _ in range(100):
        process = started(os._exit, 3)
        polling = other.start(_poll, process)
        process.join()
        assert process.exitcode == 3
        polling.result()


def _poll(process: treadle.Process) -> None:
    while process.is_alive():
        pass


# ---- What asks meanwhile: other processes' results, signal handlers, copies


class Calling:
    """Rebuilding it is a call."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


def _result_of_another() -> Any:
    return started(pow, 2, 3).result()


def test_rebuilding_a_result_may_ask_for_another_one() -> None:
    assert started(Calling, _result_of_another).result() == 8


_own: list[treadle.Process] = []


def test_rebuilding_a_result_cannot_ask_for_itself() -> None:
    _own[:] = [started(Calling, _ask_for_own)]
    with pytest.raises(treadle.ItemError) as caught:
        _own[0].result()
    _own.clear()
    assert isinstance(caught.value.__cause__, RuntimeError)


def _ask_for_own() -> None:
    _own[0].result()


def test_rebuilding_a_result_delays_nobody_who_has_a_timeout(other: OtherThread) -> None:
    """Neither who joins another process, nor who asks for this result."""
    begun, go = treadle.Event(), treadle.Event()
    process = started(functools.partial(Calling, _set_and_wait, begun, go))
    asking = other.start(process.result)
    begun.wait()
    sleeping = started(signal.pause)
    sleeping.join(timeout=0)
    assert sleeping.is_alive()
    sleeping.kill()
    sleeping.join()
    with pytest.raises(TimeoutError, match="still rebuilds the result"):
        process.result(timeout=0.01)
    go.set()
    assert process.result() is asking.result() is True


def _set_and_wait(begun: treadle.Event, go: treadle.Event) -> bool:
    begun.set()
    return go.wait()


def test_a_result_whose_rebuilding_exits_does_not_end_who_asks() -> None:
    process = started(Calling, sys.exit, 3)
    for _ in range(2):
        with pytest.raises(treadle.ItemError, match=r"cannot be rebuilt here: SystemExit\(3\)"):
            process.result()


def test_a_result_whose_rebuilding_was_interrupted_can_be_asked_for_again() -> None:
    _interrupted.clear()
    process = started(Calling, _interrupt_once)
    with pytest.raises(KeyboardInterrupt):
        process.result()
    assert process.result() == "rebuilt"


_interrupted: list[int] = []


def _interrupt_once() -> str:
    if not _interrupted:
        _interrupted.append(1)
        signal.raise_signal(signal.SIGINT)
    return "rebuilt"


def test_a_signal_handler_may_join_in_the_midst_of_a_join(monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[int] = []
    poll = Popen.poll

    def interrupted_poll(self: Any, flag: int = os.WNOHANG) -> Any:
        if not joined:
            joined.append(1)
            signal.raise_signal(signal.SIGUSR1)
        return poll(self, flag)

    process = started(signal.pause)
    before = signal.signal(signal.SIGUSR1, lambda *_: process.join(0))
    try:
        with monkeypatch.context() as patch:
            patch.setattr(Popen, "poll", interrupted_poll)
            process.join(0)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert joined
    assert process.is_alive()
    process.kill()
    process.join()


def test_only_the_process_itself_tells_a_result_not_what_its_target_forks() -> None:
    def fork() -> str:
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            return "child"
        return "grandchild"

    assert started(fork).result() == "child"


@pytest.fixture
def no_descriptors() -> Iterator[Callable[[], None]]:
    """Call it to use up what descriptors there are."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []

    def use_up() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")), limits[1]))
        try:
            while True:
                held.append(os.dup(0))
        except OSError:
            pass

    yield use_up
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    for descriptor in held:
        os.close(descriptor)


def test_a_join_needs_no_descriptor(start_method: str, no_descriptors: Callable[[], None]) -> None:
    go = treadle.Event()
    process = started(go.wait)
    no_descriptors()
    process.join(timeout=0.01)
    assert process.is_alive()
    go.set()
    process.join()
    assert process.exitcode == 0
    assert process.result() is True


def test_one_that_could_not_be_started_has_no_result() -> None:
    class Unsendable:
        def __reduce__(self) -> Any:
            raise ValueError("no")

    process = SpawnProcess(target=print, args=(Unsendable(),))
    with pytest.raises(ValueError, match="no"):
        process.start()
    with pytest.raises(RuntimeError, match=r"call start\(\) first"):
        process.result()


def test_the_result_of_a_closed_one_may_be_asked_for() -> None:
    """As of any other; what the standard library refuses is refused."""
    returning, dying = started(pow, 2, 3), started(os._exit, 3, name="mortal")
    pid = dying.pid
    for process in (returning, dying):
        process.join()
        process.close()
        process.close()
    assert returning.result() == 8
    with pytest.raises(treadle.WorkerDiedError, match=rf"\(pid {pid}\) ended with exit code 3"):
        dying.result()
    with pytest.raises(ValueError, match="closed"):
        returning.join()


# ---- Parents


_PARENT = """
import multiprocessing, os, signal, sys, time
import treadle

def live(queue, stubborn):
    if stubborn:
        signal.signal(signal.SIGTERM, lambda *_: None)
    queue.put(os.getpid())
    while True:
        time.sleep(1000)

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    queue = treadle.Queue()
    for stubborn in (False, True):
        treadle.Process(target=live, args=(queue, stubborn)).start()
    print(queue.get(), queue.get(), flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_it_ends_when_its_parent_is_killed(method: str, tmp_path: Path) -> None:
    """Also one that handles SIGTERM; and by itself: nobody but the kernel tells it."""
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    parent = subprocess.Popen(
        [sys.executable, script, method], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    children = [os.pidfd_open(int(pid)) for pid in parent.stdout.readline().split()]
    parent.kill()
    parent.communicate()
    for child in children:
        poll = select.poll()
        poll.register(child, select.POLLIN)
        poll.poll()
        os.close(child)


def test_it_does_not_start_for_a_parent_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose pid may be another process's by then: the time at which that began tells."""
    process = treadle.Process(target=time.sleep, args=(1000,))
    monkeypatch.setattr("treadle._running.processes.this_process", lambda: (os.getpid(), 12345))
    process.start()
    with pytest.raises(treadle.WorkerDiedError, match=r"killed by SIGTERM"):
        process.result()
