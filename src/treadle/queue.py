"""A drop-in for the standard library's ``queue``: ``from treadle import queue``.

Its queues are private (``shared=False``): they pass references between the threads, and by ``.aio``
the tasks, of one process. Everything else is the standard library's own.

>>> from treadle import queue
>>> jobs = queue.Queue(maxsize=1)
>>> jobs.put("job")
>>> jobs.full()
True
"""

import queue as _standard
from typing import TYPE_CHECKING, Any

from treadle._core import PrivateLifoQueue as LifoQueue
from treadle._core import PrivatePriorityQueue as PriorityQueue
from treadle._core import PrivateQueue as Queue
from treadle._core import PrivateSimpleQueue as SimpleQueue
from treadle._errors import Empty, Full, ShutDown

__all__ = ["Empty", "Full", "LifoQueue", "PriorityQueue", "Queue", "ShutDown", "SimpleQueue"]

if not TYPE_CHECKING:
    # Whatever else the running Python has.
    def __getattr__(name: str) -> Any:
        if name.startswith("__"):  # by asyncio's __path__, its modules would be imported once more
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(_standard, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *(name for name in dir(_standard) if name[:2] != "__")})
