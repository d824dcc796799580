"""Workers die by SIGKILL at random moments, again and again, and at the end all books balance.

Beside them what tasks do is cancelled at random moments, in processes that are killed and in others
that are not.
"""

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.watchdog(300)

_KINDS = ("items", "jobs", "locks", "rwlock", "permits", "objects")


def run_campaign(kills: int, workers: int, work: str, start: str = "fork", **others: object) -> str:
    """In a process of its own: a small one to fork, and an arena that nobody else uses.

    Returns what it came to.
    """
    options = {"kills": kills, "workers": workers, "work": work, "start": start} | others
    command = [sys.executable, "-m", "tests.crash.campaign"]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    ended = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=False)
    print(ended.stdout)  # how to repeat it as well
    assert ended.returncode == 0
    return ended.stdout


# ---- Threads


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "workers", "work", "start"),
    [
        (180, 4, "all", "fork"),
        (60, 3, "items", "fork"),
        (60, 3, "jobs", "fork"),
        (60, 3, "locks", "fork"),
        (60, 4, "rwlock", "fork"),
        (12, 3, "all", "spawn"),
        (12, 3, "all", "forkserver"),
    ],
)
def test_the_books_balance_after_random_kills(
    kills: int, workers: int, work: str, start: str
) -> None:
    run_campaign(kills, workers, work, start)


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
        (1500, 4, "rwlock", "fork"),
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


# ---- Other queues


@pytest.mark.slow
@pytest.mark.parametrize("loops", ["none", "some"])
@pytest.mark.parametrize("work", ["items", "jobs"])
@pytest.mark.parametrize("queues", ["PriorityQueue", "LifoQueue"])
def test_the_books_of_ordered_queues_balance_as_well(queues: str, work: str, loops: str) -> None:
    run_campaign(60, 3, work, queues=queues, loops=loops)


@pytest.mark.soak
@pytest.mark.watchdog(900)
@pytest.mark.parametrize("loops", ["none", "some"])
@pytest.mark.parametrize("work", ["items", "jobs", "all"])
@pytest.mark.parametrize("queues", ["PriorityQueue", "LifoQueue"])
def test_the_books_of_ordered_queues_balance_after_thousands_of_random_kills(
    queues: str, work: str, loops: str
) -> None:
    run_campaign(1500, 4, work, queues=queues, loops=loops)


# ---- Tasks


@pytest.mark.slow
@pytest.mark.parametrize("work", [*_KINDS, "all"])
def test_the_books_balance_after_random_kills_and_cancellations(work: str) -> None:
    """Of event loops beside threads at the same objects."""
    assert "cancellations" in run_campaign(60, 4, work, loops="some")


@pytest.mark.slow
@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_the_books_balance_where_loops_are_started_and_not_forked(start: str) -> None:
    run_campaign(12, 3, "all", start, loops="some")


@pytest.mark.slow
@pytest.mark.parametrize("work", [*_KINDS, "all"])
def test_without_a_kill_cancellations_alone_change_nothing(work: str) -> None:
    """So nothing at all may be missing."""
    assert "cancellations" in run_campaign(0, 4, work, loops="all", steps=200, cancel=0.8)


@pytest.mark.soak
@pytest.mark.watchdog(900)
@pytest.mark.parametrize(
    ("kills", "workers", "work", "start", "loops"),
    [
        (3000, 4, "all", "fork", "some"),
        (2000, 6, "all", "fork", "all"),
        (1000, 16, "all", "fork", "some"),
        *((1500, 4, work, "fork", "some") for work in _KINDS),
        (200, 4, "all", "spawn", "some"),
        (400, 4, "all", "forkserver", "some"),
    ],
)
def test_the_books_balance_after_thousands_of_random_kills_and_cancellations(
    kills: int, workers: int, work: str, start: str, loops: str
) -> None:
    run_campaign(kills, workers, work, start, loops=loops)


@pytest.mark.soak
@pytest.mark.watchdog(900)
@pytest.mark.parametrize("work", [*_KINDS, "all", "pipes"])
def test_without_a_kill_thousands_of_cancellations_change_nothing(work: str) -> None:
    run_campaign(0, 6, work, loops="all", steps=1500, cancel=0.8)


# ---- Pipes


@pytest.mark.slow
@pytest.mark.parametrize("loops", ["none", "some", "all"])
def test_a_pipe_tells_who_is_left_of_a_random_kill(loops: str) -> None:
    assert "pipes cut" in run_campaign(100, 4, "pipes", loops=loops)


@pytest.mark.slow
@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_a_pipe_balances_where_its_ends_have_been_pickled(start: str) -> None:
    run_campaign(12, 4, "pipes", start, loops="some")


@pytest.mark.slow
def test_without_a_kill_cancellations_alone_change_no_pipe() -> None:
    assert "cancellations" in run_campaign(0, 4, "pipes", loops="all", steps=100, cancel=0.8)


@pytest.mark.soak
@pytest.mark.watchdog(900)
@pytest.mark.parametrize(
    ("kills", "start", "loops"),
    [
        (3000, "fork", "none"),
        (3000, "fork", "some"),
        (3000, "fork", "all"),
        (200, "spawn", "some"),
        (400, "forkserver", "some"),
    ],
)
def test_a_pipe_tells_who_is_left_of_thousands_of_random_kills(
    kills: int, start: str, loops: str
) -> None:
    run_campaign(kills, 4, "pipes", start, loops=loops)
