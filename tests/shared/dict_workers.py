"""What processes do to a Dict in tests; imported by its name in programs of their own."""

from __future__ import annotations

import os
import random
from typing import Any

import treadle
from tests.crash.sudden_death import light_fuse


def put_numbered(shared: treadle.Dict[Any, Any], who: int, count: int) -> None:
    for n in range(count):
        shared[who, n] = n


def count_up(shared: treadle.Dict[Any, Any], key: Any, count: int) -> None:
    for _ in range(count):
        shared.add(key)


def transfer_until_killed(accounts: treadle.Dict[Any, Any], fuse: int, seed: int) -> None:
    """Moves money between the parts of one value: a change of one key keeps the sum."""
    rng = random.Random(seed)
    light_fuse(fuse)

    def move(parts: Any) -> Any:
        amount = rng.randrange(10)
        return (parts[0] - amount, parts[1] + amount, "x" * rng.choice([0, 5, 100, 9000]))

    while True:
        accounts.update_with(rng.randrange(5), move)
        accounts.get(rng.randrange(5))
        key = ("extra", rng.randrange(40))
        choice = rng.randrange(8)
        if choice <= 2:
            accounts[key] = "y" * rng.choice([1, 300, 9000])
        elif choice == 3:
            accounts[1.5, frozenset([rng.randrange(30)])] = [1]
        elif choice == 4:
            accounts.pop(key, None)
        elif choice == 5:
            accounts.setdefault(key, 1)
        elif choice == 6:
            len(accounts.copy())
        else:
            accounts.add("count")


def hold_and_die(shared: treadle.Dict[Any, Any]) -> None:
    shared.lock().acquire()
    shared["last"] = "change"
    os.kill(os.getpid(), 9)
