"""Messages through a named pipe in the file system."""

from __future__ import annotations

import errno
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import treadle
from tests.sync.children import forked

_ROOM = select.PIPE_BUF


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "fifo")


@pytest.fixture
def ends(path: str) -> Iterator[tuple[treadle.Fifo, treadle.Fifo]]:
    """A reader and a writer."""
    with treadle.Fifo(path, "r") as reader, treadle.Fifo(path, "w") as writer:
        yield reader, writer


# ---- Values

_VALUES = [None, 7, "text", b"bytes", (1, [2.5, {"three": 3}]), b"x" * _ROOM, list(range(100_000))]


@pytest.mark.parametrize("value", _VALUES, ids=lambda value: repr(value)[:20])
def test_what_is_sent_arrives(path: str, value: Any) -> None:
    def send(_line: Connection) -> None:
        with treadle.Fifo(path, "w") as writer:
            writer.send(value)

    with treadle.Fifo(path, "r") as reader, forked(send):
        assert reader.recv() == value


@pytest.mark.parametrize("size", [0, 1, 100, _ROOM - 25, _ROOM - 24, _ROOM - 23, _ROOM, 3 * _ROOM])
def test_messages_of_any_size_arrive_one_by_one(
    ends: tuple[treadle.Fifo, treadle.Fifo], size: int
) -> None:
    reader, writer = ends
    messages = [bytes([number]) * size for number in range(3)]
    for message in messages:
        writer.send_bytes(message)
    assert [reader.recv_bytes() for _ in messages] == messages
    assert not reader.poll()


def test_a_part_of_a_buffer_is_sent(ends: tuple[treadle.Fifo, treadle.Fifo]) -> None:
    reader, writer = ends
    writer.send_bytes(bytearray(b"abcdef"), 2)
    writer.send_bytes(memoryview(b"abcdef"), 2, 3)
    writer.send_bytes(b"abcdef", 6)
    assert [reader.recv_bytes() for _ in range(3)] == [b"cdef", b"cde", b""]
    for part in [(-1,), (7,), (0, 7), (2, -1)]:
        with pytest.raises(ValueError, match="must be from 0 to"):
            writer.send_bytes(b"abcdef", *part)


def test_a_function_without_a_name_arrives(ends: tuple[treadle.Fifo, treadle.Fifo]) -> None:
    reader, writer = ends
    writer.send(lambda: 42)
    assert reader.recv()() == 42


def test_what_cannot_be_pickled_is_the_senders_error(
    ends: tuple[treadle.Fifo, treadle.Fifo],
) -> None:
    reader, writer = ends
    with pytest.raises(TypeError, match="cannot pickle"):
        writer.send(threading.Lock())
    assert not reader.poll()


def _fail() -> None:
    raise ZeroDivisionError("here")


class _Unreadable:
    def __reduce__(self) -> Any:
        return _fail, ()


def test_what_cannot_be_rebuilt_is_gone_and_the_next_is_not(
    ends: tuple[treadle.Fifo, treadle.Fifo],
) -> None:
    reader, writer = ends
    writer.send(_Unreadable())
    writer.send("next")
    with pytest.raises(treadle.ItemError, match=r"fifo '.*' cannot be rebuilt .*ZeroDivisionError"):
        reader.recv()
    assert reader.recv() == "next"


def test_bytes_that_are_received_as_a_value_are_an_error_that_says_so(
    ends: tuple[treadle.Fifo, treadle.Fifo],
) -> None:
    reader, writer = ends
    writer.send_bytes(b"bytes")
    with pytest.raises(treadle.ItemError, match=r"if send_bytes\(\) sent it, use recv_bytes\(\)"):
        reader.recv()


# ---- Rubbish


@pytest.mark.parametrize("rubbish", [b"hi\n", b"\xf5", b"\xf5trx", b"x" * 30_000, b"\0" * 24])
def test_rubbish_is_an_error_and_what_follows_arrives(
    ends: tuple[treadle.Fifo, treadle.Fifo], path: str, rubbish: bytes
) -> None:
    reader, writer = ends
    writer.send("before")
    with treadle.Fifo(path, "w", raw=True) as shell:
        shell.write(rubbish)
    writer.send("after")
    writer.send("much after")
    assert reader.recv() == "before"
    with pytest.raises(treadle.ItemError, match="is no message: b'"):
        reader.recv()
    assert [reader.recv(), reader.recv()] == ["after", "much after"]
    assert not reader.poll()


