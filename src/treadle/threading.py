"""A drop-in for the standard library's ``threading``: ``from treadle import threading``.

Lock, RLock, Condition, Semaphore, BoundedSemaphore, Event, Barrier and Timer are treadle's, private
(``shared=False``); everything else, deprecated names included, is the standard library's own.

>>> from treadle import threading
>>> lock = threading.Lock()
>>> with lock:
...     lock.locked()
True
"""

import threading as _standard
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import treadle
from treadle._core import call_site

if TYPE_CHECKING:
    from threading import TIMEOUT_MAX as TIMEOUT_MAX
    from threading import BrokenBarrierError as BrokenBarrierError
    from threading import ExceptHookArgs as ExceptHookArgs
    from threading import Thread as Thread
    from threading import ThreadError as ThreadError
    from threading import active_count as active_count
    from threading import current_thread as current_thread
    from threading import enumerate as enumerate
    from threading import excepthook as excepthook
    from threading import get_ident as get_ident
    from threading import get_native_id as get_native_id
    from threading import getprofile as getprofile
    from threading import gettrace as gettrace
    from threading import local as local
    from threading import main_thread as main_thread
    from threading import setprofile as setprofile
    from threading import settrace as settrace
    from threading import stack_size as stack_size
else:
    from threading import *  # noqa: F403  what the running Python has

    __all__ = list(_standard.__all__)


class _FactoryType(type):
    """Lock and RLock are called as classes, and make exact ``treadle`` locks: those are fastest."""

    made: type

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.made)


class Lock(metaclass=_FactoryType):
    """A lock: ``treadle.Lock(shared=False)``, in place of ``threading.Lock``.

    >>> from treadle import threading
    >>> isinstance(threading.Lock(), threading.Lock)
    True
    """

    made = treadle.Lock

    def __new__(cls) -> treadle.Lock:  # type: ignore[misc]
        return treadle.Lock(shared=False, label=call_site())


class RLock(metaclass=_FactoryType):
    """A reentrant lock: ``treadle.RLock(shared=False)``, in place of ``threading.RLock``.

    >>> from treadle import threading
    >>> lock = threading.RLock()
    >>> with lock, lock:
    ...     lock.locked()
    True
    """

    made = treadle.RLock

    def __new__(cls) -> treadle.RLock:  # type: ignore[misc]
        return treadle.RLock(shared=False, label=call_site())


class Condition(treadle.Condition):
    """A condition variable: ``threading.Condition``.

    >>> from treadle import threading
    >>> condition = threading.Condition()
    >>> with condition:
    ...     condition.wait(timeout=0.01)
    False
    """

    name = None  # subclasses may have one of their own

    def __init__(self, lock: Any = None) -> None:
        super().__init__(lock, shared=False, label=call_site())

    if hasattr(_standard.Condition, "notifyAll"):

        def notifyAll(self) -> None:
            """Wakes all waiters; deprecated, use ``notify_all()``."""
            _deprecated("notifyAll", "notify_all")
            self.notify_all()


class Semaphore(treadle.Semaphore):
    """A counter of permits: ``threading.Semaphore``.

    >>> from treadle import threading
    >>> threading.Semaphore(0).acquire(blocking=False)
    False
    """

    name = None  # subclasses may have one of their own

    def __init__(self, value: int = 1) -> None:
        super().__init__(value, shared=False, label=call_site())


class BoundedSemaphore(treadle.BoundedSemaphore):
    """A semaphore that refuses more releases than acquires: ``threading.BoundedSemaphore``.

    >>> from treadle import threading
    >>> with threading.BoundedSemaphore(2) as had:
    ...     had
    True
    """

    name = None  # subclasses may have one of their own

    def __init__(self, value: int = 1) -> None:
        super().__init__(value, shared=False, label=call_site())


class Event(treadle.Event):
    """A flag to wait for: ``threading.Event``.

    >>> from treadle import threading
    >>> threading.Event().is_set()
    False
    """

    name = None  # subclasses may have one of their own

    def __init__(self) -> None:
        super().__init__(shared=False, label=call_site())

    if hasattr(_standard.Event, "isSet"):

        def isSet(self) -> bool:
            """Returns whether the flag is set; deprecated, use ``is_set()``."""
            _deprecated("isSet", "is_set")
            return self.is_set()


class Barrier(treadle.Barrier):
    """A point where threads wait for each other: ``threading.Barrier``.

    >>> from treadle import threading
    >>> threading.Barrier(1).wait()
    0
    """

    name = None  # subclasses may have one of their own

    def __init__(
        self, parties: int, action: Callable[[], object] | None = None, timeout: float | None = None
    ) -> None:
        super().__init__(parties, action, timeout, shared=False, label=call_site())


class Timer(treadle.Timer):
    """A call of a function after a while: ``threading.Timer``, without a thread of its own.

    >>> from treadle import threading
    >>> timer = threading.Timer(0.01, print, ["tick"])
    >>> timer.start()
    >>> timer.join()
    tick
    """


def _deprecated(old: str, new: str) -> None:
    warnings.warn(f"{old}() is deprecated, use {new}() instead", DeprecationWarning, stacklevel=3)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        return getattr(_standard, name)
