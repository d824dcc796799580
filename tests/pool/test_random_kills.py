"""Workers are killed at random moments under load, and every task is told exactly once."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from typing import Any

import pytest

import treadle
from tests.pool.kinds import new_pool
from tests.sync.threads import until

pytestmark = pytest.mark.slow

WORKERS = 4
_LONGEST = 0.02  # seconds between two kills


class Account:
    """How often each task was told of, and what."""

    def __init__(self) -> None:
        self.told: Counter[Any] = Counter()
        self.died: set[Any] = set()
        self.wrong: list[str] = []
        self._changing = threading.Lock()

    def value(self, task: Any, value: Any) -> None:
        with self._changing:
            self.told[task] += 1
            if value != task[1] * 3:
                self.wrong.append(f"task {task} came to {value!r}")

    def error(self, task: Any, error: BaseException) -> None:
        with self._changing:
            self.told[task] += 1
            self.died.add(task)
            if not isinstance(error, treadle.WorkerDiedError):
                self.wrong.append(f"task {task} raised {error!r}")


def triple(x: int) -> int:
    for _ in range(x % 50):  # of various lengths
        sum(range(100))
    return x * 3


def note_and_triple(begun: treadle.Queue, task: Any) -> int:
    begun.put(task)
    return triple(task[1])


class Load:
    """Calls of every form, as long as kills are to come; what comes of each goes into the books."""

    def __init__(self, pool: treadle.Pool, account: Account) -> None:
        self.account = account
        self.tasks: set[Any] = set()
        self.begun: treadle.Queue[Any] = treadle.Queue()
        self.over = threading.Event()
        self._pool = pool
        self._forms = [self._call, self._map, self._iterate, self._iterate_in_order]
        self._threads = [treadle.Thread(target=self._run, args=(form,)) for form in self._forms]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        self.over.set()
        for thread in self._threads:
            thread.result()

    def _run(self, form: Any) -> None:
        number = 0
        try:
            while not self.over.is_set():
                tasks = [(form.__name__, x) for x in range(number, number + 100)]
                self.tasks.update(tasks)
                form(tasks)
                number += 100
        finally:
            self.over.set()  # where it failed, the others need not go on

    def _call(self, tasks: list[Any]) -> None:
        results = []
        for task in tasks:
            callbacks = (
                lambda value, task=task: self.account.value(task, value),
                lambda error, task=task: self.account.error(task, error),
            )
            arguments = (self.begun, task)
            results.append(self._pool.apply_async(note_and_triple, arguments, None, *callbacks))
        for result in results:
            result.wait()

    def _map(self, tasks: list[Any]) -> None:
        """It raises the first error, and tells no values then; so each item may be retried."""
        values = self._pool.map(triple, [x for _, x in tasks], 5, retries=1000)
        for task, value in zip(tasks, values, strict=True):
            self.account.value(task, value)

    def _iterate(self, tasks: list[Any]) -> None:
        results = self._pool.imap_unordered(triple, [x for _, x in tasks], 3)
        values, errors = self._all_of(results)
        assert len(values) + len(errors) == len(tasks), "as many results as tasks"
        done = {(tasks[0][0], value // 3): value for value in values}
        assert len(done) == len(values), "no task was told twice"
        missing = iter([task for task in tasks if task not in done])
        for task, value in done.items():
            self.account.value(task, value)
        for error in errors:
            self.account.error(next(missing), error)

    def _iterate_in_order(self, tasks: list[Any]) -> None:
        results = self._pool.imap(triple, [x for _, x in tasks], None)
        for task in tasks:
            try:
                self.account.value(task, next(results))
            except treadle.WorkerDiedError as error:
                self.account.error(task, error)
        assert list(results) == []

    @staticmethod
    def _all_of(results: treadle.ImapIterator[int]) -> tuple[list[int], list[Exception]]:
        values, errors = [], []
        while True:
            try:
                values.append(next(results))
            except StopIteration:
                return values, errors
            except treadle.WorkerDiedError as error:
                errors.append(error)


def ready(crew: Any) -> list[int]:
    """The pids of the workers that have begun."""
    with crew._changing:
        there = [place.process for place in crew._places if place.ready]
        return [process.pid for process in there if process is not None]


def run_campaign(kind: str, kills: int, seed: int) -> Account:
    chance = random.Random(seed)
    account = Account()
    with new_pool(kind, WORKERS) as pool:
        crew = pool._workers.crew
        load = Load(pool, account)
        killed: set[int] = set()
        while len(killed) < kills and not load.over.is_set():
            time.sleep(chance.uniform(0, _LONGEST))
            # Three that are killed before they are ready would break the pool: it takes them for
            # such as cannot start. So those are spared.
            until(lambda: load.over.is_set() or set(ready(crew)) - killed)
            pids = sorted(set(ready(crew)) - killed)
            many = chance.choice([1, 1, 1, WORKERS])
            for pid in chance.sample(pids, min(many, len(pids))):
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        load.join()
        until(lambda: pool.statistics().deaths == len(killed))
        figures = pool.statistics()
    pool.join()
    assert account.wrong == []
    assert set(account.told) == load.tasks, "each was told"
    assert set(account.told.values()) == {1}, "once"
    assert figures.submitted == figures.finished + figures.failed
    assert figures.failed == len(account.died)
    # A single call is never made twice, and one that has a value was made.
    made = Counter(load.begun.get_many(load.begun.qsize() or 1))
    assert set(made.values()) <= {1}
    calls = {task for task in load.tasks if task[0] == "_call"}
    assert set(made) >= calls - account.died
    return account


@pytest.mark.parametrize(("kind", "kills"), [("fork", 30), ("forkserver", 8)])
def test_every_task_is_told_once(kind: str, kills: int) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"repeat with: run_campaign({kind!r}, {kills}, {seed})")
    run_campaign(kind, kills, seed)


@pytest.mark.soak
@pytest.mark.watchdog(900)
@pytest.mark.parametrize(("kind", "kills"), [("fork", 1000), ("forkserver", 300), ("spawn", 100)])
def test_every_task_is_told_once_after_a_thousand_kills(kind: str, kills: int) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"repeat with: run_campaign({kind!r}, {kills}, {seed})")
    run_campaign(kind, kills, seed)
