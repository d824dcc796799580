"""A handle reaches its object or raises HandleError: stale, foreign, damaged or forged."""

from __future__ import annotations

import os
import pickle
import random
from multiprocessing.connection import Connection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import treadle
from tests.queue.tickets import LAYOUT, changed, scribble_on_pickles, ticket_of
from tests.queue.values import unhurried
from tests.queue.workers import Start, books
from tests.sync.children import forked

here = treadle.Queue(label="here")
rebuild, sound = ticket_of(here)


def make_and_pickle(line: Connection) -> None:
    queue = treadle.Queue(label="theirs")
    queue.put("inside")
    line.send_bytes(pickle.dumps(queue))
    line.recv()


def test_a_handle_of_a_living_process_reaches_its_object() -> None:
    with forked(make_and_pickle) as child:
        queue = pickle.loads(child.line.recv_bytes())
        child.say("end")
    assert queue.get() == "inside"
    assert queue.label == "theirs"


def test_a_handle_whose_object_is_gone_says_so() -> None:
    """The sender has ended, and with it all that kept the object."""
    with forked(make_and_pickle) as child:
        handle = child.line.recv_bytes()
        child.say("end")
    treadle.sweep()
    before = books()
    for _ in range(3):
        with pytest.raises(
            treadle.HandleError, match=r"queue of this handle is gone.*keep it alive"
        ):
            pickle.loads(handle)
    assert books() == before


def test_a_handle_never_reaches_what_came_later_to_the_same_place() -> None:
    with forked(make_and_pickle) as child:
        handle = child.line.recv_bytes()
        child.say("end")
    treadle.sweep()
    place = LAYOUT.unpack(pickle_ticket(handle))[1]
    later = [treadle.Queue() for _ in range(200)]
    assert place in {LAYOUT.unpack(ticket_of(queue)[1])[1] for queue in later}
    with pytest.raises(treadle.HandleError, match="is gone"):
        pickle.loads(handle)


def pickle_ticket(handle: bytes) -> bytes:
    """The ticket inside a pickled handle."""
    at = handle.index(LAYOUT.unpack(sound)[0])  # the identity of the arena that both are of
    return handle[at : at + LAYOUT.size]


def print_handle(descriptor: int, pid: int) -> None:
    """A program with an arena of its own, which hands out a handle and ends."""
    with open(f"/proc/{pid}/fd/{descriptor}", "wb") as pipe:
        pickle.dump(treadle.Queue(), pipe)


@pytest.mark.slow
def test_a_handle_of_an_arena_that_is_gone_says_so(start: Start) -> None:
    reader, writer = os.pipe()
    worker = start("subprocess", print_handle, writer, os.getpid())
    worker.join()
    os.close(writer)
    with open(reader, "rb") as pipe:
        handle = pipe.read()
    with pytest.raises(treadle.HandleError) as caught:
        pickle.loads(handle)
    assert f"pid {worker.pid}" in str(caught.value)
    assert "have ended" in str(caught.value)


def test_a_handle_outlives_its_sender_if_somebody_else_holds_the_object() -> None:
    def child(line: Connection) -> None:
        line.send_bytes(pickle.dumps(here))

    with forked(child) as process:
        handle = process.line.recv_bytes()
    here.put("still there")
    assert pickle.loads(handle).get() == "still there"


# ---- Damaged on the way


@pytest.mark.parametrize("length", [0, 1, LAYOUT.size // 2, LAYOUT.size - 1])
def test_a_truncated_ticket_is_refused(length: int) -> None:
    with pytest.raises(treadle.HandleError, match=f"damaged: it has {length} bytes"):
        rebuild(sound[:length])


def test_a_ticket_with_more_behind_it_is_refused() -> None:
    with pytest.raises(treadle.HandleError, match="damaged"):
        rebuild(sound + b"\0")


@pytest.mark.parametrize(
    "bad", [None, 5, "text", sound.hex(), bytearray(sound), [sound], memoryview(sound)]
)
def test_what_is_no_ticket_is_refused(bad: Any) -> None:
    with pytest.raises(TypeError):
        rebuild(bad)


@pytest.mark.slow
def test_every_byte_of_a_ticket_matters() -> None:
    before = books()
    for position in range(len(sound)):
        for change in range(1, 256):
            damaged = bytearray(sound)
            damaged[position] ^= change
            with pytest.raises(treadle.HandleError, match="damaged"):
                rebuild(bytes(damaged))
    assert books() == before


@unhurried(max_examples=200)
@given(st.data())
def test_a_scribbled_ticket_is_refused(data: st.DataObject) -> None:
    scribble = data.draw(st.binary(min_size=1, max_size=LAYOUT.size))
    position = data.draw(st.integers(0, LAYOUT.size - len(scribble)))
    damaged = sound[:position] + scribble + sound[position + len(scribble) :]
    if damaged != sound:
        with pytest.raises(treadle.HandleError):
            rebuild(damaged)


@pytest.mark.slow
def test_a_scribbled_pickle_is_an_exception_and_never_a_crash(start: Start) -> None:
    start("subprocess", scribble_on_pickles).join()


def test_a_truncated_pickle_is_an_exception() -> None:
    handle = pickle.dumps(here)
    for length in range(len(handle)):
        with pytest.raises((EOFError, pickle.UnpicklingError, treadle.HandleError, TypeError)):
            pickle.loads(handle[:length])


# ---- With a check that fits


def test_a_ticket_made_by_hand_is_as_good_as_any() -> None:
    """Else the tests below would show nothing."""
    assert changed(sound) == sound
    here.put("by hand")
    assert rebuild(changed(sound)).get() == "by hand"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"serial": 0}, "is gone"),
        ({"serial": 1 << 63}, "is gone"),
        ({"offset": 0}, "is gone"),
        ({"offset": 1}, "is gone"),
        ({"offset": 64}, "is gone"),
        ({"offset": 1 << 30}, "is gone"),
        ({"offset": (64 << 30) - 64}, "is gone"),
        ({"offset": (1 << 64) - 64}, "is gone"),
        ({"kind": 0}, "something else"),
        ({"kind": 0xFFFFFFFF}, "something else"),
        ({"arena": bytes(16)}, "cannot be reached"),
        ({"arena": b"x" * 16, "sender": 0, "creator": -1}, "cannot be reached"),
        ({"arena": b"x" * 16, "sender": 1, "sender_fd": 1}, "cannot be reached"),
        ({"arena": b"x" * 16, "sender_fd": -1, "creator_fd": 1 << 30}, "cannot be reached"),
    ],
    ids=str,
)
def test_a_ticket_that_lies_is_refused(fields: dict[str, Any], problem: str) -> None:
    before = books()
    with pytest.raises(treadle.HandleError, match=problem):
        rebuild(changed(sound, **fields))
    assert books() == before


