"""What a caller of a pool waits for: one result, or a list of them."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import Any, Generic, TypeVar

from treadle._core import Event, Lock
from treadle._pool.calls import LANE, WHOLE
from treadle._pool.chunks import Chunks
from treadle._pool.engine import Batch, Engine, Part, Policy
from treadle._pool.lanes import Lane, Lanes
from treadle._running.outcomes import Outcome

__all__ = ["AsyncResult", "MapResult", "NotReadyError"]

T = TypeVar("T")
_Handler = Callable[[tuple[Any, ...]], object]

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
        there by then, RuntimeError in a child of fork, to which no result comes.

        >>> import treadle
        >>> with treadle.Pool(1, kind="thread") as pool:
        ...     pool.apply_async(divmod, (7, 2)).get(timeout=60)
        (3, 1)
        """
        if not self._wait(timeout):
            raise NotReadyError(f"no result after {timeout} s: ask again, or cancel()")
        result: T = self._outcome.unwrap()
        return result

    def wait(self, timeout: float | None = None) -> None:
        """Wait until there is a result, for so many seconds at most.

        >>> import treadle
        >>> with treadle.Pool(1, kind="thread") as pool:
        ...     pool.apply_async(divmod, (7, 2)).wait(timeout=60)
        """
        self._wait(timeout)

    def _wait(self, timeout: float | None) -> bool:
        if not self._done.is_set():
            self._engine.check_here()
        return self._done.wait(timeout)

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

    def _deliver(self, parts: Sequence[Part]) -> None:
        """As engine.Job says."""
        _, (value,), _ = parts[0]
        self._settle(Outcome(value))

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
        items: Sequence[Any],
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
                part = list(self._items[first : self._sent])
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

    def _deliver(self, parts: Sequence[Part]) -> None:
        """As engine.Job says."""
        items = 0
        for index, values, _ in parts:
            self._values[index : index + len(values)] = values
            items += len(values)
        with self._changing:
            for _, values, seconds in parts:
                self._chunks.took(len(values), seconds)
        self._count(items)

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
