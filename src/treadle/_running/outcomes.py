"""What a call came to, and how that travels: a value, or an exception with its traceback.

Prior art: ``concurrent.futures.process``, which sends the traceback as a text that becomes the
cause of the exception. What it leaves out: whoever raises an exception that cannot be rebuilt
elsewhere learns that where it was raised, and not by a hang or a broken pool on the other side. So
an exception is rebuilt once before it is sent.
"""

from __future__ import annotations

import pickle
import traceback
from dataclasses import dataclass
from typing import Any

from treadle._core import import_lazily
from treadle._errors import RemoteTraceback, TaskError

__all__ = ["Outcome", "Report", "is_success", "portable"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call returned, or what it raised: another process's has its traceback as cause."""

    value: Any = None
    error: BaseException | None = None
    trace: str | None = None  # of another process's

    def __post_init__(self) -> None:
        if self.error is not None and self.trace is not None:
            self.error.__cause__ = RemoteTraceback(f"\n{self.trace}")

    def unwrap(self) -> Any:
        """Return the value, or raise the error."""
        if self.error is None:
            return self.value
        try:
            raise self.error
        finally:
            self = None  # type: ignore[assignment]  # no cycle with the traceback


@dataclass(frozen=True, slots=True)
class Report:
    """What a call raised, on its way to another process, where it becomes an Outcome."""

    error: BaseException
    trace: str

    def __reduce__(self) -> Any:
        return Outcome, (None, self.error, self.trace)


def portable(error: BaseException, who: str) -> Report:
    """The report of a call that raised, such that another process can rebuild it.

    who: what a message calls the one that raised it.
    """
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
