"""Programs that open, use and drop names all the time, and are killed at random."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import treadle
from tests.names.conftest import Start
from tests.names.programs import Program

_ITEMS = 200

# Its locks are those of programs that may be killed with them; the items are never acknowledged.
_WORK = """
rng = random.Random({seed})
warnings.simplefilter("ignore")
items = treadle.Queue(name="items", persist=True)
print("'working'", flush=True)
while True:
    name = f"name {{rng.randrange(5)}}"
    match rng.randrange(6):
        case 0:
            with treadle.Lock(name=f"{{name}} lock", on_owner_death="recover"):
                pass
        case 1:
            treadle.Queue(name=f"{{name}} queue", persist=rng.random() < 0.5).put(os.getpid())
        case 2:
            try:
                treadle.unlink(f"{{name}} queue")
            except treadle.HandleError:
                pass
        case 3:
            with treadle.Condition(name=f"{{name}} condition") as condition:
                pass
        case 4:
            kept = [treadle.Event(name=f"{{name}} event {{n}}") for n in range(rng.randrange(9))]
        case _:
            items.lease().nack()
"""


def _begin(program: Program, seed: int) -> None:
    program.tell("import random, warnings")
    program.begin(_WORK.format(seed=seed))
    assert program.answer() == "working"


def _account(start: Start, rounds: int) -> None:
    seed = int(os.environ.get("TREADLE_SEED", random.randrange(1 << 30)))
    print(f"TREADLE_SEED={seed} repeats this")
    rng = random.Random(seed)
    first = start()
    first.tell("items = treadle.Queue(name='items', persist=True)")
    first.tell(f"items.put_many(range({_ITEMS}))")
    first.end()
    programs = []
    for _ in range(rounds):
        while len(programs) < 4:
            programs.append(start())
            _begin(programs[-1], rng.randrange(1 << 30))
        victim = programs.pop(rng.randrange(4))
        for _ in range(rng.randrange(20_000)):
            pass
        victim.kill()
    for program in programs:
        program.kill()

    last = start()
    last.tell("items = treadle.Queue(name='items')")
    last.tell(f"leases = [items.lease(timeout=0) for _ in range({_ITEMS})]")
    assert last.tell("sorted(lease.item for lease in leases)") == list(range(_ITEMS))
    assert last.tell("items.empty()")
    last.tell("for lease in leases: lease.ack()")
    # Whatever is left is whole: it can be opened, and let go of.
    found = json.loads(_command("ls", "--json"))
    assert all(each["users"] <= 1 for each in found), "the dead are no users"
    _command("gc", *(each["name"] for each in found if each["persistent"]))
    last.end()


def _command(*arguments: str) -> str:
    command = [sys.executable, "-m", "treadle", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.slow
def test_what_persists_bears_a_few_deaths(start: Start, names: Path) -> None:
    _account(start, 12)
    assert not names.exists()


@pytest.mark.soak
@pytest.mark.watchdog(900)
def test_what_persists_bears_many_deaths(start: Start, names: Path) -> None:
    _account(start, 600)
    assert not names.exists()
    assert treadle.Lock().acquire()