def test_rubbish_from_a_shell_says_what_to_do(path: str) -> None:
    with treadle.Fifo(path, "r") as reader:
        shell = subprocess.Popen(["sh", "-c", f"echo hi > {path}"])
        with pytest.raises(treadle.ItemError, match=r"b'hi\\n'; it is gone; .* with raw=True"):
            reader.recv()
        assert shell.wait() == 0
        with pytest.raises(EOFError):
            reader.recv()


# ---- Several writers


@pytest.mark.slow
def test_writers_do_not_mix(path: str) -> None:
    def send(_line: Connection, who: int) -> None:
        with treadle.Fifo(path, "w") as writer:
            for number in range(50):
                writer.send_bytes(bytes([who, number]) * (1 + number * 300))

    with treadle.Fifo(path, "r") as reader:
        with forked(send, 1), forked(send, 2), forked(send, 3):
            received: dict[int, list[bytes]] = {1: [], 2: [], 3: []}
            for _ in range(150):
                message = reader.recv_bytes()
                received[message[0]].append(message)
        for who, messages in received.items():
            assert messages == [bytes([who, number]) * (1 + number * 300) for number in range(50)]


@pytest.mark.slow
def test_threads_of_one_writer_do_not_mix(ends: tuple[treadle.Fifo, treadle.Fifo]) -> None:
    reader, writer = ends

    def send(who: int) -> None:
        for number in range(30):
            writer.send_bytes(bytes([who]) * (1 + number * 500))

    threads = [threading.Thread(target=send, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    sizes: dict[int, list[int]] = {who: [] for who in range(4)}
    for _ in range(120):
        message = reader.recv_bytes()
        assert set(message) == {message[0]}
        sizes[message[0]].append(len(message))
    for thread in threads:
        thread.join()
    assert list(sizes.values()) == [[1 + number * 500 for number in range(30)]] * 4


def test_a_forked_writer_is_another_writer(ends: tuple[treadle.Fifo, treadle.Fifo]) -> None:
    reader, writer = ends
    writer.send("parent")

    def send(_line: Connection) -> None:
        writer.send_bytes(b"c" * 3 * _ROOM)

    with forked(send):
        pass
    writer.send_bytes(b"p" * 3 * _ROOM)
    assert reader.recv() == "parent"
    assert {reader.recv_bytes()[:1], reader.recv_bytes()[:1]} == {b"c", b"p"}


@pytest.mark.slow
def test_a_writer_killed_midway_harms_no_message_of_others(path: str) -> None:
    def send_for_ever(line: Connection) -> None:
        with treadle.Fifo(path, "w") as writer:
            line.send("open")
            writer.send_bytes(b"d" * 10_000_000)  # far more than a pipe holds

    with treadle.Fifo(path, "r") as reader:
        with forked(send_for_ever) as child:
            child.expect("open")
            other = treadle.Fifo(path, "w")
            assert select.select([reader], [], [])[0]
            child.kill()
            child.status = 0
        sender = threading.Thread(target=lambda: (other.send("alive"), other.close()))
        sender.start()
        assert reader.recv() == "alive"
        sender.join()
        with pytest.raises(EOFError, match="of 1 messages only a part had come"):
            reader.recv()


# ---- The end


def test_the_end_is_when_all_writers_have_gone(path: str) -> None:
    with treadle.Fifo(path, "r") as reader:
        with pytest.raises(TimeoutError):
            reader.recv(timeout=0.001)  # no writer yet: that is no end
        one, other = treadle.Fifo(path, "w"), treadle.Fifo(path, "w")
        one.send("last of one")
        one.close()
        assert reader.recv() == "last of one"
        assert not reader.poll()
        other.close()
        assert reader.poll()
        for _ in range(2):
            with pytest.raises(EOFError, match=r"all writers of fifo '.*' have gone$"):
                reader.recv()
        with treadle.Fifo(path, "w") as late:
            assert not reader.poll()
            late.send("again")
            assert reader.recv() == "again"


def test_a_writer_that_comes_and_goes_between_two_looks_is_heard(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = treadle.Fifo._hung_up
    writers = iter([True])

    def come_and_go_first(reader: treadle.Fifo) -> bool:
        for _ in writers:
            with treadle.Fifo(path, "w") as writer:
                writer.send("heard")
        return look(reader)

    with treadle.Fifo(path, "r") as reader:
        monkeypatch.setattr(treadle.Fifo, "_hung_up", come_and_go_first)
        assert reader.recv() == "heard"


def test_a_killed_writer_is_an_end(path: str) -> None:
    def open_and_wait(line: Connection) -> None:
        with treadle.Fifo(path, "w"):
            line.send("open")
            line.recv()

    with treadle.Fifo(path, "r") as reader, forked(open_and_wait) as child:
        child.expect("open")
        child.kill()
        child.status = 0
        with pytest.raises(EOFError):
            reader.recv()


def test_a_persistent_reader_sees_no_end(path: str) -> None:
    with treadle.Fifo(path, "r", persistent=True) as reader:
        for number in range(3):
            with treadle.Fifo(path, "w") as writer:
                writer.send(number)
            assert reader.recv() == number
            assert not reader.poll()


def test_without_a_reader_it_is_broken(path: str) -> None:
    reader = treadle.Fifo(path, "r")
    with treadle.Fifo(path, "w") as writer:
        reader.close()
        with pytest.raises(BrokenPipeError) as caught:
            writer.send(1)
        assert (caught.value.errno, caught.value.filename) == (errno.EPIPE, path)


def test_a_writer_that_waits_for_room_sees_the_readers_death(path: str) -> None:
    os.mkfifo(path, 0o600)

    def read(line: Connection) -> None:
        with treadle.Fifo(path, "r"):
            line.recv()

    with forked(read) as child:
        writer = treadle.Fifo(path, "w")
        heard: list[Exception] = []

        def fill() -> None:
            try:
                writer.send_bytes(bytes(1_000_000))
            except BrokenPipeError as error:
                heard.append(error)

        thread = threading.Thread(target=fill)
        thread.start()
        while select.select([], [writer], [], 0)[1]:
            pass  # until the pipe is full
        child.kill()
        child.status = 0
        thread.join()
        assert len(heard) == 1
        writer.close()


# ---- Waiting


def test_a_writer_waits_for_a_reader(path: str) -> None:
    os.mkfifo(path)
    opened: list[treadle.Fifo] = []
    thread = threading.Thread(target=lambda: opened.append(treadle.Fifo(path, "w")))
    thread.start()
    with treadle.Fifo(path, "r") as reader:
        thread.join()
        with opened[0] as writer:
            writer.send(1)
            assert reader.recv() == 1


def test_a_writer_waits_no_longer_than_it_was_told(path: str) -> None:
    with pytest.raises(TimeoutError, match=r"fifo '.*' has no reader"):
        treadle.Fifo(path, "w", timeout=0.01)
    assert not os.path.exists(path), "it removes what it has made"


def test_a_writer_with_a_timeout_finds_the_reader(path: str) -> None:
    os.mkfifo(path)
    opened: list[treadle.Fifo] = []
    thread = threading.Thread(target=lambda: opened.append(treadle.Fifo(path, "w", timeout=50)))
    thread.start()
    with treadle.Fifo(path, "r"):
        thread.join()
    opened[0].close()


def test_a_send_that_times_out_leaves_nothing(ends: tuple[treadle.Fifo, treadle.Fifo]) -> None:
    reader, writer = ends
    with pytest.raises(TimeoutError, match="is full, and nobody reads"):
        writer.send_bytes(bytes(1_000_000), timeout=0.01)
    thread = threading.Thread(target=lambda: writer.send("next"))
    thread.start()
    assert reader.recv() == "next"
    thread.join()


def test_poll_waits_for_the_whole_of_a_message(ends: tuple[treadle.Fifo, treadle.Fifo]) -> None:
    reader, writer = ends
    with pytest.raises(TimeoutError):
        writer.send_bytes(bytes(1_000_000), timeout=0.01)
    assert not reader.poll(0.001)
    writer.send("whole")
    assert reader.poll()
    assert reader.recv() == "whole"


def _come_and_go(path: str) -> None:
    """A writer that leaves half of a message."""
    with treadle.Fifo(path, "w") as writer, pytest.raises(TimeoutError):
        writer.send_bytes(bytes(1_000_000), timeout=0.01)


@pytest.mark.parametrize("stays", [True, False])
def test_an_end_that_poll_saw_is_over_when_another_writer_sends(path: str, stays: bool) -> None:
    with treadle.Fifo(path, "r") as reader:
        _come_and_go(path)
        assert reader.poll()
        with treadle.Fifo(path, "w") as writer:
            writer.send("a message")
            if not stays:
                writer.close()
            assert reader.recv() == "a message"
        with pytest.raises(EOFError):
            reader.recv()


def test_an_end_that_poll_saw_is_over_when_another_writer_comes(path: str) -> None:
    with treadle.Fifo(path, "r") as reader:
        _come_and_go(path)
        assert reader.poll()
        with treadle.Fifo(path, "w") as writer:
            assert not reader.poll()
            with pytest.raises(TimeoutError):
                reader.recv(timeout=0.001)
            writer.send("a message")
            assert reader.poll()
            assert reader.recv() == "a message"


def test_an_end_that_poll_saw_is_received_if_it_is_still_so(path: str) -> None:
    with treadle.Fifo(path, "r") as reader:
        _come_and_go(path)
        assert reader.poll()
        assert reader.poll()
        with pytest.raises(EOFError, match="of 1 messages only a part had come"):
            reader.recv()


@pytest.mark.parametrize("timeout", [float("nan"), "1"])
def test_a_timeout_is_a_number(ends: tuple[treadle.Fifo, treadle.Fifo], timeout: Any) -> None:
    reader, _ = ends
    with pytest.raises((ValueError, TypeError)):
        reader.recv(timeout)


def test_select_sees_each_message(ends: tuple[treadle.Fifo, treadle.Fifo]) -> None:
    reader, writer = ends
    for number in range(3):
        writer.send(number)
    for number in range(3):
        assert select.select([reader], [], [], 0)[0] == [reader]
        assert reader.recv() == number
    assert select.select([reader], [], [], 0)[0] == []


# ---- Interrupts


class _Interrupt(Exception):
    pass


def _raise(_number: int, _frame: object) -> None:
    raise _Interrupt


def test_a_waiting_receiver_can_be_interrupted(ends: tuple[treadle.Fifo, treadle.Fifo]) -> None:
    reader, writer = ends
    before = signal.signal(signal.SIGALRM, _raise)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(_Interrupt):
            reader.recv()
    finally:
        signal.signal(signal.SIGALRM, before)
    writer.send(1)
    assert reader.recv() == 1


def test_a_signal_whose_handler_returns_does_not_end_a_wait(
    ends: tuple[treadle.Fifo, treadle.Fifo],
) -> None:
    reader, writer = ends
    before = signal.signal(signal.SIGALRM, lambda *_: writer.send("from the handler"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        assert reader.recv() == "from the handler"
    finally:
        signal.signal(signal.SIGALRM, before)


class _Break(BaseException):
    """An interrupt, such as KeyboardInterrupt, that pytest does not take for its own."""


class _Ends:
    """Rebuilding it would end whoever receives it, so often."""

    left = 0

    def __reduce__(self) -> Any:
        return _end, ()


def _end() -> str:
    _Ends.left -= 1
    if _Ends.left >= 0:
        raise _Break("mine")
    return "rebuilt"


def test_a_message_that_would_end_its_receiver_does_so_once(
    ends: tuple[treadle.Fifo, treadle.Fifo],
) -> None:
    reader, writer = ends
    writer.send(_Ends())
    writer.send("next")
    _Ends.left = 1000
    with pytest.raises(_Break):
        reader.recv()
    assert reader.poll()
    with pytest.raises(treadle.ItemError, match="mine"):
        reader.recv()
    assert reader.recv() == "next"


def test_a_message_interrupted_twice_is_not_lost(ends: tuple[treadle.Fifo, treadle.Fifo]) -> None:
    reader, writer = ends
    writer.send(_Ends())
    writer.send("next")
    for _ in range(2):
        _Ends.left = 1
        with pytest.raises(_Break):
            reader.recv()
    assert reader.recv() == "rebuilt"
    assert reader.recv() == "next"


@pytest.mark.slow
def test_interrupts_lose_no_message(path: str) -> None:
    count = 500

    def send(_line: Connection) -> None:
        with treadle.Fifo(path, "w") as writer:
            for number in range(count):
                writer.send((number, "x" * (number * 7 % 9000)))

    def interrupt(_number: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_code.co_filename != __file__:
            raise _Break

    received: list[int] = []
    interrupts = 0
    before = signal.signal(signal.SIGALRM, interrupt)
    with treadle.Fifo(path, "r") as reader, forked(send):
        signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
        try:
            while len(received) < count:
                try:
                    while len(received) < count:
                        message = reader.recv()
                        received.append(message[0])
                except _Break:
                    interrupts += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    assert received == list(range(count))
    assert interrupts > 0


# ---- The file


def test_it_is_made_and_removed(path: str) -> None:
    with treadle.Fifo(path, "r"):
        found = os.stat(path)
        assert oct(found.st_mode) == "0o10600"
    assert not os.path.exists(path)


def test_permissions_are_as_told(path: str) -> None:
    with treadle.Fifo(path, "r", permissions=0o640):
        assert oct(os.stat(path).st_mode & 0o777) == oct(0o640 & ~_umask())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_what_was_there_stays(path: str) -> None:
    os.mkfifo(path, 0o600)
    with treadle.Fifo(path, "r"):
        pass
    assert os.path.exists(path)


def test_what_took_its_place_stays(path: str) -> None:
    with treadle.Fifo(path, "r"):
        os.unlink(path)
        Path(path).write_text("mine")
    assert Path(path).read_text() == "mine"


def test_it_is_removed_when_it_is_dropped(path: str) -> None:
    treadle.Fifo(path, "r")
    assert not os.path.exists(path)


@pytest.mark.slow
def test_it_is_removed_at_the_end_of_the_interpreter(path: str) -> None:
    program = f"import treadle; kept = treadle.Fifo({path!r}); kept.me = kept"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert not os.path.exists(path)


def test_a_child_of_fork_does_not_remove_it(path: str) -> None:
    with treadle.Fifo(path, "r") as reader:
        with forked(lambda _line: reader.close()):
            pass
        assert os.path.exists(path)


@pytest.mark.parametrize("mode", ["r", "w"])
def test_what_is_no_fifo_is_left_alone(path: str, mode: Any) -> None:
    Path(path).write_text("mine")
    with pytest.raises(FileExistsError, match="is there, and is no fifo"):
        treadle.Fifo(path, mode)
    assert Path(path).read_text() == "mine"
    with pytest.raises(FileExistsError):
        treadle.Fifo("/dev/null", mode)


def test_what_others_may_write_to_is_refused(path: str) -> None:
    os.mkfifo(path)
    os.chmod(path, 0o622)
    with pytest.raises(PermissionError, match=r"others may write to fifo '.*' \(prw--w--w-\)"):
        treadle.Fifo(path, "r")
    with treadle.Fifo(path, "r", permissions=0o622):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_is_another_users_is_refused(path: str) -> None:
    os.mkfifo(path)
    os.chown(path, 12345, -1)
    with pytest.raises(PermissionError, match=r"belongs to another user \(12345\)"):
        treadle.Fifo(path, "r")


def test_a_second_reader_of_messages_is_refused(path: str) -> None:
    with treadle.Fifo(path, "r"):
        with pytest.raises(BlockingIOError, match="has a reader already"):
            treadle.Fifo(path, "r")
        with treadle.Fifo(path, "r", raw=True):
            pass


# ---- The object


def test_it_says_what_it_is(path: str) -> None:
    reader = treadle.Fifo(path)
    assert repr(reader) == f"<treadle.Fifo {path!r} mode='r'>"
    assert (reader.path, reader.mode, reader.raw, reader.closed) == (path, "r", False, False)
    reader.close()
    reader.close()
    assert repr(reader) == f"<treadle.Fifo {path!r} mode='r' closed>"
    for call in (reader.recv, reader.poll, reader.fileno, reader.__enter__):
        with pytest.raises(ValueError, match="is closed"):
            call()


def test_each_end_has_its_methods(ends: tuple[treadle.Fifo, treadle.Fifo]) -> None:
    reader, writer = ends
    for call in (lambda: reader.send(1), lambda: reader.send_bytes(b"")):
        with pytest.raises(OSError, match="was opened to read"):
            call()
    for call in (writer.recv, writer.recv_bytes, writer.poll):
        with pytest.raises(OSError, match="was opened to write"):
            call()
    for call in (reader.read, lambda: writer.write(b""), reader.makefile):
        with pytest.raises(OSError, match="was opened for messages; open it with raw=True"):
            call()


@pytest.mark.parametrize("mode", ["rw", "a", "", None])
def test_a_mode_is_r_or_w(path: str, mode: Any) -> None:
    with pytest.raises(ValueError, match="mode must be 'r' or 'w'"):
        treadle.Fifo(path, mode)
    assert not os.path.exists(path)


def test_it_cannot_be_pickled(path: str) -> None:
    with treadle.Fifo(path) as reader, pytest.raises(TypeError, match="send its path"):
        pickle.dumps(reader)


@pytest.mark.slow
def test_unrelated_programs_meet_at_a_path(path: str) -> None:
    program = f"import treadle\nwith treadle.Fifo({path!r}, 'w') as w: w.send(('hello', 42))"
    with treadle.Fifo(path, "r") as reader:
        sender = subprocess.Popen([sys.executable, "-c", program])
        assert reader.recv() == ("hello", 42)
        assert sender.wait() == 0
