"""The rounds: every contender of a case once, then all again, so that a busy machine hits all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from treadle.benchmarks.case import Case, Measure
from treadle.benchmarks.isolation import Trouble, measure_in_child
from treadle.benchmarks.verdict import CaseResult, Figure

Measured = Callable[[Measure, float], float | Trouble]


@dataclass(frozen=True)
class Effort:
    """How much to measure.

    `rounds` per case, about `seconds` per measurement, `limit` seconds until it counts as hung.
    """

    rounds: int
    seconds: float
    limit: float


FULL = Effort(rounds=7, seconds=0.3, limit=90.0)
QUICK = Effort(rounds=3, seconds=0.05, limit=30.0)


def run_cases(
    cases: Sequence[Case], effort: Effort, *, measured: Measured | None = None
) -> Iterator[CaseResult]:
    """Yield each case's result as soon as its last round is over.

    `measured` carries out one measurement; by default in a child process with a watchdog.
    """
    for case in cases:
        yield _run_case(case, effort, measured or partial(measure_in_child, limit=effort.limit))


def _run_case(case: Case, effort: Effort, measured: Measured) -> CaseResult:
    samples: dict[str, list[float]] = {name: [] for name in case.contenders}
    troubles: dict[str, Trouble] = {}
    for _ in range(min(effort.rounds, case.rounds or effort.rounds)):
        for name, measure in case.contenders.items():
            if name in troubles:
                continue  # what hangs once would cost its whole limit in every round
            outcome = measured(measure, effort.seconds)
            if isinstance(outcome, Trouble):
                troubles[name] = outcome
            else:
                samples[name].append(outcome)
    return CaseResult(
        case, {name: Figure(tuple(samples[name]), troubles.get(name)) for name in case.contenders}
    )
