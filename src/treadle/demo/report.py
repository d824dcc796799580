"""The report: one JSON object a line, one line a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Self

from treadle.demo.content import kind_other_than_file
from treadle.demo.display import shown
from treadle.demo.messages import Done, Refused
from treadle.demo.run import DemoError


class ReportWriter:
    """Writes results as JSON lines to ``path``, replacing what was there.

    Lone surrogates (names that are not UTF-8) are escaped, so that the names come back unchanged.
    Whatever goes wrong with the file is a `DemoError`.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            # A FIFO without a reader is refused by O_NONBLOCK, where it would be waited for.
            descriptor = os.open(
                path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY, 0o666
            )
        except OSError as error:
            raise DemoError(_cannot(path, error.strerror), exit_code=2) from None
        self._file = os.fdopen(descriptor, "w", encoding="ascii")
        kind = kind_other_than_file(os.fstat(descriptor))
        if kind is not None:
            self._file.close()
            raise DemoError(_cannot(path, f"it is {kind}, and is read again"), exit_code=2)
        self._file.truncate()

    def write(self, result: Done | Refused) -> None:
        """Add one line."""
        with _trouble_as_demo_error(self.path):
            self._file.write(json.dumps(asdict(result)) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with _trouble_as_demo_error(self.path):
            self._file.close()


def read_report(path: str) -> Iterator[Done | Refused]:
    """Yield the results in the report at ``path``, in its order."""
    with open(path, encoding="ascii") as file:
        for line in file:
            fields = json.loads(line)
            yield Refused(**fields) if "problem" in fields else Done(**fields)


def _cannot(path: str, reason: str | None) -> str:
    return f"the report {shown(path)} cannot be written: {reason}; give another --report FILE"


@contextmanager
def _trouble_as_demo_error(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DemoError(_cannot(path, error.strerror)) from None
