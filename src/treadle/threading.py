"""A drop-in for the standard library's ``threading``: ``from treadle import threading``.

Lock, RLock, Condition, Semaphore, BoundedSemaphore, Event, Barrier and Timer are treadle's, private
(``shared=False``); everything else, deprecated names included, is the standard library's own.

>>> from treadle import threading
>>> lock = threading.Lock()
>>> with lock:
...     lock.locked()
True
"""

import abc
import sys
import threading as _standard
import types
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import treadle
from treadle._core import call_site

if TYPE_CHECKING:
    from threading import TIMEOUT_MAX as TIMEOUT_MAX
    from threading import BrokenBarrierError as BrokenBarrierError
    from threading import ExceptHookArgs as ExceptHookArgs
    from threading import Thread as Thread
    from threading import ThreadError as ThreadError
    from threading import __excepthook__ as __excepthook__
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
    from threading import __excepthook__ as __excepthook__

    __all__ = list(_standard.__all__)

    class _Module(types.ModuleType):
        """Threads call the hook of the standard module: so it is set there, and read from there."""

        @property
        def excepthook(self):
            return _standard.excepthook

        @excepthook.setter
        def excepthook(self, hook):
            _standard.excepthook = hook

    del excepthook
    sys.modules[__name__].__class__ = _Module


class _FactoryType(type):
    """Lock and RLock are called as classes, and make exact ``treadle`` locks: those are fastest."""

    made: type

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.made)


if TYPE_CHECKING:

    class Lock(treadle.Lock, metaclass=_FactoryType):  # what annotations mean by it
        made: ClassVar[type]

        def __init__(self) -> None: ...

    class RLock(treadle.RLock, metaclass=_FactoryType):
        made: ClassVar[type]

        def __init__(self) -> None: ...

else:

    class Lock(metaclass=_FactoryType):
        """A lock: ``treadle.Lock(shared=False)``, in place of ``threading.Lock``.

        >>> from treadle import threading
        >>> isinstance(threading.Lock(), threading.Lock)
        True
        """

        made = treadle.Lock

        def __new__(cls):
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

        def __new__(cls):
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


class Semaphore(treadle.Semaphore, metaclass=abc.ABCMeta):
    """A counter of permits: ``threading.Semaphore``.

    >>> from treadle import threading
    >>> threading.Semaphore(0).acquire(blocking=False)
    False
    """

    name = None  # subclasses may have one of their own

    def __init__(self, value: int = 1) -> None:
        super().__init__(value, shared=False, label=call_site())


if TYPE_CHECKING:

    class BoundedSemaphore(Semaphore):  # what it is to isinstance()
        pass

else:

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

    Semaphore.register(BoundedSemaphore)


class Event(treadle.Event):
    """A flag to wait for: ``threading.Event``.

    >>> from treadle import threading
    >>> threading.Event().is_set()
    False
    """

    name = None  # subclasses may have one of their own

    def __init__(self) -> None:
        super().__init__(shared=False, label=call_site())

    def __bool__(self) -> bool:  # type: ignore[override]
        return True  # programs say `stop or threading.Event()`

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

    def __new__(cls, parties: int = 1, *args: Any, **kwargs: Any) -> Any:
        if cls is Barrier and parties < 1:  # an error or not, as the running Python has it
            return _standard.Barrier(parties, *args, **kwargs)
        return super().__new__(cls)

    def __init__(
        self, parties: int, action: Callable[[], object] | None = None, timeout: float | None = None
    ) -> None:
        super().__init__(parties, action, timeout, shared=False, label=call_site())


class _TimerType(abc.ABCMeta):  # so that subclasses may be abstract, as the standard library's
    """A subclass with a ``run`` of its own expects that to begin with ``start``, and waits there.

    That takes a thread for each: such a subclass is made one of the standard library's Timer.
    """

    def __new__(
        cls, name: str, bases: tuple[type, ...], members: dict[str, Any], **options: Any
    ) -> Any:
        known = (*treadle.Timer.__mro__, *(Timer.__mro__ if bases != (treadle.Timer,) else ()))
        others = [vars(each) for base in bases for each in base.__mro__ if each not in known]
        if bases != (treadle.Timer,) and any("run" in each for each in [members, *others]):
            standard = tuple(_standard.Timer if base is Timer else base for base in bases)
            return types.new_class(name, standard, options, lambda own: own.update(members))
        return super().__new__(cls, name, bases, members, **options)

    def __instancecheck__(cls, instance: object) -> bool:
        return cls.__subclasscheck__(type(instance))

    def __subclasscheck__(cls, of: type) -> bool:
        return super().__subclasscheck__(of) or (cls is Timer and issubclass(of, _standard.Timer))


class Timer(treadle.Timer, metaclass=_TimerType):
    """A call of a function after a while: ``threading.Timer``, without a thread of its own.

    It has one while its function runs, however many do: a function may wait for another timer's. A
    subclass with a ``run`` of its own is the standard library's, with a thread for each timer.

    >>> from treadle import threading
    >>> timer = threading.Timer(0.01, print, ["tick"])
    >>> timer.start()
    >>> timer.join()
    tick
    """

    _any_number_at_once = True
    _returned = False
    _finished: "Event | None" = None

    @property
    def finished(self) -> Event:
        """An event that is set once the function has returned, or the timer was cancelled."""
        event: Event = self.__dict__.setdefault("_finished", Event())
        if self._returned:  # or it will see the event
            event.set()
        return event

    def cancel(self) -> bool:
        """As ``treadle.Timer.cancel``."""
        cancelled = super().cancel()
        self._finish()
        return cancelled

    def run(self) -> None:
        """Calls the function."""
        super().run()
        self._finish()

    def _finish(self) -> None:
        self._returned = True
        if self._finished is not None:
            self._finished.set()

    if hasattr(_standard.Thread, "setDaemon"):

        def getName(self) -> str:
            """Returns the name; deprecated, use the name attribute."""
            _deprecated_accessor("getName", "get the name")
            return self.name

        def setName(self, name: str) -> None:
            """Sets the name; deprecated, use the name attribute."""
            _deprecated_accessor("setName", "set the name")
            self.name = name

        def isDaemon(self) -> bool:
            """Returns whether it is a daemon; deprecated, use the daemon attribute."""
            _deprecated_accessor("isDaemon", "get the daemon")
            return self.daemon

        def setDaemon(self, daemonic: bool) -> None:
            """Makes it a daemon, or not; deprecated, use the daemon attribute."""
            _deprecated_accessor("setDaemon", "set the daemon")
            self.daemon = daemonic


def _deprecated(old: str, new: str) -> None:
    warnings.warn(f"{old}() is deprecated, use {new}() instead", DeprecationWarning, stacklevel=3)


def _deprecated_accessor(old: str, new: str) -> None:
    message = f"{old}() is deprecated, {new} attribute instead"
    warnings.warn(message, DeprecationWarning, stacklevel=3)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name.startswith("__"):  # by asyncio's __path__, its modules would be imported once more
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(_standard, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *(name for name in dir(_standard) if name[:2] != "__")})
