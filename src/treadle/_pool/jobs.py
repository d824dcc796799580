"""What a caller of a pool waits for: one result, a list of them, or one after the other."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from itertools import islice
from typing import Any, Generic, TypeVar

from treadle._core import Event, Lock, Semaphore, SimpleQueue
from treadle._errors import Empty
from treadle._pool.calls import LANE, WHOLE
from treadle._pool.chunks import Chunks
from treadle._pool.dropped import when_dropped
from treadle._pool.engine import Batch, Engine, Policy
from treadle._pool.lanes import Lane, Lanes
from treadle._running.outcomes import Outcome

__all__ = ["AsyncResult", "ImapIterator", "MapResult", "NotReadyError"]

T = TypeVar("T")
_Handler = Callable[[tuple[Any, ...]], object]

_NO_BOUND = 1 << 29  # items
_LOTS = 4  # in which the room of an iterator is given back
_AHEAD = 2  # batches a worker that a map keeps sent, so that none waits for the next


class NotReadyError(TimeoutError, multiprocessing.TimeoutError):
    """The result is not there yet: ask again, or ``cancel()``."""


class AsyncResult(Generic[T]):
    """The result of a call that a pool makes, from ``Pool.apply_async`` and the like.

    >>> import treadle
    >>> with treadle.Pool(1, kind="thread") as pool:
    ...     result = pool.apply_async(divmod, (7, 2))
    ...     result.get()
    (3, 1)
    """

    __module__ = "treadle"  # the name that reports show

    def __init__(
        self,
        engine: Engine,
        function: Callable[..., Any],
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        keep: object = None,
    ) -> None:
        self.function = function
        self._engine = engine
        self._callback = callback
        self._error_callback = error_callback
        self._keep = keep  # the pool, which is not to be collected before this is done
        self._done = Event(shared=False)
        self._outcome = Outcome()
        self._settling = Lock(shared=False)
        self._batch: Batch | None = None
        self._lane: Lane | None = None  # where its caller waits

    def get(self, timeout: float | None = None) -> T:
        """The value, or what the call raised; waits for it.

        timeout: in seconds. Raises TimeoutError (which is multiprocessing's as well) if it is not
        there by then.

        >>> import treadle
        >>> with treadle.Pool(1, kind="thread") as pool:
        ...     pool.apply_async(divmod, (7, 2)).get(timeout=60)
        (3, 1)
        """
        if not self._done.wait(timeout):
            raise NotReadyError(f"no result after {timeout} s: ask again, or cancel()")
        result: T = self._outcome.unwrap()
        return result

    def wait(self, timeout: float | None = None) -> None:
        """Wait until there is a result, for so many seconds at most.

        >>> import treadle
        >>> with treadle.Pool(1, kind="thread") as pool:
        ...     pool.apply_async(divmod, (7, 2)).wait(timeout=60)
        """
        self._done.wait(timeout)

    def ready(self) -> bool:
        """Whether there is a result.

        >>> import treadle
        >>> with treadle.Pool(1, kind="thread") as pool:
        ...     result = pool.apply_async(divmod, (7, 2))
        ...     result.wait()
        ...     result.ready()
        True
        """
        return self._done.is_set()

    def successful(self) -> bool:
        """Whether the call raised nothing. Raises ValueError if there is no result yet.

        >>> import treadle
        >>> with treadle.Pool(1, kind="thread") as pool:
        ...     result = pool.apply_async(divmod, (7, 0))
        ...     result.wait()
        ...     result.successful()
        False
        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._outcome.error is None

    def cancel(self) -> bool:
        """Have the call not made, or stopped if it is being made; False if it is over already.

        ``get()`` then raises ``concurrent.futures.CancelledError``. A worker process that is
        stopped is replaced; in a worker thread CancelledError is raised where it next runs Python
        code.

        >>> import time, treadle
        >>> with treadle.Pool(1, kind="process", start_method="fork") as pool:
        ...     result = pool.apply_async(time.sleep, (1000,))
        ...     result.cancel()
        True
        """
        batch = self._batch
        if not self._settle(Outcome(error=CancelledError("the call was cancelled"))):
            return False
        self._cancel_batches(batch)
        return True

    def _cancel_batches(self, batch: Batch | None = None) -> None:
        if batch is not None and (not self._engine.cancel(batch) or batch.policy.retries):
            self._engine.cancel_job(self)

    def _start(self, how: int, item: Any, policy: Policy) -> None:
        try:
            sent = self._engine.crew.prepared(self.function)
        except Exception as error:
            self._settle(Outcome(error=error))
            return
        batch = self._engine.submit(self, how, (item,), 0, policy, sent)
        if not self._done.is_set():
            self._batch = batch

    def _made(self, how: int, item: Any, policy: Policy, lanes: Lanes, handle: _Handler) -> T:
        """Make the call, by a lane if one is free, and return its value or raise its error."""
        lane = lanes.take()
        if lane is None:
            self._start(how, item, policy)
            return self.get()
        self._lane = lane
        try:
            self._start(how + lane.number * LANE, item, policy)
            lane.attend(self._done.is_set, handle)
        except BaseException:  # an interrupt
            self._settle(Outcome(error=CancelledError("whoever waited for it was interrupted")))
            self._engine.abandon(self)
            raise
        finally:
            self._lane = None
            lanes.give_back(lane)
        value: T = self._outcome.unwrap()
        return value

    # ---- For the engine

    def _deliver(self, index: int, values: Sequence[Any], seconds: float) -> None:
        """As engine.Job says."""
        self._settle(Outcome(values[0]))

    def _fail(self, index: int, outcome: Outcome) -> None:
        """As engine.Job says."""
        self._settle(outcome)

    def _draw_freely(self) -> None:
        """As engine.Job says: it never waits for that."""

    def _settle(self, outcome: Outcome) -> bool:
        with self._settling:
            if self._done.is_set():
                return False
            self._outcome = outcome
            self._done.set()
        if self._lane is not None:
            self._lane.knock()
        self._keep = self._batch = None  # which leads to the arguments, and back
        if outcome.error is None:
            callback: Callable[[Any], object] | None = self._callback
        else:
            callback = self._error_callback
        self._callback = self._error_callback = None
        if callback is not None:
            _call_back(callback, outcome.value if outcome.error is None else outcome.error)
        return True


def _call_back(callback: Callable[[Any], object], argument: Any) -> None:
    """What a callback raises is reported as a thread's is, and costs nobody else anything."""
    try:
        callback(argument)
    except BaseException as error:
        if not isinstance(error, Exception) and _in_main_thread():
            raise  # such as Ctrl-C
        report = error.__class__, error, error.__traceback__, threading.current_thread()
        threading.excepthook(threading.ExceptHookArgs(report))


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


class MapResult(AsyncResult[list[T]]):
    """The results of calls with each of many items, in the order of these.

    >>> import treadle
    >>> with treadle.Pool(1, kind="thread") as pool:
    ...     isinstance(pool.map_async(abs, [-1]), treadle.MapResult)
    True
    """

    __module__ = "treadle"  # the name that reports show

    def __init__(
        self,
        engine: Engine,
        function: Callable[..., Any],
        how: int,
        items: list[Any],
        chunks: Chunks,
        workers: int,
        policy: Policy,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        keep: object = None,
    ) -> None:
        super().__init__(engine, function, callback, error_callback, keep)
        self._how = how
        self._items = items
        self._chunks = chunks
        self._ahead = _AHEAD * workers
        self._policy = policy
        self._values: list[Any] = [None] * len(items)
        self._error: Outcome | None = None
        self._left = len(items)  # without a result
        self._sent = 0  # items
        self._out = 0  # items sent, and without a result
        self._changing = Lock(shared=False)
        self._feeding = False

    def _start_all(self) -> None:
        if not self._items:
            self._settle(Outcome([]))
            return
        try:
            self._prepared = self._engine.crew.prepared(self.function)
        except Exception as error:
            self._settle(Outcome(error=error))
            return
        self._engine.feed(self)
        self._feed()

    def _feed(self) -> None:
        """Send more, unless enough is sent, or another thread (or call) is at it."""
        while True:
            with self._changing:
                if self._feeding or self._done.is_set():
                    return
                left = len(self._items) - self._sent
                size = self._chunks.size(left)
                if left == 0 or self._out >= self._ahead * size:
                    return
                self._feeding = True
                first, self._sent = self._sent, min(self._sent + size, len(self._items))
                part = self._items[first : self._sent]
                self._out += len(part)
                last = self._sent == len(self._items)
            try:
                self._engine.submit(self, self._how, part, first, self._policy, self._prepared)
            except BaseException as error:  # SystemExit, raised by pickling; Ctrl-C
                self._settle(Outcome(error=error))
                last = True
                if _in_main_thread():
                    raise
            finally:
                self._feeding = False
                if self._done.is_set():  # cancelled meanwhile
                    self._cancel_batches()
            if last:
                self._items = self._items[:0]
                self._sent = 0
                self._engine.fed(self)
                return

    def _cancel_batches(self, batch: Batch | None = None) -> None:
        self._engine.fed(self)
        self._engine.cancel_job(self)

    # ---- For the engine

    def _deliver(self, index: int, values: Sequence[Any], seconds: float) -> None:
        """As engine.Job says."""
        self._values[index : index + len(values)] = values
        with self._changing:
            self._chunks.took(len(values), seconds)
        self._count(len(values))

    def _fail(self, index: int, outcome: Outcome) -> None:
        """As engine.Job says."""
        if index == WHOLE:
            self._settle(outcome)
            return
        with self._changing:
            self._error = self._error or outcome
        self._count(1)

    def _count(self, items: int) -> None:
        with self._changing:
            self._left -= items
            self._out -= items
            done = self._left == 0
        if done:
            self._settle(self._error or Outcome(self._values))
        else:
            self._feed()


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
        self._engine = engine
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
        self._engine.cancel_job(self)

    # ---- Drawing

    def _feed(self, iterable: Iterable[Any]) -> None:
        index = 0
        try:
            sent = self._engine.crew.prepared(self.function)
            iterator = iter(iterable)
            singly, acquire = self._chunks.singly, self._room.acquire
            while not self._closed:
                problem: BaseException | None = None
                if singly:  # _drawn would cost more than all the rest here
                    acquire()
                    part = list(islice(iterator, 1))
                    if self._closed:
                        break
                else:
                    part, problem = self._drawn(iterator)
                if part:
                    batch = self._engine.submit(self, self._how, part, index, self._policy, sent)
                    index += len(part)
                    if batch is not None and self._closed:  # meanwhile
                        self._engine.cancel(batch)
                    del part, batch
                elif problem is None:
                    break
                if problem is not None:
                    raise problem
        except BaseException as error:
            self._fail(index, Outcome(error=error))
            index += 1
            del error
        finally:
            self._set_length(index)
            self._engine.fed(self)

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

    def _deliver(self, index: int, values: Sequence[Any], seconds: float) -> None:
        """As engine.Job says."""
        with self._changing:
            self._chunks.took(len(values), seconds)
            self._put(index, values)

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
                self._put(index, (_Failed(outcome),))

    def _draw_freely(self) -> None:
        """As engine.Job says."""
        if not self._freely:
            self._freely = True
            self._room.release(_NO_BOUND)

    def _put(self, index: int, values: Sequence[Any]) -> None:
        if not self._ordered:
            self._next += len(values)
            self.results.put_many(values)
        elif index != self._next:
            self._waiting[index] = values
            return
        else:
            waiting = self._waiting
            while True:
                self.results.put_many(values)
                self._next += len(values)
                if not waiting:
                    break
                following = waiting.pop(self._next, None)
                if following is None:
                    break
                values = following
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
        try:
            result = self._job.results.get(timeout=timeout)
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