def test_a_ticket_that_leads_to_another_file_is_refused() -> None:
    """Of this process, and under the number that the ticket names: a pipe, a file, a directory."""
    reader, writer = os.pipe()
    with open(__file__, "rb") as file, open("/dev/zero", "rb") as device:
        folder = os.open("/", os.O_RDONLY)
        for descriptor in (reader, writer, file.fileno(), device.fileno(), folder):
            lie = changed(
                sound,
                arena=b"x" * 16,
                sender=os.getpid(),
                sender_fd=descriptor,
                creator=os.getpid(),
                creator_fd=descriptor,
            )
            with pytest.raises(treadle.HandleError, match="cannot be reached"):
                rebuild(lie)
    for descriptor in (reader, writer, folder):
        os.close(descriptor)


@pytest.mark.slow
def test_a_ticket_that_leads_into_the_midst_of_other_blocks_is_refused() -> None:
    """Every place of the arena's first megabytes, with the serials of what lies near."""
    _, offset, serial, *_ = LAYOUT.unpack(sound)
    for place in range(offset - (1 << 18), offset + (1 << 18), 64):
        if place != offset:
            with pytest.raises(treadle.HandleError, match="is gone"):
                rebuild(changed(sound, offset=place, serial=serial))
    dice = random.Random(1)
    for _ in range(3000):
        lie = changed(
            sound, offset=dice.randrange(1 << 27) // 8 * 8, serial=dice.randrange(2 * serial + 2)
        )
        if LAYOUT.unpack(lie)[1:3] != (offset, serial):
            with pytest.raises(treadle.HandleError, match="is gone"):
                rebuild(lie)


@pytest.mark.slow
@unhurried(max_examples=300)
@given(
    arena=st.one_of(st.just(sound[:16]), st.binary(min_size=16, max_size=16)),
    offset=st.integers(0, (1 << 64) - 1),
    serial=st.integers(0, (1 << 64) - 1),
    sender=st.integers(-(1 << 31), (1 << 31) - 1),
    sender_fd=st.integers(-(1 << 31), (1 << 31) - 1),
    kind=st.integers(0, 15),
)
def test_no_ticket_does_harm(**fields: Any) -> None:
    lie = changed(sound, **fields)
    if LAYOUT.unpack(lie)[:3] != LAYOUT.unpack(sound)[:3]:
        with pytest.raises(treadle.HandleError):
            rebuild(lie)


@pytest.mark.parametrize(
    "thing",
    [treadle.Lock(), treadle.Event(), treadle.Semaphore(), treadle.BoundedSemaphore()],
    ids=lambda thing: type(thing).__name__,
)
def test_the_handle_of_something_else_is_refused(thing: Any) -> None:
    _, arguments = thing.__reduce__()[:2]
    ticket = next(
        part for part in arguments if isinstance(part, bytes) and len(part) == LAYOUT.size
    )
    with pytest.raises(treadle.HandleError, match="something else"):
        rebuild(ticket)


def test_an_item_whose_object_is_gone_costs_that_item_alone() -> None:
    def child(line: Connection) -> None:
        here.put(treadle.Queue())
        here.put("next")

    with forked(child):
        pass
    treadle.sweep()
    with pytest.raises(treadle.ItemError, match="is gone") as caught:
        here.get()
    assert isinstance(caught.value.__cause__, treadle.HandleError)
    assert here.get() == "next"
