"""What a call came to, and how that travels: a value, or an exception with its traceback.

Prior art: ``concurrent.futures.process``, which sends the traceback as a text that becomes the
cause of the exception. What it leaves out: whoever raises an exception that cannot be rebuilt
elsewhere learns that where it was raised, and not by a hang or a broken pool on the other side. So
an exception is rebuilt once before it is sent.
"""

from __future__ import annotations

import pickle

from treadle._core import import_lazily
from treadle._errors import RemoteTraceback, TaskError

TYPE_CHECKING = False  # type checkers know the name; typing takes a while to import
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Outcome", "Report", "is_success", "portable"]


class Outcome:
    """What a call returned, or what it raised: another process's has its traceback as cause."""

    __slots__ = ("error", "value")

    def __init__(
        self, value: Any = None, error: BaseException | None = None, trace: str | None = None
    ) -> None:
        self.value = value
        self.error = error
        if error is not None and trace is not None:
            error.__cause__ = RemoteTraceback(f"\n{trace}")

    def unwrap(self) -> Any:
        """Return the value, or raise the error."""
        if self.error is None:
            return self.value
        try:
            raise self.error
        finally:
            self = None  # type: ignore[assignment]  # no cycle with the traceback


class Report:
    """What a call raised, on its way to another process, where it becomes an Outcome."""

    __slots__ = ("error", "trace")

    def __init__(self, error: BaseException, trace: str) -> None:
        self.error = error
        self.trace = trace

    def __reduce__(self) -> Any:
        return Outcome, (None, self.error, self.trace)


def portable(error: BaseException, who: str) -> Report:
    """The report of a call that raised, such that another process can rebuild it.

    who: what a message calls the one that raised it.
    """
    import traceback  # which takes a while, and most workers never need

    trace = "".join(traceback.format_exception(error))
    try:
        _rebuilt(error)
    except Exception as problem:
        error = TaskError(
            f"{who} raised an exception that cannot be pickled and rebuilt ({problem!r}):"
            f" {''.join(traceback.format_exception_only(error)).strip()}"
        )
    return Report(error, trace)


def is_success(end: SystemExit) -> bool:
    """Whether that says that all went well, as ``sys.exit()`` and ``sys.exit(0)`` do."""
    return end.code is None or end.code == 0


def _rebuilt(error: BaseException) -> object:
    try:
        pickled = pickle.dumps(error)
    except Exception as problem:
        pickled = import_lazily("treadle._by_value").dumps(error, problem)
    return pickle.loads(pickled)
