"""What processes do to a List in tests; imported by its name in programs of their own."""

from __future__ import annotations

import os
import random
from typing import Any

import treadle
from tests.crash.sudden_death import light_fuse

WIDTH = 10  # items of a batch


def append_numbered(shared: treadle.List[Any], who: int, count: int) -> None:
    for n in range(count):
        shared.append((who, n))


def count_up(shared: treadle.List[Any], index: int, count: int) -> None:
    for _ in range(count):
        shared.add(index, 1)


def change_until_killed(
    shared: treadle.List[Any], diary: treadle.List[Any], who: int, fuse: int, seed: int
) -> None:
    """Puts whole batches in and takes whole batches out; says in `diary[who]` how far it came.

    A batch is WIDTH items of one mark, (who, n). Each step is one operation on the list.
    """
    rng = random.Random(seed)
    light_fuse(fuse)
    n = 0
    while True:
        n += 1
        mark: Any = (who, n, "x" * rng.choice([0, 0, 3, 40, 9000]))
        batch = [mark] * WIDTH
        with shared.lock():
            diary[who] = n  # begun
            choice = rng.randrange(6)
            length = len(shared)
            at = rng.randrange(length // WIDTH + 1) * WIDTH
            if choice <= 2 or length < 4 * WIDTH:
                shared[at:at] = batch
            elif choice == 3:
                shared.extend(batch)
            elif choice == 4:
                shared[at : at + WIDTH] = batch
            else:
                del shared[: 2 * WIDTH]


def change_alone_until_killed(shared: treadle.List[Any], fuse: int, seed: int) -> None:
    """Changes it in every way by which its length stays even, without the lock."""
    rng = random.Random(seed)
    light_fuse(fuse)
    changes = [
        lambda value: shared.extend([value, value]),
        lambda value: shared.__setitem__(rng.randrange(2), value),
        lambda value: shared.__setitem__(slice(2, 2), [value, value]),
        lambda _: shared.__delitem__(slice(4, 6)) if len(shared) > 30 else None,
        lambda _: shared.reverse(),
        lambda _: shared.copy(),
        lambda _: shared[-1],
        lambda _: shared.__delitem__(slice(10, None)) if len(shared) > 60 else None,
    ]
    while True:
        value = rng.choice([rng.randrange(100), "text" * rng.randrange(9), bytes(9000), [1]])
        rng.choice(changes)(value)


def hold_and_die(shared: treadle.List[Any]) -> None:
    shared.lock().acquire()
    shared.append("the last change")
    os.kill(os.getpid(), 9)
