"""Pipe in one process: what is sent arrives; errors and ends are those of the standard library."""

from __future__ import annotations

import inspect
import multiprocessing
import pickle
import threading
from array import array
from multiprocessing.connection import Connection
from typing import Any

import numpy
import pytest

import treadle
from tests.channels.pipes import Answer, fill, until_waiting

_VALUES = [
    None,
    7,
    "text",
    b"bytes",
    (1, [2.5, {"three": 3}]),
    "x" * 100_000,
    b"y" * 100_000,
    list(range(100_000)),
]
_SIZES = [0, 1, 100, 8191, 8192, 8193, 100_000, 5_000_000]


@pytest.fixture
def ends() -> tuple[treadle.Connection, treadle.Connection]:
    return treadle.Pipe()


# ---- Messages


@pytest.mark.parametrize("value", _VALUES, ids=lambda value: repr(value)[:20])
def test_what_is_sent_arrives(ends: Any, value: object) -> None:
    here, there = ends
    here.send(value)
    there.send(value)
    assert there.recv() == value
    assert here.recv() == value


@pytest.mark.parametrize("size", _SIZES)
def test_bytes_of_any_size_arrive(ends: Any, size: int) -> None:
    here, there = ends
    message = bytes(range(256)) * (size // 256) + bytes(size % 256)
    here.send_bytes(message)
    assert there.recv_bytes() == message
    here.send_bytes(b"next")
    assert there.recv_bytes() == b"next"
    assert not there.poll()


def test_messages_keep_their_order(ends: Any) -> None:
    here, there = ends
    for number in range(1_000):
        here.send(number)
    assert [there.recv() for _ in range(1_000)] == list(range(1_000))


def test_an_array_arrives(ends: Any) -> None:
    here, there = ends
    sent = numpy.arange(1_000_000)
    here.send(sent)
    assert numpy.array_equal(there.recv(), sent)


def test_a_function_without_a_name_arrives(ends: Any) -> None:
    here, there = ends
    here.send(lambda: 42)
    assert there.recv()() == 42


@pytest.mark.parametrize("value", _VALUES, ids=lambda value: repr(value)[:20])
def test_an_echo_need_not_know_what_it_echoes(ends: Any, value: object) -> None:
    here, there = ends
    here.send(value)
    there.send_bytes(there.recv_bytes())
    assert here.recv() == value


def test_a_pickle_sent_as_bytes_is_an_object(ends: Any) -> None:
    here, there = ends
    here.send_bytes(pickle.dumps({"a": 1}))
    assert there.recv() == {"a": 1}


def test_a_part_of_a_buffer_is_sent(ends: Any) -> None:
    here, there = ends
    here.send_bytes(b"abcdef", 2)
    here.send_bytes(bytearray(b"abcdef"), 2, 3)
    here.send_bytes(memoryview(b"abcdef"), 6)
    here.send_bytes(array("i", [1, 2, 3]), 4, 4)
    assert [there.recv_bytes() for _ in range(3)] == [b"cdef", b"cde", b""]
    assert there.recv_bytes() == array("i", [2]).tobytes()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ((-1,), "offset is negative"),
        ((7,), "buffer length < offset"),
        ((0, -1), "size is negative"),
        ((2, 5), r"buffer length < offset \+ size"),
    ],
)
def test_a_part_must_be_one(ends: Any, part: tuple[int, ...], message: str) -> None:
    for end in (ends[0], multiprocessing.Pipe()[0]):
        with pytest.raises(ValueError, match=f"^{message}$"):
            end.send_bytes(b"abcdef", *part)
    assert not ends[1].poll()


def test_into_a_buffer(ends: Any) -> None:
    here, there = ends
    buffer = bytearray(10)
    here.send_bytes(b"abc")
    assert there.recv_bytes_into(buffer) == 3
    here.send_bytes(b"de")
    assert there.recv_bytes_into(buffer, 8) == 2
    assert buffer == b"abc\0\0\0\0\0de"
    numbers = array("i", [0] * 4)
    here.send_bytes(array("i", [1, 2]))
    assert there.recv_bytes_into(numbers, 2 * numbers.itemsize) == 2 * numbers.itemsize
    assert list(numbers) == [0, 0, 1, 2]


def test_a_buffer_may_be_too_short(ends: Any) -> None:
    here, there = ends
    here.send_bytes(b"message")
    here.send_bytes(b"next")
    with pytest.raises(multiprocessing.BufferTooShort) as caught:
        there.recv_bytes_into(bytearray(8), 2)
    assert caught.value.args == (b"message",)
    for offset in (-1, 9):
        with pytest.raises(ValueError, match="offset"):
            there.recv_bytes_into(bytearray(8), offset)
    with pytest.raises(TypeError):
        there.recv_bytes_into(b"read-only")
    assert there.recv_bytes() == b"next"


