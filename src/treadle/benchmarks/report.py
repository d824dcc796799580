"""The table and the JSON: everything measured, the losses as well."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from treadle.benchmarks.case import Comparison
from treadle.benchmarks.environment import Environment
from treadle.benchmarks.units import Unit
from treadle.benchmarks.verdict import CaseResult, Figure, Judged, Verdict

_HEADINGS = ("treadle", "", "rival", "", "ratio", "target", "")
_NUMBERS = {1, 3, 4, 5}  # columns that are set to the right
_STYLES = {
    Verdict.MET: "green",
    Verdict.MISSED: "bold red",
    Verdict.HUNG: "bold red",
    Verdict.FAILED: "bold red",
    Verdict.UNAVAILABLE: "yellow",
}

_Line = tuple[str, str]
"""A line of the report, and the part at its end that a terminal shows in the verdict's colour."""


def print_report(environment: Environment, results: Sequence[CaseResult]) -> None:
    """Print header, table and notes; in colour on a terminal, if rich is there."""
    if sys.stdout.isatty():
        try:
            from rich.console import Console
            from rich.text import Text
        except ImportError:
            pass
        else:
            console = Console(soft_wrap=True)
            styles = {verdict.value: style for verdict, style in _STYLES.items()}
            for text, verdict in _lines(environment, results):
                console.print(Text(text) + Text(verdict, style=styles.get(verdict, "")))
            return
    print(plain_report(environment, results))


def plain_report(environment: Environment, results: Sequence[CaseResult]) -> str:
    """Header, table and notes as plain text."""
    return "\n".join((text + verdict).rstrip() for text, verdict in _lines(environment, results))


def as_json(environment: Environment, results: Sequence[CaseResult]) -> dict[str, Any]:
    """All samples and judgements, in base units (seconds, bytes, per second, percent)."""
    return {
        "environment": dataclasses.asdict(environment),
        "cases": [
            {
                "name": result.case.name,
                "title": result.case.title,
                "unit": result.case.unit.value,
                "better": "higher" if result.case.unit.higher_is_better else "lower",
                "contenders": {
                    name: _figure_json(figure) for name, figure in result.figures.items()
                },
                "rows": [_judged_json(judged) for judged in result.judged()],
            }
            for result in results
        ],
    }


def _lines(environment: Environment, results: Sequence[CaseResult]) -> Iterator[_Line]:
    yield from ((line, "") for line in environment.lines())
    tables = [_cells(result) for result in results]
    rows = [list(_HEADINGS), *(row for table in tables for row in table)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    yield "", ""
    yield _aligned(list(_HEADINGS), widths)
    for result, table in zip(results, tables, strict=True):
        yield f"{result.case.title} ({result.case.name})", ""
        yield from (_aligned(row, widths) for row in table)
    yield "", ""
    yield from ((note, "") for note in _notes(results))


def _aligned(row: list[str], widths: list[int]) -> _Line:
    *cells, verdict = row
    padded = [
        cell.rjust(width) if column in _NUMBERS else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths[:-1], strict=True))
    ]
    return "  " + "  ".join(padded) + "  ", verdict


def _cells(result: CaseResult) -> list[list[str]]:
    """One list of cells for each row of the case; what repeats the line above is left empty."""
    unit = result.case.unit
    rows = []
    last_subject = ""
    for judged in result.judged():
        row = judged.row
        is_new = row.subject != last_subject
        rows.append(
            [
                row.subject if is_new else "",
                _value(judged.subject, unit) if is_new else "",
                row.rival if isinstance(row, Comparison) else "",
                _value(judged.rival, unit) if judged.rival else "",
                "" if judged.ratio is None else _ratio(judged.ratio),
                _target(judged, unit),
                judged.verdict.value,
            ]
        )
        last_subject = row.subject
    return rows


def _value(figure: Figure, unit: Unit) -> str:
    if figure.median is None:
        return figure.trouble.kind.value if figure.trouble else "n/a"
    spread = "" if figure.spread is None else f" ±{figure.spread:3.0%}"
    return unit.format(figure.median) + spread


def _ratio(ratio: float) -> str:
    digits = 0 if ratio >= 100 else 1 if ratio >= 10 else 2 if ratio >= 1 else 3
    return f"{ratio:.{digits}f} x"


def _target(judged: Judged, unit: Unit) -> str:
    target = judged.row.target
    if target is None:
        return ""
    wanted = _ratio(target) if isinstance(judged.row, Comparison) else unit.format(target)
    return f"{'>=' if unit.higher_is_better else '<='} {wanted}"


def _notes(results: Sequence[CaseResult]) -> Iterator[str]:
    yield (
        "Figures are medians; ± is half the distance of the quartiles. Ratios: treadle by rival, "
        "of times and sizes where less is better, of rates where more is."
    )
    verdicts = [
        judged.verdict
        for result in results
        for judged in result.judged()
        if judged.row.target is not None
    ]
    counts = [f"{verdicts.count(each)} {each.value}" for each in Verdict if each in verdicts]
    yield f"Targets: {', '.join(counts) or 'none'}."
    where: dict[str, list[str]] = {}
    for result in results:
        for name, figure in result.figures.items():
            if figure.trouble is not None:
                sentence = f"{figure.trouble.kind.value}: {figure.trouble.detail}"
                where.setdefault(sentence, []).append(f"{name} in {result.case.name}")
    for sentence, places in where.items():
        yield f"{sentence} ({'; '.join(places)})"


def _figure_json(figure: Figure) -> dict[str, Any]:
    trouble = figure.trouble
    return {
        "median": figure.median,
        "spread": figure.spread,
        "samples": list(figure.samples),
        "trouble": trouble
        and {"kind": trouble.kind.value, "detail": trouble.detail, "log": trouble.log},
    }


def _judged_json(judged: Judged) -> dict[str, Any]:
    return {
        "subject": judged.row.subject,
        "rival": judged.row.rival if isinstance(judged.row, Comparison) else None,
        "ratio": judged.ratio,
        "target": judged.row.target,
        "verdict": judged.verdict.value,
    }
