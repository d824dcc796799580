"""Pipe between processes: every way to start one, pickled ends, and deaths at either end."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import pytest

import treadle
from tests.channels.pipe_work import echo, relay
from tests.channels.pipes import Answer, fill, until_waiting
from tests.sync.children import forked

_each_start = pytest.mark.parametrize(
    "start",
    ["fork", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("spawn", "forkserver"))],
)


def _process(start: str, target: Callable[..., object], *args: object) -> Any:
    process = multiprocessing.get_context(start).Process(  # type: ignore[attr-defined]
        target=target, args=args, daemon=True
    )
    process.start()
    return process


# ---- Other processes


@_each_start
def test_messages_go_to_and_fro(start: str) -> None:
    here, there = treadle.Pipe()
    process = _process(start, echo, there)
    there.close()
    for value in (1, "text", b"x" * 100_000, {"a": [1, 2]}):
        here.send(value)
        assert here.recv() == value
    here.close()
    if start == "fork":  # the child has inherited `here`, too, and so does not see its end
        process.terminate()
    process.join()


@_each_start
def test_the_death_of_a_process_is_the_end_of_its_end(start: str) -> None:
    here, there = treadle.Pipe()
    process = _process(start, echo, there)
    there.close()
    here.send(1)
    assert here.recv() == 1
    answer = Answer(here.recv)
    answer.until_asleep()
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(EOFError):
        answer.get()
    process.join()
    with pytest.raises(BrokenPipeError):
        here.send(2)


@_each_start
def test_an_end_travels_through_a_pipe(start: str) -> None:
    errand, far = treadle.Pipe()
    process = _process(start, relay, far)
    far.close()
    here, there = treadle.Pipe()
    errand.send(there)
    there.close()
    assert here.recv() == "hello from afar"
    with pytest.raises(EOFError):
        here.recv()
    process.join()


def test_a_pickled_end_is_held_by_both() -> None:
    here, there = treadle.Pipe()
    other = pickle.loads(pickle.dumps(there))
    here.send("to whoever asks first")
    assert other.recv() == "to whoever asks first"
    there.close()
    assert not here.poll()
    other.send("still here")
    assert here.recv() == "still here"
    other.close()
    with pytest.raises(EOFError):
        here.recv()


def test_a_pickled_end_knows_its_direction() -> None:
    reader, writer = (pickle.loads(pickle.dumps(end)) for end in treadle.Pipe(duplex=False))
    assert (reader.readable, reader.writable) == (True, False)
    writer.send(1)
    assert reader.recv() == 1


def test_a_closed_end_cannot_be_pickled() -> None:
    here, _ = treadle.Pipe()
    here.close()
    with pytest.raises(OSError, match="handle is closed"):
        pickle.dumps(here)


# ---- Deaths


def test_a_receiver_killed_in_its_sleep_leaves_the_pipe_usable() -> None:
    here, there = treadle.Pipe()

    def receive(_line: Connection) -> None:
        there.recv()

    with forked(receive) as child:
        until_waiting(here)
        child.kill()
        child.status = 0
    here.send("for the survivor")
    assert there.recv() == "for the survivor"


def test_a_sender_killed_in_its_sleep_has_sent_nothing() -> None:
    here, there = treadle.Pipe()
    count = fill(here)

    def send(_line: Connection) -> None:
        here.send_bytes(b"never" * 20_000)

    with forked(send) as child:
        until_waiting(here)
        child.kill()
        child.status = 0
    for _ in range(count):
        assert there.recv_bytes() == bytes((1 << 16) - 1000)
    assert not there.poll()
    here.send("next")
    assert there.recv() == "next"


def test_a_sender_waiting_for_room_sees_the_receivers_death() -> None:
    here, there = treadle.Pipe()

    def hold(line: Connection) -> None:
        here.close()
        line.recv()

    with forked(hold) as child:
        there.close()
        fill(here)
        answer = Answer(here.send_bytes, bytes(1 << 16))
        until_waiting(here)
        answer.until_asleep()
        child.kill()
        child.status = 0
        with pytest.raises(BrokenPipeError):
            answer.get()


def test_what_the_dead_have_sent_is_received() -> None:
    here, there = treadle.Pipe()

    def send(line: Connection) -> None:
        for number in range(100):
            there.send(number)
        there.send(b"x" * 1_000_000)
        line.send("sent")
        line.recv()

    with forked(send) as child:
        there.close()
        child.expect("sent")
        child.kill()
        child.status = 0
    assert [here.recv() for _ in range(100)] == list(range(100))
    assert len(here.recv()) == 1_000_000
    with pytest.raises(EOFError):
        here.recv()


def test_an_end_lives_as_long_as_anybody_holds_it() -> None:
    here, there = treadle.Pipe()

    def hold(line: Connection) -> None:
        here.close()
        line.recv()

    with forked(hold) as one, forked(hold) as other:
        there.close()
        one.kill()
        one.status = 0
        assert not here.poll()
        here.send(1)
        other.kill()
        other.status = 0
        with pytest.raises(EOFError):
            here.recv()


def test_a_child_closes_an_end_that_its_parents_threads_are_using() -> None:
    """They do not exist in the child, so nobody is left there to close the end behind them."""
    here, there = treadle.Pipe()
    threads = [Answer(here.recv) for _ in range(2)]
    until_waiting(here, 2)

    def close_and_see(line: Connection) -> None:
        here.close()
        line.send("closed")
        line.recv()
        with pytest.raises(EOFError):
            there.recv()

    with forked(close_and_see) as child:
        child.expect("closed")
        for _ in threads:
            there.send("enough")
        assert [thread.get() for thread in threads] == ["enough"] * 2
        here.close()
        there.close()
        child.say("now nobody holds it")


class _Forking:
    """Who pickles it, to send it, goes on in a child as well, which closes the end meanwhile."""

    def __init__(self, end: treadle.Connection) -> None:
        self.end = end
        self.children: list[int] = []

    def __reduce__(self) -> Any:
        self.children.append(os.fork())
        if self.children[-1] == 0:
            self.end.close()
        return str, (f"sent by {'the parent' if self.children[-1] else 'a child'}",)


def test_a_call_that_a_child_is_forked_in_goes_on_in_it() -> None:
    here, there = treadle.Pipe()
    item = _Forking(here)
    try:
        here.send(item)
    finally:
        if item.children[-1] == 0:
            os._exit(0)
    os.waitpid(item.children[-1], 0)
    assert {there.recv(), there.recv()} == {"sent by the parent", "sent by a child"}
    here.close()
    with pytest.raises(EOFError):
        there.recv()


def test_the_end_of_all_is_the_same_to_who_receives_and_who_sends() -> None:
    """Of a process that ends, the system closes one descriptor after the other."""
    before = set(os.listdir("/proc/self/fd"))
    here, there = treadle.Pipe()
    made = [int(fd) for fd in set(os.listdir("/proc/self/fd")) - before if fd.isdigit()]

    def close_what_sends(line: Connection) -> None:
        here.close()
        for descriptor in made:
            with suppress(OSError):  # closed, or the directory's own
                if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
                    os.close(descriptor)
        line.send("half closed")
        line.recv()

    with forked(close_what_sends) as child:
        there.close()
        child.expect("half closed")
        assert not here.poll(0.01)
        here.send("somebody may read this")
        child.kill()
        child.status = 0
        with pytest.raises(EOFError):
            here.recv()
        with pytest.raises(BrokenPipeError):
            here.send("nobody will read this")


@pytest.mark.slow
def test_a_message_that_was_received_was_sent() -> None:
    """Whoever receives the last message may go before its sender has returned."""
    for _ in range(300):
        here, there = treadle.Pipe()
        answer = Answer(here.send, "last")
        assert there.recv() == "last"
        there.close()
        answer.get()


@pytest.mark.slow
def test_killed_at_any_moment_a_sender_sends_entirely_or_not_at_all() -> None:
    for round_ in range(30):
        here, there = treadle.Pipe()

        def send(line: Connection, there: treadle.Connection = there, first: int = round_) -> None:
            line.send("begun")
            number = first
            while True:
                there.send((number, "x" * (number * 997 % 20_000)))
                number += 1

        with forked(send) as child:
            there.close()
            child.expect("begun")
            for number in range(round_, round_ + 1 + round_ * 3):
                assert here.recv() == (number, "x" * (number * 997 % 20_000))
            child.kill()
            child.status = 0
        number = round_ + 1 + round_ * 3
        with pytest.raises(EOFError):
            while True:
                assert here.recv() == (number, "x" * (number * 997 % 20_000))
                number += 1
        here.close()


@pytest.mark.slow
def test_a_receiver_killed_at_any_moment_leaves_the_rest_in_order() -> None:
    for round_ in range(30):
        here, there = treadle.Pipe()
        for number in range(300):
            here.send((number, "x" * (number * 97 % 10_000)))

        def receive(line: Connection, there: treadle.Connection = there) -> None:
            line.send("begun")
            while True:
                there.recv()

        with forked(receive) as child:
            child.expect("begun")
            for _ in range(round_ * 200):
                pass
            child.kill()
            child.status = 0
        here.send("last")
        rest = []
        while (message := there.recv()) != "last":
            rest.append(message[0])
        assert rest == list(range(300 - len(rest), 300))


# ---- Signals


class _Interrupt(Exception):
    pass


def _raise(_number: int, _frame: object) -> None:
    raise _Interrupt


@pytest.mark.parametrize("call", ["recv", "poll", "send"])
def test_a_wait_can_be_interrupted(call: str) -> None:
    here, there = treadle.Pipe()
    calls: dict[str, Callable[[], object]] = {
        "recv": here.recv,
        "poll": lambda: here.poll(None),
        "send": lambda: here.send_bytes(bytes(1 << 16)),
    }
    count = fill(here) if call == "send" else 0
    before = signal.signal(signal.SIGALRM, _raise)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(_Interrupt):
            calls[call]()
    finally:
        signal.signal(signal.SIGALRM, before)
    for _ in range(count):
        there.recv_bytes()
    assert not there.poll()
    there.send(1)
    assert here.recv() == 1


def test_a_signal_whose_handler_returns_does_not_end_a_wait() -> None:
    here, there = treadle.Pipe()
    before = signal.signal(signal.SIGALRM, lambda *_: there.send("from the handler"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        assert here.recv() == "from the handler"
    finally:
        signal.signal(signal.SIGALRM, before)


class _Break(BaseException):
    pass


class _InterruptedWhileRebuilt:
    """Rebuilding it is interrupted, the first time."""

    times = 0

    def __reduce__(self) -> Any:
        return _rebuild_interrupted, ()


def _rebuild_interrupted() -> str:
    _InterruptedWhileRebuilt.times += 1
    if _InterruptedWhileRebuilt.times == 1:
        raise _Break
    return "rebuilt"


def test_a_message_whose_rebuilding_is_interrupted_is_not_lost() -> None:
    from tests.channels.pipes import is_readable

    here, there = treadle.Pipe()
    assert not is_readable(there)
    _InterruptedWhileRebuilt.times = 0
    here.send(_InterruptedWhileRebuilt())
    here.send("next")
    with pytest.raises(_Break):
        there.recv()
    assert there.poll()
    assert is_readable(there)
    assert there.recv() == "rebuilt"
    assert there.recv() == "next"
    assert not there.poll()


class _Ends:
    """Rebuilding it would end whoever receives it."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        return _end, (self.error,)


