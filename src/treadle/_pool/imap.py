"""Results one after the other, of an input that is drawn as they are taken."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from treadle._core import Lock, Semaphore, SimpleQueue
from treadle._errors import Empty
from treadle._pool.calls import WHOLE
from treadle._pool.chunks import Chunks
from treadle._pool.dropped import elsewhere, when_dropped
from treadle._pool.engine import Engine, Part, Policy
from treadle._pool.results import NotReadyError
from treadle._running.outcomes import Outcome

__all__ = ["ImapIterator", "ImapJob"]

T = TypeVar("T")

_NO_BOUND = 1 << 29  # items
_LOT = 64  # items sent at once
_AT_HAND = (list, tuple, range, str, bytes)  # no item keeps one waiting, or raises
_LOTS = 4  # in which the room of an iterator is given back


class _Failed:
    """Instead of a value, among those of an iterator."""

    __slots__ = ("outcome",)

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


_END = object()


class ImapJob:
    """What feeds a pool from an iterable, and puts the results into a queue.

    A thread of its own draws the input, since an input may wait for what comes of the results; at
    most ``buffersize`` items are out, which is drawn and not taken by the consumer.
    """

    def __init__(
        self,
        engine: Engine,
        function: Callable[..., Any],
        how: int,
        iterable: Iterable[Any],
        chunks: Chunks,
        buffersize: int,
        policy: Policy,
        *,
        ordered: bool,
    ) -> None:
        self.function = function
        self.results: SimpleQueue[Any] = SimpleQueue(shared=False)
        self.engine = engine
        self._how = how
        self._chunks = chunks
        self._policy = policy
        self._ordered = ordered
        self._room = Semaphore(min(buffersize, _NO_BOUND), shared=False)
        self._buffersize = buffersize
        self._freely = False  # room is not limited any more
        self._changing = Lock(shared=False)
        self._waiting: dict[int, Any] = {}  # results whose turn has not come
        self._next = 0  # the index whose turn it is; unordered: how many came
        self._length: int | None = None
        self._closed = False
        self._taken = 0
        engine.feed(self)
        self._feeder = threading.Thread(
            target=self._feed, args=(iterable,), name="treadle-imap", daemon=True
        )
        self._feeder.start()

    def took(self) -> None:
        """The consumer has taken one. Room is given back in lots: it wakes the feeding thread."""
        self._taken += 1
        if self._taken * _LOTS >= self._buffersize:
            taken, self._taken = self._taken, 0
            self._room.release(taken)

    def close(self) -> None:
        """Nobody takes any more results: draw no more, and run nothing more."""
        with self._changing:
            if self._closed:
                return
            self._closed = True
        self._room.release(2)
        self.engine.cancel_job(self)

    def close_soon(self) -> None:
        """As close(), for where a lock may be held: no more is drawn from now on."""
        if not self._closed:
            self._closed = True
            self._room.release(2)
            elsewhere(self.engine.cancel_job, self)

    # ---- Drawing

    def _feed(self, iterable: Iterable[Any]) -> None:
        index = 0
        try:
            sent = self.engine.crew.prepared(self.function)
            iterator = iter(iterable)
            at_once = _LOT if type(iterable) in _AT_HAND else 1
            while not self._closed:
                problem: BaseException | None = None
                if self._chunks.singly:  # _drawn would cost more than all the rest here
                    room = self._room_for(at_once)
                    part = list(islice(iterator, room))
                    over = len(part) < room  # what room is left is nobody's to give back
                else:
                    part, problem = self._drawn(iterator)
                    over = not part and problem is None
                if part:
                    index = self._submit(part, index, sent)
                    del part
                if problem is not None:
                    raise problem
                if over:
                    break
        except BaseException as error:
            self._fail(index, Outcome(error=error))
            index += 1
            del error
        finally:
            self._set_length(index)
            self.engine.fed(self)

    def _room_for(self, items: int) -> int:
        """How many of these may be drawn; waits for the first."""
        acquire = self._room.acquire
        acquire()
        room = 1
        while room < items and acquire(False):
            room += 1
        return 0 if self._closed else room

    def _submit(self, part: list[Any], index: int, sent: Any) -> int:
        """Returns the index of the next."""
        given = self._how, part, index, self._policy, sent
        if self._chunks.singly:
            batches = self.engine.submit_each(self, *given)
        else:
            batch = self.engine.submit(self, *given)
            batches = () if batch is None else (batch,)
        if self._closed:  # meanwhile
            for batch in batches:
                self.engine.cancel(batch)
        return index + len(part)

    def _drawn(self, iterator: Iterator[Any]) -> tuple[list[Any], BaseException | None]:
        """Items for a chunk, and what the input raised after them; no item where it has ended."""
        part: list[Any] = []
        size = self._chunks.size()
        while len(part) < size and self._room.acquire(blocking=not part) and not self._closed:
            try:
                part.append(next(iterator))
            except StopIteration:
                break
            except BaseException as error:
                return part, error
        return part, None

    # ---- For the engine

    def _deliver(self, parts: Sequence[Part]) -> None:
        """As engine.Job says."""
        with self._changing:
            if not self._chunks.singly:
                for _, values, seconds in parts:
                    self._chunks.took(len(values), seconds)
            self._put([(index, values) for index, values, _ in parts])

    def _fail(self, index: int, outcome: Outcome) -> None:
        """As engine.Job says."""
        with self._changing:
            if index == WHOLE:
                self._closed = True  # draw no more
                self._room.release(2)
                self._length = self._next = sys.maxsize
                self.results.put(_Failed(outcome))
                self.results.put(_END)
            else:
                self._put([(index, (_Failed(outcome),))])

    def _draw_freely(self) -> None:
        """As engine.Job says."""
        if not self._freely:
            self._freely = True
            self._room.release(_NO_BOUND)

    def _put(self, parts: Sequence[tuple[int, Sequence[Any]]]) -> None:
        """On to the consumer, as far as it is their turn."""
        due: list[Any] = []
        if not self._ordered:
            for _, values in parts:
                due.extend(values)
            self._next += len(due)
        else:
            waiting = self._waiting
            for index, values in parts:
                if index != self._next:
                    waiting[index] = values
                    continue
                while True:
                    due.extend(values)
                    self._next += len(values)
                    if not waiting or (following := waiting.pop(self._next, None)) is None:
                        break
                    values = following
        if due:
            self.results.put_many(due)
        if self._next == self._length:
            self.results.put(_END)

    def _set_length(self, length: int) -> None:
        with self._changing:
            if self._length is None:
                self._length = length
                if self._next == length or self._closed:
                    self.results.put(_END)


class ImapIterator(Iterator[T]):
    """The results of ``Pool.imap`` and ``Pool.imap_unordered``, one after the other.

    >>> import treadle
    >>> with treadle.Pool(2, kind="thread") as pool:
    ...     results = pool.imap(abs, [-1, -2, -3])
    ...     next(results), results.next(timeout=60), list(results)
    (1, 2, [3])
    """

    __module__ = "treadle"  # the name that reports show

    def __init__(self, job: ImapJob, keep: object, *, cancel_when_dropped: bool = True) -> None:
        self._job = job
        self._keep = keep  # the pool
        self._over = False
        self._dropped: Any = None
        if cancel_when_dropped:
            self._dropped = when_dropped(self, job.close)

    def __iter__(self) -> ImapIterator[T]:
        return self

    def next(self, timeout: float | None = None) -> T:
        """The next result, or what its call raised; waits for it.

        timeout: in seconds; then TimeoutError is raised (which is multiprocessing's as well).
        After an error the iteration goes on with the next result.

        >>> import treadle
        >>> with treadle.Pool(2, kind="thread") as pool:
        ...     pool.imap(abs, [-1]).next(timeout=60)
        1
        """
        if self._over:
            raise StopIteration
        results = self._job.results
        if results.empty():
            self._job.engine.check_here()
        try:
            result = results.get(timeout=timeout)
        except Empty:
            raise NotReadyError(f"no result after {timeout} s: ask again") from None
        return self._settled(result)

    __next__ = next

    def close(self) -> None:
        """Draw no more of the input, and cancel what is being done.

        So it happens as well when the iterator is dropped.

        >>> import itertools, treadle
        >>> with treadle.Pool(2, kind="thread") as pool:
        ...     results = pool.imap(abs, itertools.count(-3))
        ...     next(results)
        ...     results.close()
        3
        """
        self._over = True
        self._job.close()

    def _settled(self, result: Any) -> T:
        if result is _END:
            self._over = True
            if self._dropped is not None:
                self._dropped.detach()  # there is nothing left to close
            self._keep = None
            raise StopIteration
        self._job.took()
        if type(result) is _Failed:
            result.outcome.unwrap()
        value: T = result
        return value
