"""Thread: as ``threading.Thread``, with a result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from treadle._core import Event, Stoppable, import_lazily
from treadle._errors import TaskError
from treadle._running.outcomes import Outcome, is_success

if TYPE_CHECKING:
    from treadle.aio import Thread as AioThread

__all__ = ["Thread"]


class Thread(threading.Thread):
    """``threading.Thread`` with a result.

    ``result()`` tells what the target returned. An exception is reported by
    ``threading.excepthook`` as well, as with any thread, since nobody may ever ask for it.

    >>> import treadle
    >>> thread = treadle.Thread(target=sum, args=([1, 2, 3],))
    >>> thread.start()
    >>> thread.result()
    6
    """

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        super().__init__(group, target, name, daemon=daemon)  # the target, for the thread's name
        self._call: Any = (target, tuple(args), dict(kwargs or {}))
        self._stoppable = Stoppable()
        self._outcome: Outcome | None = None
        # Set when the call is over; None: by an overridden run(), of which nothing is known.
        self._tells = Event(shared=False) if type(self).run is Thread.run else None
        self._quiet = False  # whoever collects the result reports its error

    def run(self) -> None:
        """What the thread does: it calls the target.

        May be overridden, as in the standard library; then ``result()`` is None.

        >>> import treadle
        >>> treadle.Thread(target=print, args=("here",)).run()  # in this thread
        here
        """
        try:
            target, args, kwargs = self._call
            value = None if target is None else self._stoppable.call(target, args, kwargs)
        except SystemExit as end:  # no error of a thread's, and none that is to end who asks
            told = f"thread {self.name!r} ended itself by {end!r}: it has no result"
            self._outcome = Outcome() if is_success(end) else Outcome(error=TaskError(told))
        except BaseException as error:
            self._outcome = Outcome(error=error)
            if not self._quiet:
                raise
        else:
            self._outcome = Outcome(value)
        finally:
            self._call = target = args = kwargs = None  # no cycle: an argument may lead to this
            self._is_over()

    def _is_over(self) -> None:
        """The last thing that the thread does of its own."""
        if self._tells is not None:
            self._tells.set()

    def result(self, timeout: float | None = None) -> Any:
        """What the target returned; waits for the end of the thread.

        timeout: in seconds. Raises what the target raised (TaskError for SystemExit, but None after
        ``sys.exit()`` and ``sys.exit(0)``, which tell success); TimeoutError if the thread still
        runs; RuntimeError if it was not started.

        >>> import treadle
        >>> thread = treadle.Thread(target=divmod, args=(7, 2))
        >>> thread.start()
        >>> thread.result(timeout=60)
        (3, 1)
        """
        return self._outcome_in(timeout).unwrap()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What ``result()`` would raise, or None; TimeoutError is raised.

        >>> import treadle
        >>> thread = treadle.Thread(target=sum, args=([1],))
        >>> thread.start()
        >>> thread.exception() is None
        True
        """
        return self._outcome_in(timeout).error

    @property
    def aio(self) -> AioThread:
        """The same thread for tasks of event loops: a ``treadle.aio.Thread``.

        >>> import asyncio, treadle
        >>> thread = treadle.Thread(target=sum, args=([1, 2, 3],))
        >>> thread.start()
        >>> async def main():
        ...     await thread.aio.join()
        ...     return await thread.aio.result(timeout=60)
        >>> asyncio.run(main())
        6
        """
        view: AioThread = import_lazily("treadle.aio").Thread(self)
        return view

    def _check_asked(self) -> None:
        if self.ident is None:
            raise RuntimeError(f"thread {self.name!r} has no result yet: call start() first")

    def _still_runs(self, timeout: float | None) -> TimeoutError:
        return TimeoutError(f"thread {self.name!r} still runs after {timeout} s; ask again")

    def _outcome_so_far(self) -> Outcome:
        return self._outcome or Outcome()  # an overridden run() leaves none

    def _outcome_in(self, timeout: float | None) -> Outcome:
        self._check_asked()
        self.join(timeout)
        if self.is_alive():
            raise self._still_runs(timeout)
        return self._outcome_so_far()