def test_a_length_may_be_too_great(ends: Any) -> None:
    here, there = ends
    for message in (b"long message", b"short"):
        here.send_bytes(message)
    with pytest.raises(OSError, match="bad message length"):
        there.recv_bytes(5)
    assert there.recv_bytes(5) == b"short"
    with pytest.raises(ValueError, match="negative maxlength"):
        there.recv_bytes(-1)


# ---- What cannot be sent or rebuilt


def test_what_cannot_be_pickled_is_the_senders_error(ends: Any) -> None:
    here, there = ends
    with pytest.raises(TypeError, match="cannot pickle"):
        here.send(threading.Lock())
    assert not there.poll()


def _fail() -> None:
    raise ZeroDivisionError("here")


class _Unreadable:
    def __reduce__(self) -> Any:
        return _fail, ()


@pytest.mark.parametrize("rubbish", [b"", b"\xff", b"\x80", b"\x08\xff\xff\xff\xff", b"\x0b" * 50])
def test_rubbish_is_an_error_and_the_next_message_is_not(ends: Any, rubbish: bytes) -> None:
    here, there = ends
    here.send_bytes(rubbish)
    here.send("next")
    with pytest.raises(treadle.ItemError, match=r"that pid \d+ sent through pipe '.*' cannot be"):
        there.recv()
    assert there.recv() == "next"


@pytest.mark.parametrize("size", [5, 100_000])
def test_bytes_that_are_received_as_an_object_are_an_error_that_says_so(
    ends: Any, size: int
) -> None:
    here, there = ends
    here.send_bytes(b"x" * size)
    with pytest.raises(treadle.ItemError, match=r"by send_bytes\(\): .* use recv_bytes\(\);"):
        there.recv()


def test_what_fails_to_unpickle_is_gone(ends: Any) -> None:
    here, there = ends
    here.send(_Unreadable())
    here.send("next")
    with pytest.raises(treadle.ItemError, match="ZeroDivisionError: here") as told:
        there.recv()
    assert "send_bytes" not in str(told.value)
    assert there.recv() == "next"


# ---- Waiting


def test_a_receiver_waits(ends: Any) -> None:
    here, there = ends
    answer = Answer(there.recv)
    until_waiting(there)
    answer.until_asleep()
    here.send("woken")
    assert answer.get() == "woken"


def test_a_sender_waits_for_room(ends: Any) -> None:
    here, there = ends
    count = fill(here)
    answer = Answer(here.send_bytes, bytes(1 << 16))
    until_waiting(here)
    answer.until_asleep()
    for _ in range(count):
        there.recv_bytes()
    answer.get()
    assert len(there.recv_bytes()) == 1 << 16


def test_a_message_larger_than_all_room_passes(ends: Any) -> None:
    here, there = ends
    here.send_bytes(bytes(20_000_000))
    assert len(there.recv_bytes()) == 20_000_000


@pytest.mark.parametrize("timeout", [0, 0.0, -1, 0.001])
def test_poll_tells_what_is_there(ends: Any, timeout: float) -> None:
    here, there = ends
    assert there.poll(timeout) is False
    here.send(1)
    assert there.poll(timeout) is True
    assert there.recv() == 1
    assert there.poll(timeout) is False
    here.close()
    assert there.poll(timeout) is True


def test_poll_waits(ends: Any) -> None:
    here, there = ends
    answer = Answer(there.poll, None)
    until_waiting(there)
    answer.until_asleep()
    here.send(1)
    assert answer.get() is True
    assert there.recv() == 1


@pytest.mark.slow
def test_many_threads_at_one_end(ends: Any) -> None:
    here, there = ends
    answers = [Answer(lambda: [there.recv() for _ in range(200)]) for _ in range(4)]
    senders = [Answer(lambda: [here.send(number) for number in range(200)]) for _ in range(4)]
    for sender in senders:
        sender.get()
    received = [number for answer in answers for number in answer.get()]
    assert sorted(received) == sorted(list(range(200)) * 4)


@pytest.mark.slow
def test_threads_that_send_and_receive_at_one_end_wake_each_for_its_own(ends: Any) -> None:
    here, there = ends
    for _ in range(20):
        receiver = Answer(here.recv)
        count = fill(here)
        sender = Answer(here.send_bytes, bytes(1 << 16))
        until_waiting(here, 2)
        for _ in range(count):
            there.recv_bytes()
        sender.get()
        there.recv_bytes()
        there.send("for the receiver")
        assert receiver.get() == "for the receiver"


# ---- Ends


