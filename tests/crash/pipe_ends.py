"""The two ends of a pipe in two workers, of which one is killed at any moment, or both, or none.

Each end sends numbered messages and notes which it has sent; each notes which it has received, and
that must be the first so many of the other's. An end says with its last message that it is the
last; who hears of the end without that must have been left by a death.
"""

import asyncio
import random
import select
import time
from dataclasses import dataclass
from typing import Any

import treadle
from tests.crash import cancelling
from tests.crash.ground import SEQUENCES, contents
from tests.crash.journal import Act, Cell, Violation, Writer
from tests.crash.party import ROOM

# Notes that an end keeps room for, since it must receive all that the other still sends.
_RESERVED = 2100
_LITTLE = 1 << 20  # bytes on their way, far from making a sender wait
_BALLAST = bytes(1_000_000)  # of which few messages are enough for that
_NUMBER = 8  # bytes


@dataclass
class Line:
    """An end of a pipe, and who is at the other."""

    end: treadle.Connection
    other_end: treadle.Connection | None  # which a forked process inherits, and must let go
    sender: int  # the life that sends what this end receives
    receiver: int  # the life that receives what this end sends
    may_block: bool  # one of the two may wait until the other makes room, without receiving
    raw: bool  # bytes, and not objects
    exposed: bool  # waits with select, where it is a thread
    heavy: bool  # messages are large, and received slowly: senders wait for room


class _Party:
    """What threads and tasks have in common."""

    def __init__(self, journal: Writer, life: int, dice: random.Random, line: Line) -> None:
        self.journal = journal
        self.life = life
        self.dice = dice
        self.line = line
        self.end = line.end
        self.sent = 0
        self.received = 0
        self.peer_over = False

    def listen(self) -> None:
        self.journal.note(Act.RECEIVING_FROM, self.line.sender)

    def _contents(self, number: int) -> bytes:
        return contents(number) + _BALLAST if self.line.heavy else contents(number)

    def _pause(self) -> float:
        """Seconds before it receives again."""
        return 10 ** self.dice.uniform(-4, -2.3) if self.line.heavy else 0

    def next_message(self, last: bool) -> tuple[int, Any]:
        """Its number, and what is sent."""
        number = self.life * SEQUENCES + self.sent + 1
        if self.line.raw:
            return number, (number << 1 | last).to_bytes(_NUMBER, "little") + self._contents(number)
        return number, (number, last, self._contents(number))

    def note_message(self, message: Any) -> None:
        """What has been received is the next one, and whole."""
        if self.line.raw:
            word = int.from_bytes(message[:_NUMBER], "little")
            number, last, data = word >> 1, bool(word & 1), message[_NUMBER:]
        else:
            number, last, data = message
        self.received += 1
        self.journal.note(Act.RECEIVED, number)
        if number != self.line.sender * SEQUENCES + self.received:
            self.journal.note(Act.VIOLATION, Violation.OUT_OF_ORDER)
        if data != self._contents(number):
            self.journal.note(Act.VIOLATION, Violation.WRONG_BYTES)
        if last:
            self.peer_over = True
            self.journal.note(Act.PEER_OVER)

    def note_gone(self) -> None:
        self.journal.note(Act.PEER_GONE, self.line.receiver)


class EndThread(_Party):
    """A thread that sends and receives by turns."""

    def live(self, stop: Cell, steps: int) -> None:
        self.listen()
        try:
            while steps > 0 and not stop.value and self.journal.room() > _RESERVED:
                if self.dice.random() < 0.5:
                    self._send()
                else:
                    time.sleep(self._pause())
                    self._receive(in_vain=True)
                steps -= 1
            self._send(last=True)
        except BrokenPipeError:
            self.note_gone()
        except EOFError:
            self._end_without_peer()
            return
        # What was sent before the peer died is still to be had.
        try:
            while not self.peer_over:
                self._receive(in_vain=False)
        except EOFError:
            self._end_without_peer()
        else:
            self.end.close()

    def _send(self, last: bool = False) -> None:
        if not self.line.may_block and self.end.statistics().outgoing_bytes > _LITTLE and not last:
            return
        number, message = self.next_message(last)
        self.journal.note(Act.SENDING, number)
        self.end.send_bytes(message) if self.line.raw else self.end.send(message)
        self.sent += 1
        self.journal.note(Act.SENT, number)

    def _receive(self, in_vain: bool) -> None:
        """in_vain: only a while, where the other may be waiting for a message, too."""
        if self.peer_over:
            return
        if in_vain and (self.line.may_block or self.dice.random() < 0.5):
            if self.line.exposed:
                if not select.select([self.end], [], [], 0.003)[0]:
                    return
            elif not self.end.poll(0.003):
                return
        self.note_message(self.end.recv_bytes() if self.line.raw else self.end.recv())

    def _end_without_peer(self) -> None:
        self.note_gone()
        try:
            self.end.send_bytes(b"")
        except BrokenPipeError:
            pass
        else:
            self.journal.note(Act.VIOLATION, Violation.SENT_TO_NOBODY)


class EndTask(_Party):
    """Two tasks, each with a journal of its own: one sends, one receives; both are cancelled."""

    async def send_all(self, stop: Cell, steps: int, cancel: float) -> None:
        try:
            while steps > 0 and not stop.value and self.journal.room() > ROOM:
                if await cancelling.run(self._send, self.dice, cancel):
                    self.journal.note(Act.CANCELLED)
                if self.dice.random() < 0.3:
                    await asyncio.sleep(10 ** self.dice.uniform(-5, -2.5))
                steps -= 1
            await self._send(last=True)
        except BrokenPipeError:
            self.note_gone()

    async def receive_all(self, cancel: float) -> None:
        self.listen()
        try:
            while not self.peer_over:
                await asyncio.sleep(self._pause())
                cancelled = await cancelling.run(self._receive, self.dice, cancel)
                if cancelled and self.journal.room() > _RESERVED:
                    self.journal.note(Act.CANCELLED)
        except EOFError:
            self.note_gone()

    async def _send(self, last: bool = False) -> None:
        number, message = self.next_message(last)
        self.journal.note(Act.SENDING, number)
        try:
            if self.line.raw:
                await self.end.aio.send_bytes(message)
            else:
                await self.end.aio.send(message)
        except asyncio.CancelledError:
            self.journal.note(Act.NOT_SENT, number)
            raise
        self.sent += 1
        self.journal.note(Act.SENT, number)

    async def _receive(self) -> None:
        aio = self.end.aio
        self.note_message(await (aio.recv_bytes() if self.line.raw else aio.recv()))