def _end(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    "error", [SystemExit("mine"), KeyboardInterrupt("mine"), MemoryError("mine")], ids=repr
)
def test_a_message_that_would_end_its_receiver_does_so_once(error: BaseException) -> None:
    here, there = treadle.Pipe()
    here.send(_Ends(error))
    here.send("next")
    with pytest.raises(type(error), match="mine"):
        there.recv()
    with pytest.raises(treadle.ItemError, match="mine"):
        there.recv()
    assert there.recv() == "next"
    here.send(_Ends(error))
    for _ in range(2):
        with pytest.raises((type(error), treadle.ItemError)):
            there.recv()
    assert not there.poll()


def test_the_bytes_of_a_message_that_would_end_its_receiver_can_be_had() -> None:
    here, there = treadle.Pipe()
    here.send(_Ends(SystemExit("mine")))
    with pytest.raises(SystemExit):
        there.recv()
    assert b"mine" in there.recv_bytes()
    assert not there.poll()


def test_a_message_interrupted_twice_is_not_lost() -> None:
    here, there = treadle.Pipe()
    here.send(_InterruptedWhileRebuilt())
    here.send("next")
    for _ in range(2):
        _InterruptedWhileRebuilt.times = 0
        with pytest.raises(_Break):
            there.recv()
    assert there.recv() == "rebuilt"
    assert there.recv() == "next"
