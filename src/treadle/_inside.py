"""What the standard library's classes have inside, and treadle's drop-ins for asyncio do not."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["KEPT_NATIVELY", "Inside"]


class Inside:
    """A part of the pure Python classes that there is not: what says so, and what there is.

    A subclass, or an instance, may have one of that name.
    """

    def __init__(self, hint: str) -> None:
        self._hint = hint

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise AttributeError(f"treadle.asyncio.{owner.__name__} has no {self._name}: {self._hint}")


KEPT_NATIVELY = "who waits is kept natively; repr() says how many do"