@pytest.mark.parametrize("asleep", [False, True])
def test_when_the_other_end_is_closed_what_was_sent_is_still_received(
    ends: Any, asleep: bool
) -> None:
    here, there = ends
    if not asleep:
        here.send("last")
        here.close()
        assert there.recv() == "last"
        for _ in range(2):
            with pytest.raises(EOFError):
                there.recv()
        return
    answer = Answer(there.recv)
    until_waiting(there)
    answer.until_asleep()
    here.close()
    with pytest.raises(EOFError):
        answer.get()


def test_to_a_closed_end_nothing_is_sent(ends: Any) -> None:
    here, there = ends
    there.close()
    for call in (lambda: here.send(1), lambda: here.send_bytes(b"x" * 10_000)):
        with pytest.raises(BrokenPipeError, match="Broken pipe"):
            call()


def test_a_sender_that_waits_for_room_sees_the_end(ends: Any) -> None:
    here, there = ends
    fill(here)
    answer = Answer(here.send_bytes, bytes(1 << 16))
    until_waiting(here)
    answer.until_asleep()
    there.close()
    with pytest.raises(BrokenPipeError):
        answer.get()


def test_a_dropped_end_is_a_closed_one() -> None:
    here, there = treadle.Pipe()
    del there
    with pytest.raises(EOFError):
        here.recv()


def test_a_closed_end_refuses_all(ends: Any) -> None:
    here, _ = ends
    with here:
        assert not here.closed
    assert here.closed
    here.close()
    theirs, _ = multiprocessing.Pipe()
    theirs.close()
    for end in (here, theirs):
        for call in (
            lambda end=end: end.send(1),
            lambda end=end: end.send_bytes(b""),
            end.recv,
            end.recv_bytes,
            lambda end=end: end.recv_bytes_into(bytearray(1)),
            end.poll,
            end.fileno,
        ):
            with pytest.raises(OSError, match="handle is closed"):
                call()


def test_closing_while_a_call_is_under_way_ends_nothing_but_the_end(ends: Any) -> None:
    here, there = ends
    answer = Answer(there.recv)
    until_waiting(there)
    there.close()
    here.send("still")
    assert answer.get() == "still"
    with pytest.raises(BrokenPipeError):
        here.send("gone")


def test_in_one_direction_one_sends_and_one_receives() -> None:
    ours, theirs = treadle.Pipe(duplex=False), multiprocessing.Pipe(duplex=False)
    for reader, writer in (ours, theirs):
        assert (reader.readable, reader.writable) == (True, False)
        assert (writer.readable, writer.writable) == (False, True)
        writer.send(1)
        assert reader.recv() == 1
        with pytest.raises(OSError, match="connection is read-only"):
            reader.send(1)
        for call in (writer.recv, writer.recv_bytes, writer.poll):
            with pytest.raises(OSError, match="connection is write-only"):
                call()


@pytest.mark.parametrize("first", [0, 1])
def test_in_one_direction_either_end_may_go_first(first: int) -> None:
    ends = treadle.Pipe(duplex=False)
    ends[first].close()
    if first == 0:
        with pytest.raises(BrokenPipeError):
            ends[1].send(1)
    else:
        with pytest.raises(EOFError):
            ends[0].recv()


# ---- What it says, and what it leaves


def test_the_signatures_are_the_standard_librarys(ends: Any) -> None:
    for name, theirs in inspect.getmembers(Connection, inspect.isfunction):
        if not name.startswith("_"):
            ours = inspect.signature(getattr(treadle.Connection, name)).parameters.values()
            expected = inspect.signature(theirs).parameters.values()
            assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in expected]


def test_it_says_what_it_is() -> None:
    here, there = treadle.Pipe(label="orders")
    assert repr(here) == "<treadle.Connection 'orders'>"
    reader, writer = treadle.Pipe(False, label="orders")
    assert repr(reader) == "<treadle.Connection 'orders' receives>"
    assert repr(writer) == "<treadle.Connection 'orders' sends>"
    here.close()
    assert repr(here) == "<treadle.Connection closed>"
    with pytest.raises(TypeError, match="label must be a str"):
        treadle.Pipe(label=7)  # type: ignore[arg-type]
    there.close()


def test_statistics_count_both_directions(ends: Any) -> None:
    here, there = ends
    for _ in range(3):
        here.send(1)
    there.recv()
    ours, theirs = here.statistics(), there.statistics()
    assert (ours.sent, ours.outgoing, ours.received, ours.incoming) == (3, 2, 0, 0)
    assert (theirs.sent, theirs.outgoing, theirs.received, theirs.incoming) == (0, 0, 1, 2)
    assert ours.outgoing_bytes == theirs.incoming_bytes > 0


def test_pipes_that_come_and_go_leave_nothing() -> None:
    import os

    def left() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), treadle.arena_statistics().blocks

    treadle.Pipe()
    before = left()
    for _ in range(200):
        here, there = treadle.Pipe()
        here.send(b"x" * 100_000)
        there.close()
        del here, there
    assert left() == before
