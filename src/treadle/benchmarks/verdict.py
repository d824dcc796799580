"""From samples to figures, from figures to ratios, from ratios to met or missed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from treadle.benchmarks.case import Case, Comparison, Limit
from treadle.benchmarks.isolation import Kind, Trouble


class Verdict(Enum):
    """What a row says about its target."""

    MET = "met"
    MISSED = "missed"
    NO_TARGET = "-"
    UNAVAILABLE = "n/a"
    HUNG = "hung"
    FAILED = "failed"


@dataclass(frozen=True)
class Figure:
    """One contender's result in one case: its samples by round, or what came instead."""

    samples: tuple[float, ...] = ()
    trouble: Trouble | None = None

    @property
    def median(self) -> float | None:
        """The figure itself; None if any round brought trouble."""
        if self.trouble is not None or not self.samples:
            return None
        return statistics.median(self.samples)

    @property
    def spread(self) -> float | None:
        """Half the distance of the quartiles, relative to the median: how far to trust it."""
        median = self.median
        if median is None or median == 0 or len(self.samples) < 2:
            return None
        lower, _, upper = statistics.quantiles(self.samples, n=4, method="inclusive")
        return abs((upper - lower) / 2 / median)


@dataclass(frozen=True)
class Judged:
    """A row of the table, judged.

    `ratio` is subject by rival; None for a limit, and where a figure is missing.
    """

    row: Comparison | Limit
    subject: Figure
    rival: Figure | None
    ratio: float | None
    verdict: Verdict


@dataclass(frozen=True)
class CaseResult:
    """All figures of one case."""

    case: Case
    figures: Mapping[str, Figure]

    def judged(self) -> list[Judged]:
        """The case's rows, in their order."""
        return [_judge(row, self.case, self.figures) for row in self.case.rows]


_OF_TROUBLE = {
    Kind.UNAVAILABLE: Verdict.UNAVAILABLE,
    Kind.HUNG: Verdict.HUNG,
    Kind.FAILED: Verdict.FAILED,
}


def _judge(row: Comparison | Limit, case: Case, figures: Mapping[str, Figure]) -> Judged:
    subject = figures[row.subject]
    rival = figures[row.rival] if isinstance(row, Comparison) else None
    if subject.median is None:
        verdict = _OF_TROUBLE[subject.trouble.kind] if subject.trouble else Verdict.UNAVAILABLE
        return Judged(row, subject, rival, None, verdict)
    if rival is None:
        return Judged(row, subject, None, None, _against_target(subject.median, row.target, case))
    if rival.median is None or rival.median == 0:
        return Judged(
            row, subject, rival, None, Verdict.UNAVAILABLE
        )  # a rival's hang is told in its own column
    ratio = subject.median / rival.median
    return Judged(row, subject, rival, ratio, _against_target(ratio, row.target, case))


def _against_target(value: float, target: float | None, case: Case) -> Verdict:
    if target is None:
        return Verdict.NO_TARGET
    met = value >= target if case.unit.higher_is_better else value <= target
    return Verdict.MET if met else Verdict.MISSED
