"""Units of the figures, how they are printed, and which way is better."""

from __future__ import annotations

from enum import Enum


class Unit(Enum):
    """What a case's values count. Values are kept in the base unit; only `format` scales them."""

    SECONDS = "s"
    PER_SECOND = "/s"
    BYTES_PER_SECOND = "B/s"
    BYTES = "B"
    PERCENT = "%"
    COUNT = ""

    @property
    def higher_is_better(self) -> bool:
        """True for rates, False for times and sizes."""
        return self in (Unit.PER_SECOND, Unit.BYTES_PER_SECOND)

    def format(self, value: float) -> str:
        """`value` with three significant digits and the prefix that suits its size.

        >>> Unit.SECONDS.format(6.1e-8)
        '61.0 ns'
        >>> Unit.PER_SECOND.format(2_140_000)
        '2.14 M/s'
        """
        if self is Unit.PERCENT:
            return f"{value:.3f} %"
        if self is Unit.COUNT:
            return f"{value:.0f}"
        if self is Unit.BYTES and abs(value) < 10_000:
            return f"{value:.0f} B"
        for factor, prefix in _PREFIXES[self]:
            if abs(value) >= factor:
                return f"{_three_digits(value / factor)} {prefix}{self.value}"
        factor, prefix = _PREFIXES[self][-1]
        return f"{_three_digits(value / factor)} {prefix}{self.value}"


_LARGE = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_PREFIXES = {
    Unit.SECONDS: ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")),
    Unit.PER_SECOND: _LARGE,
    Unit.BYTES_PER_SECOND: _LARGE,
    Unit.BYTES: _LARGE,
}


def _three_digits(value: float) -> str:
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:.{digits}f}"
