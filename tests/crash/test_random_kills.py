"""Workers die by SIGKILL at random moments, again and again, and at the end all books balance."""

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]


def run_campaign(kills: int, workers: int, work: str, start: str, queues: str = "Queue") -> None:
    """In a process of its own: a small one to fork, and an arena that nobody else uses."""
    options = {
        "kills": kills,
        "workers": workers,
        "work": work,
        "start": start,
        "queues": queues,
    }
    command = [sys.executable, "-m", "tests.crash.campaign"]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    ended = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=False)
    print(ended.stdout)  # how to repeat it, and what it came to
    assert ended.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "workers", "work", "start"),
    [
        (180, 4, "all", "fork"),
        (60, 3, "items", "fork"),
        (60, 3, "jobs", "fork"),
        (60, 3, "locks", "fork"),
        (12, 3, "all", "spawn"),
        (12, 3, "all", "forkserver"),
    ],
)
def test_the_books_balance_after_random_kills(
    kills: int, workers: int, work: str, start: str
) -> None:
    run_campaign(kills, workers, work, start)


@pytest.mark.slow
@pytest.mark.parametrize("work", ["items", "jobs"])
def test_the_books_of_priority_queues_balance_as_well(work: str) -> None:
    run_campaign(60, 3, work, "fork", "PriorityQueue")


@pytest.mark.soak
@pytest.mark.watchdog(900)
@pytest.mark.parametrize("work", ["items", "jobs", "all"])
def test_the_books_of_priority_queues_balance_after_thousands_of_random_kills(work: str) -> None:
    run_campaign(1500, 4, work, "fork", "PriorityQueue")


@pytest.mark.soak
@pytest.mark.watchdog(900)
@pytest.mark.parametrize(
    ("kills", "workers", "work", "start"),
    [
        (3000, 4, "all", "fork"),
        (1500, 16, "all", "fork"),
        (1500, 4, "items", "fork"),
        (1500, 4, "jobs", "fork"),
        (1500, 4, "locks", "fork"),
        (1000, 4, "permits", "fork"),
        (1000, 8, "objects", "fork"),
        (200, 4, "all", "spawn"),
        (400, 4, "all", "forkserver"),
    ],
)
def test_the_books_balance_after_thousands_of_random_kills(
    kills: int, workers: int, work: str, start: str
) -> None:
    run_campaign(kills, workers, work, start)
