"""What each worker wrote about its life, in memory that outlives it.

One memory file for a whole campaign. Page 0 holds words that all lives change; each life
then has a journal of its own, a row of 64-bit words that ends with the first zero. A worker notes
what it is about to do, does it, and notes that it is done, each by one store: so a journal says,
whenever its writer was killed, which single step it was in.

Nothing here uses treadle: it is what treadle is checked against.
"""

import mmap
import os
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

JOURNAL_BYTES = 32 * 1024
_WORDS = JOURNAL_BYTES // 8
_COMMON_BYTES = mmap.PAGESIZE


class Act(IntEnum):
    """What a worker notes. -ING: it is about to; the rest: it is done."""

    PUTTING = 1  # number: the item; extra: its place in a batch
    PUT = 2
    REFUSED = 3  # the queue was full, or the task that put it was cancelled
    GETTING = 4  # number: how many at most
    GOT = 5  # number: the item
    GET_OVER = 6
    PUTTING_JOB = 7
    PUT_JOB = 8
    LEASING = 9
    LEASED = 10  # number: the job; extra: its count of deliveries
    NONE_LEASED = 11
    ACTED_ON = 12  # number: the job; its side effect has happened
    ACKING = 13
    ACKED = 14
    NACKING = 15
    NACKED = 16
    TAKING = 17  # a job, by get
    TAKEN = 18  # number: the job
    NONE_TAKEN = 19
    TASK_DONE = 20  # number: the job that was taken
    CHANGING = 21  # what a lock guards; number: which lock
    CHANGED = 22
    REPAIRED = 23  # number: which lock; its former owner had died
    ASKING_PERMIT = 24
    PERMIT_BACK = 25
    NO_PERMIT = 26
    BUSY = (
        27  # something that has no account: objects made and dropped, conditions, barriers, events
    )
    IDLE = 28
    VIOLATION = 29  # number: a Violation
    FAREWELL = 30  # the life ended as it should
    UNCHANGED = 31  # number: which lock; it was not had
    READING = 32  # what the RWLock guards
    READ_OVER = 33
    SIGNALLING = 34  # number: how many permits are given that nobody had
    SIGNALLED = 35
    LISTENING = 36  # for such a permit
    HEARD = 37
    NOT_HEARD = 38
    CANCELLED = 39  # a task's piece of work was cut short
    SENDING = 40  # number: the message, of those that this life sends
    SENT = 41
    NOT_SENT = 42  # cancelled; the next message has the same number
    RECEIVING_FROM = 43  # number: the life that sends what this life receives
    RECEIVED = 44  # number: the message
    PEER_OVER = 45  # the other end has said that it sends no more
    PEER_GONE = 46  # EOFError or BrokenPipeError; number: the life at the other end
    JOB_REFUSED = 47  # the task that put it was cancelled


class Violation(IntEnum):
    """What a worker saw that must never be."""

    LOCK_SHARED = 1  # somebody else was inside the lock
    WRONG_BYTES = 2  # an item did not arrive as it was put
    TOO_MANY_PERMITS = 3  # more live holders than permits
    LEASE_LOST = 4  # a lease that was held could not be settled
    PERMIT_REFUSED = 5  # a permit that was held could not be given back
    DEATH_UNTOLD = 6  # a lock's guarded state was torn, and nobody said that its owner had died
    EXCEPTION = 7  # an exception that no operation may raise; printed on standard error
    TORN = 8  # what a lock guards was torn for who held it
    OUT_OF_ORDER = 9  # a message was not the next one of its sender's
    SENT_TO_NOBODY = 10  # a send after the end of all raised nothing


class Entry(NamedTuple):
    act: Act
    number: int
    extra: int


class Journals:
    """The memory of a campaign; can be pickled for processes that do not inherit the mapping."""

    def __init__(self, lives: int) -> None:
        self.lives = lives
        self.descriptor = os.memfd_create("journals")
        os.ftruncate(self.descriptor, _COMMON_BYTES + lives * JOURNAL_BYTES)
        self._open()

    def _open(self) -> None:
        self._words = memoryview(mmap.mmap(self.descriptor, 0)).cast("Q")

    def __reduce__(self) -> tuple[object, ...]:
        return _reopen, (self.lives, os.getpid(), self.descriptor)

    def common(self, number: int) -> "Cell":
        assert 0 <= number < _COMMON_BYTES // 8
        return Cell(self._words, number)

    def writer(self, life: int) -> "Writer":
        assert 0 <= life < self.lives
        return Writer(self._words, (_COMMON_BYTES + life * JOURNAL_BYTES) // 8)

    def read(self, life: int) -> Iterator[Entry]:
        begin = (_COMMON_BYTES + life * JOURNAL_BYTES) // 8
        for word in self._words[begin : begin + _WORDS]:
            if word == 0:
                return
            yield Entry(Act(word >> 56), word & (1 << 40) - 1, word >> 40 & 0xFFFF)


def _reopen(lives: int, pid: int, descriptor: int) -> Journals:
    journals = Journals.__new__(Journals)
    journals.lives = lives
    journals.descriptor = os.open(f"/proc/{pid}/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
    journals._open()
    return journals


class Cell:
    """One word that all lives see."""

    def __init__(self, words: memoryview, index: int) -> None:
        self._words = words
        self._index = index

    @property
    def value(self) -> int:
        return int(self._words[self._index])

    @value.setter
    def value(self, value: int) -> None:
        self._words[self._index] = value


class Writer:
    """Writes one life's journal."""

    def __init__(self, words: memoryview, begin: int) -> None:
        self._words = words
        self._at = begin
        self._end = begin + _WORDS

    def note(self, act: Act, number: int = 0, extra: int = 0) -> None:
        self._words[self._at] = act << 56 | extra << 40 | number
        self._at += 1

    def room(self) -> int:
        """How many more notes fit; the last word stays zero."""
        return self._end - self._at - 1
