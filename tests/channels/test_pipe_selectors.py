"""An end with a selector: its descriptor is readable exactly while something can be received."""

from __future__ import annotations

import asyncio
import multiprocessing.connection
import pickle
import random
import select
import selectors
from multiprocessing.connection import Connection
from typing import Any, cast

import pytest

import treadle
from tests.channels.pipes import Answer, fill, is_readable, until_waiting
from tests.sync.children import forked


def test_it_is_readable_while_there_is_a_message() -> None:
    here, there = treadle.Pipe()
    assert not is_readable(there)
    for _ in range(3):
        here.send(1)
        here.send(2)
        assert is_readable(there)
        there.recv()
        assert is_readable(there)
        there.recv()
        assert not is_readable(there)


def test_what_was_sent_before_it_was_asked_for_shows() -> None:
    here, there = treadle.Pipe()
    here.send(1)
    assert is_readable(there)
    there.recv()
    assert not is_readable(there)


def test_polling_and_waiting_leave_it_as_it_is() -> None:
    here, there = treadle.Pipe()
    assert not is_readable(there)
    answer = Answer(there.poll, None)
    until_waiting(there)
    answer.until_asleep()
    here.send(1)
    assert answer.get()
    assert is_readable(there)
    assert there.poll()
    assert is_readable(there)
    assert there.recv() == 1
    answer = Answer(there.recv)
    until_waiting(there)
    here.send(2)
    assert answer.get() == 2
    assert not is_readable(there)


def test_it_is_readable_at_the_end() -> None:
    here, there = treadle.Pipe()
    assert not is_readable(there)
    here.send("last")
    here.close()
    assert is_readable(there)
    assert there.recv() == "last"
    assert is_readable(there)
    with pytest.raises(EOFError):
        there.recv()


def test_the_death_of_the_other_process_shows_at_once() -> None:
    here, there = treadle.Pipe()
    with forked(lambda line: (here.close(), line.recv())) as child:
        there.close()
        answer = Answer(select.select, [here], [], [])
        child.kill()
        child.status = 0
        assert answer.get()[0] == [here]


def test_an_end_that_only_sends_shows_that_nobody_receives() -> None:
    reader, writer = treadle.Pipe(duplex=False)
    poll = select.poll()
    poll.register(writer, 0)
    assert poll.poll(0) == []
    reader.close()
    assert poll.poll(0) == [(writer.fileno(), select.POLLERR)]


def test_a_sender_that_waits_does_not_take_the_sign_away() -> None:
    here, there = treadle.Pipe()
    assert not is_readable(here)
    there.send("waiting to be received")
    count = fill(here)
    answer = Answer(here.send_bytes, bytes(1 << 16))
    until_waiting(here)
    answer.until_asleep()
    assert is_readable(here)
    for _ in range(count):
        there.recv_bytes()
    answer.get()
    assert is_readable(here)
    assert here.recv() == "waiting to be received"
    assert not is_readable(here)


def test_a_pickled_end_shows_what_the_other_shows() -> None:
    here, there = treadle.Pipe()
    other = pickle.loads(pickle.dumps(there))
    assert not is_readable(there)
    assert not is_readable(other)
    here.send(1)
    assert is_readable(there)
    assert is_readable(other)
    assert other.recv() == 1
    assert not is_readable(there)
    assert not is_readable(other)


def test_the_wait_of_multiprocessing() -> None:
    pipes = [treadle.Pipe() for _ in range(3)]
    ends = cast("list[Connection]", [there for _, there in pipes])
    assert multiprocessing.connection.wait(ends, 0) == []
    pipes[1][0].send(1)
    assert multiprocessing.connection.wait(ends) == [ends[1]]
    pipes[2][0].close()
    assert set(multiprocessing.connection.wait(ends)) == {ends[1], ends[2]}


def test_a_selector() -> None:
    pipes = [treadle.Pipe() for _ in range(3)]
    with selectors.DefaultSelector() as selector:
        for number, (_, there) in enumerate(pipes):
            selector.register(there, selectors.EVENT_READ, number)
        assert selector.select(0) == []
        for number, (here, there) in enumerate(pipes):
            here.send(number)
            assert [key.data for key, _ in selector.select()] == [number]
            assert there.recv() == number
        assert selector.select(0) == []


def test_an_event_loop() -> None:
    async def listen() -> list[Any]:
        here, there = treadle.Pipe()
        heard: list[Any] = []
        done = asyncio.Event()

        def receive() -> None:
            heard.append(there.recv())
            if len(heard) == 100:
                done.set()

        loop = asyncio.get_running_loop()
        loop.add_reader(there.fileno(), receive)

        def send(_line: Connection) -> None:
            for number in range(100):
                here.send(number)

        with forked(send):
            await done.wait()
        loop.remove_reader(there.fileno())
        return heard

    assert asyncio.run(listen()) == list(range(100))


@pytest.mark.slow
def test_no_sign_is_lost_and_none_is_wrong() -> None:
    """A selector that misses a message waits for ever, and then the watchdog ends the test."""
    here, there = treadle.Pipe()
    count = 20_000

    def send(_line: Connection) -> None:
        for number in range(count):
            here.send(number)

    rng = random.Random(7)
    received = 0
    there.fileno()
    with forked(send):
        while received < count:
            assert select.select([there], [], [])[0]
            assert there.poll(), "readable, and nothing to receive"
            for _ in range(rng.choice((1, 1, 2, 50))):
                assert there.recv() == received
                received += 1
                if received == count or not there.poll():
                    break
    assert not is_readable(there)
