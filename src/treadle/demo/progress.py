"""How far a run is: what the displays show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; ``found`` still grows while ``walking``."""

    done: int
    found: int
    walking: bool
    bytes: int
    seconds: float

    @property
    def megabytes_per_second(self) -> float:
        """The mean rate so far, in units of 10^6 bytes."""
        return self.bytes / self.seconds / 1e6 if self.seconds else 0.0
