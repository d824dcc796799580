"""A case: one kind of work, those who do it, and what treadle has to reach."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from treadle.benchmarks.units import Unit

Measure = Callable[[float], float]
"""Measures its contender once, for about the given number of seconds.

Returns one value in the unit of its case; raises ImportError or Unavailable where the contender
is not to be had on this machine."""


class Unavailable(Exception):
    """The contender cannot run here; the message says why, and ends up in its row."""


@dataclass(frozen=True)
class Comparison:
    """A row of the table: `subject` beside `rival`.

    `target` is the ratio of their medians (subject by rival) that is promised: the largest allowed
    where less is better, the smallest allowed where more is better. None: shown, nothing promised.
    """

    subject: str
    rival: str
    target: float | None = None


@dataclass(frozen=True)
class Limit:
    """A row of the table: `subject` beside a promised value in the case's own unit."""

    subject: str
    target: float


@dataclass(frozen=True)
class Case:
    """One kind of work.

    `contenders` maps a contender's name to the function that measures it, in the order of a round.
    `rows` says what is compared with what. `rounds` caps the repeats, for work whose spread is
    small and whose duration is not.
    """

    name: str
    title: str
    unit: Unit
    contenders: Mapping[str, Measure]
    rows: tuple[Comparison | Limit, ...]
    rounds: int | None = None

    def __post_init__(self) -> None:
        for row in self.rows:
            named = (row.subject, row.rival) if isinstance(row, Comparison) else (row.subject,)
            if unknown := set(named) - set(self.contenders):
                raise ValueError(
                    f"case {self.name!r} compares {sorted(unknown)}, "
                    "which are not among its contenders"
                )


def against(subjects: Iterable[str], rivals: Mapping[str, float | None]) -> tuple[Comparison, ...]:
    """Every subject beside every rival, with the target that the rival's name maps to."""
    return tuple(
        Comparison(subject, rival, target)
        for subject in subjects
        for rival, target in rivals.items()
    )
