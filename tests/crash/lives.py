"""What a process of a campaign does from its first step to its last."""

import asyncio
import os
import random
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.crash.ground import STOP, Ground
from tests.crash.journal import Act, Journals, Violation, Writer
from tests.crash.loop_worker import TaskWorker
from tests.crash.party import listen_for_deaths
from tests.crash.pipe_ends import EndTask, EndThread, Line
from tests.crash.sudden_death import light_fuse
from tests.crash.worker import Worker

_TASKS = 4
PARTIES = _TASKS + 1  # of a process at most: the tasks of its loop, and a thread beside them


@dataclass
class Orders:
    """What a process is to do. It has one life for each of its parties."""

    ground: Ground
    journals: Journals
    lives: range
    slot: int
    seed: int
    steps: int  # of each party
    work: str
    cancel: float  # of a task's pieces of work, what share something may cut short
    fuse: int  # microseconds to live, or 0
    line: Line | None = None  # to its partner, where the work is pipes


def parties(work: str, loop: bool) -> int:
    """How many parties a process has."""
    if not loop:
        return 1
    return 2 if work == "pipes" else PARTIES


def live(orders: Orders) -> None:
    if orders.fuse:
        light_fuse(orders.fuse)
    listen_for_deaths()
    if len(orders.lives) == 1:
        _live_as_thread(orders, 0)
    else:
        asyncio.run(_live_in_loop(orders))


def _live_as_thread(orders: Orders, party: int) -> None:
    life, stop = orders.lives[party], orders.journals.common(STOP)
    if orders.line is None:
        slot = orders.slot * PARTIES + party
        worker = Worker(orders.ground, orders.journals, life, slot, _dice(orders, life))
        with _told(worker.journal, life):
            worker.live(stop, orders.steps, orders.work)
    else:
        end = EndThread(orders.journals.writer(life), life, _dice(orders, life), orders.line)
        with _told(end.journal, life):
            end.live(stop, orders.steps)


async def _live_in_loop(orders: Orders) -> None:
    if orders.line is None:
        beside = threading.Thread(target=_live_as_thread, args=(orders, _TASKS))
        beside.start()
        await asyncio.gather(*(_live_as_task(orders, party) for party in range(_TASKS)))
        await asyncio.to_thread(beside.join)
    else:
        await asyncio.gather(_send(orders, orders.line), _receive(orders, orders.line))
        orders.line.end.close()


async def _live_as_task(orders: Orders, party: int) -> None:
    life, stop = orders.lives[party], orders.journals.common(STOP)
    slot = orders.slot * PARTIES + party
    worker = TaskWorker(orders.ground, orders.journals, life, slot, _dice(orders, life))
    with _told(worker.journal, life):
        await worker.live(stop, orders.steps, orders.work, orders.cancel)


async def _send(orders: Orders, line: Line) -> None:
    life = orders.lives[0]
    sender = EndTask(orders.journals.writer(life), life, _dice(orders, life), line)
    with _told(sender.journal, life):
        await sender.send_all(orders.journals.common(STOP), orders.steps, orders.cancel)


async def _receive(orders: Orders, line: Line) -> None:
    life = orders.lives[1]
    receiver = EndTask(orders.journals.writer(life), life, _dice(orders, life), line)
    with _told(receiver.journal, life):
        await receiver.receive_all(orders.cancel)


def _dice(orders: Orders, life: int) -> random.Random:
    return random.Random(f"{orders.seed}:{life}")


@contextmanager
def _told(journal: Writer, life: int) -> Iterator[None]:
    """Notes how a life ends: as it should, or by an exception that no operation may raise."""
    try:
        yield
    except BaseException:
        journal.note(Act.VIOLATION, Violation.EXCEPTION)
        print(f"life {life}, pid {os.getpid()}:", file=sys.stderr)
        traceback.print_exc()
        sys.stderr.flush()
    else:
        journal.note(Act.FAREWELL)
