"""What an account is made of: lives, and what does not balance."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.crash.journal import Act, Entry


@dataclass
class Life:
    """How a worker's life went, as its journal and its parent tell."""

    number: int
    killed: bool
    entries: list[Entry] = field(default_factory=list)

    def last(self) -> Entry | None:
        return self.entries[-1] if self.entries else None

    def numbers(self, act: Act) -> list[int]:
        return [entry.number for entry in self.entries if entry.act is act]

    def count(self, act: Act, number: int | None = None) -> int:
        """How often it noted that, of that number or of all."""
        return sum(entry.act is act and number in (None, entry.number) for entry in self.entries)


@dataclass
class Account:
    """What a campaign came to. `wrong`: sentences, one for each thing that does not balance."""

    lives: list[Life]
    wrong: list[str] = field(default_factory=list)
    figures: dict[str, int] = field(default_factory=dict)

    def check(self, right: bool, sentence: str) -> None:
        if not right:
            self.wrong.append(sentence)


def some(numbers: Iterable[int]) -> str:
    """How many, and the first few."""
    listed = sorted(numbers)
    return f"{len(listed)} ({', '.join(map(str, listed[:8]))}{', ...' if len(listed) > 8 else ''})"
