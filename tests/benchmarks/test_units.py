"""How figures are printed, and which way is better."""

import pytest

from treadle.benchmarks.units import Unit


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        (Unit.SECONDS, 6.1e-8, "61.0 ns"),
        (Unit.SECONDS, 5.43e-10, "0.54 ns"),
        (Unit.SECONDS, -2e-9, "-2.00 ns"),
        (Unit.SECONDS, 0.0, "0.00 ns"),
        (Unit.SECONDS, 4.2e-6, "4.20 µs"),
        (Unit.SECONDS, 0.0307, "30.7 ms"),
        (Unit.SECONDS, 2.5, "2.50 s"),
        (Unit.PER_SECOND, 2_140_000.0, "2.14 M/s"),
        (Unit.PER_SECOND, 112_300.0, "112 k/s"),
        (Unit.PER_SECOND, 0.5, "0.50 /s"),
        (Unit.BYTES_PER_SECOND, 3.29e9, "3.29 GB/s"),
        (Unit.BYTES, 128.0, "128 B"),
        (Unit.BYTES, 262_144.0, "262 kB"),
        (Unit.PERCENT, 0.0216, "0.022 %"),
        (Unit.COUNT, 1.0, "1"),
    ],
)
def test_three_digits_and_a_prefix(unit: Unit, value: float, text: str) -> None:
    assert unit.format(value) == text


def test_rates_are_better_high_and_costs_low() -> None:
    assert {unit for unit in Unit if unit.higher_is_better} == {
        Unit.PER_SECOND,
        Unit.BYTES_PER_SECOND,
    }
