"""A campaign of sudden deaths: workers are killed at random moments, and then all must balance.

    python -m tests.crash.campaign --seed 7 --kills 200 --workers 4 --work all --start fork

Half of the lives end by a timer of the kernel's that was set when they began, the others by the
supervisor, some of them in the instant of their birth; each is replaced. When enough have died, the
kills stop, the last generation does its share undisturbed, the queues are drained, and the books
are checked (account.py). Exit code 0: all of it balances.

With `--loops`, workers run event loops with several tasks and a thread beside them, and something
cancels what the tasks do at random moments; with `--kills 0 --steps 500`, nothing else does.

The seed fixes what the workers do and how long they may live; where exactly a kill strikes is up to
the clock. A failure therefore repeats often, not always: raise `--kills`.
"""

import argparse
import gc
import multiprocessing
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count

import treadle
from tests.crash.account import Account, settle
from tests.crash.ground import PERMITS, STOP, WORK, Ground
from tests.crash.journal import Act, Journals
from tests.crash.lives import PARTIES, Orders, live, parties
from tests.crash.pipe_ends import Line
from tests.crash.sudden_death import die_with_parent

_SUPERVISOR = 0  # its life in the journals
_LOOPS = {"none": 0.0, "some": 0.5, "all": 1.0}  # of the workers


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--kills", type=int, default=150)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--work", choices=tuple(WORK), default="all")
    parser.add_argument("--start", choices=("fork", "spawn", "forkserver"), default="fork")
    parser.add_argument(
        "--queues", choices=("Queue", "PriorityQueue", "LifoQueue"), default="Queue"
    )
    parser.add_argument("--loops", choices=tuple(_LOOPS), default="none")
    parser.add_argument("--cancel", type=float, default=0.4)
    parser.add_argument("--steps", type=int, default=60)
    chosen = vars(parser.parse_args(arguments))
    options = " ".join(f"--{name} {value}" for name, value in chosen.items())
    print(f"repeat with: {sys.executable} -m tests.crash.campaign {options}", flush=True)
    began = time.monotonic()
    account = Campaign(**chosen).run()
    print(", ".join(f"{value} {name}" for name, value in account.figures.items()))
    print(f"{time.monotonic() - began:.1f} s")
    for sentence in account.wrong:
        print(f"WRONG: {sentence}", file=sys.stderr)
    return 1 if account.wrong else 0


@dataclass
class Alive:
    """A worker that was started and has not been seen dead."""

    lives: range
    slot: int
    descriptor: int  # becomes readable when it has ended
    kill: Callable[[], None]
    reap: Callable[[], int | None]  # its signal, or None


class Campaign:
    def __init__(
        self,
        *,
        seed: int,
        kills: int,
        workers: int,
        work: str,
        start: str,
        queues: str,
        loops: str,
        cancel: float,
        steps: int,  # pieces of work that each party of the last generation does
    ) -> None:
        self.kills = kills
        self.workers = workers
        self.work = work
        self.start = start
        self.queues: type[treadle.Queue] = getattr(treadle, queues)
        self.dice = random.Random(seed)
        self.seed = seed
        self.loops = _LOOPS[loops]
        self.cancel = cancel
        self.steps = steps
        self.journals = Journals((2 + 2 * kills + 4 * workers) * (PARTIES if self.loops else 1))
        self.next_life = _SUPERVISOR + 1
        self.killed: dict[int, bool] = {}
        self.deaths = 0
        self.alive: dict[int, Alive] = {}  # by descriptor

    def run(self) -> Account:
        first = treadle.Lock()  # makes the arena and the records of this process
        treadle.sweep()
        before = treadle.arena_statistics()
        self.ground = Ground.make(self.queues, maxsize=self.dice.choice((4, 24, 96)))
        self._rage()
        self._last_generation()
        self._drain()
        self.killed[_SUPERVISOR] = False
        account = settle(
            self.journals,
            self.killed,
            items=self.ground.items.statistics(),
            jobs=self.ground.jobs.statistics(),
            signals=self.ground.signals.get_value(),
            in_order=self.queues is not treadle.LifoQueue,
        )
        account.figures = {"kills": self.deaths} | account.figures
        self._check_objects(account)
        if self.start == "fork":  # a handle that was pickled lives on for a while by itself
            self._check_memory(account, before)
        del first
        return account

    # ---- Lives and deaths

    def _rage(self) -> None:
        """Kills and replaces workers until enough have died."""
        last_life = self.journals.lives - (self.workers + 2) * PARTIES
        while self.deaths < self.kills and self.next_life < last_life:
            while len(self.alive) < self.workers:
                self._give_birth()
            self._await_deaths(self._patience())
            if self.alive and self.dice.random() < 0.5:
                self.dice.choice(list(self.alive.values())).kill()

    def _patience(self) -> float:
        """Seconds: as often a moment as a while; with spawn, most are to get to work."""
        return 10 ** (self.dice.uniform(-4.5, -0.9) + (1 if self.start == "spawn" else 0))

    def _give_birth(self) -> None:
        for worker in self._begin(1 << 30, self._fuse):
            if self.start == "fork" and self.dice.random() < 0.05:
                worker.kill()

    def _fuse(self) -> int:
        return int(10 ** self.dice.uniform(1.3, 5.2)) if self.dice.random() < 0.5 else 0

    def _begin(self, steps: int, fuse: Callable[[], int]) -> list[Alive]:
        """Starts a worker, or two that have a pipe between them."""
        if self.work != "pipes":
            return [self._start(self._next_lives(), steps, fuse(), None)]
        ends = treadle.Pipe()
        lives = [self._next_lives(), self._next_lives()]
        raw, exposed, heavy = (self.dice.random() < 0.3 for _ in range(3))
        lines = [
            Line(
                end=ends[i],
                other_end=ends[1 - i] if self.start == "fork" else None,
                sender=lives[1 - i][0],
                receiver=lives[1 - i][-1],
                may_block=i == 0,
                raw=raw,
                exposed=exposed,
                heavy=heavy,
            )
            for i in range(2)
        ]
        pair = [self._start(lives[i], steps, fuse(), lines[i]) for i in range(2)]
        for end in ends:
            end.close()
        return pair

    def _next_lives(self) -> range:
        begin = self.next_life
        self.next_life += parties(self.work, loop=self.dice.random() < self.loops)
        return range(begin, self.next_life)

    def _start(self, lives: range, steps: int, fuse: int, line: Line | None) -> Alive:
        slots = {worker.slot for worker in self.alive.values()}
        orders = Orders(
            ground=self.ground,
            journals=self.journals,
            lives=lives,
            slot=next(slot for slot in count() if slot not in slots),
            seed=self.seed,
            steps=steps,
            work=self.work,
            cancel=self.cancel,
            fuse=fuse,
            line=line,
        )
        worker = _fork(orders) if self.start == "fork" else _start(self.start, orders)
        self.alive[worker.descriptor] = worker
        return worker

    def _await_deaths(self, seconds: float | None) -> None:
        """Waits until somebody has ended; counts those who were killed."""
        for descriptor in select.select(list(self.alive), [], [], seconds)[0]:
            worker = self.alive.pop(descriptor)
            ended_by = worker.reap()
            self.killed |= dict.fromkeys(worker.lives, ended_by is not None)
            if ended_by not in (None, signal.SIGKILL):
                raise SystemExit(f"{worker.lives} were ended by {signal.Signals(ended_by).name}")
            self.deaths += ended_by is not None

    def _last_generation(self) -> None:
        """Who still lives ends in peace; their places are taken by workers that nobody kills."""
        self.journals.common(STOP).value = 1
        while self.alive:
            self._await_deaths(None)
        self.journals.common(STOP).value = 0
        while len(self.alive) < self.workers:
            self._begin(self.steps, lambda: 0)
        while self.alive:
            self._await_deaths(None)

    # ---- The end

    def _drain(self) -> None:
        """Takes what is left in the queues; what the dead had on lease comes back by itself."""
        journal = self.journals.writer(_SUPERVISOR)
        items, jobs = self.ground.items, self.ground.jobs
        assert items.qsize() + 5 * jobs.statistics().unfinished < journal.room()
        while True:
            journal.note(Act.GETTING, 1)
            try:
                journal.note(Act.GOT, items.get(block=False)[0])
            except treadle.Empty:
                journal.note(Act.GET_OVER)
                break
            journal.note(Act.GET_OVER)
        jobs.shutdown()  # from here on, get and lease wait only for what others hold
        with suppress(treadle.ShutDown):
            while True:
                lease = jobs.lease()
                number = lease.item[0]
                journal.note(Act.LEASED, number, lease.deliveries)
                journal.note(Act.ACTED_ON, number)
                lease.ack()
                journal.note(Act.ACKED, number)
        journal.note(Act.FAREWELL)

    def _check_objects(self, account: Account) -> None:
        """Every object is free and works."""
        ground = self.ground
        for _ in range(ground.jobs.statistics().unfinished):  # jobs whose taker was killed
            ground.jobs.task_done()
        account.check(ground.jobs.join(timeout=0), "join() waits though all jobs are done")
        for name, lock in (
            ("lock", ground.lock),
            ("rlock", ground.rlock),
            ("taken over", ground.taken_over),
        ):
            account.check(
                lock.acquire(blocking=False), f"{name!r} is not free: {lock.statistics()}"
            )
            lock.release()
        had = 0
        while ground.permits.acquire(blocking=False):
            had += 1
        account.check(had == PERMITS, f"{had} permits of {PERMITS} are left")
        for _ in range(had):
            ground.permits.release()
        account.check(
            ground.rwlock.acquire_write(False),
            f"'rwlock' is not free: {ground.rwlock.statistics()}",
        )
        ground.rwlock.release_write()
        account.check(ground.rwlock.acquire_read(False), "'rwlock' cannot be read")
        ground.rwlock.release_read()
        account.check(
            ground.permits.get_value() == PERMITS,
            f"the semaphore says {ground.permits.get_value()}",
        )
        with ground.condition:
            ground.condition.notify_all()
            account.check(not ground.condition.wait(timeout=0), "a notification from nobody")
        ground.event.set()
        account.check(ground.event.wait(), "the event cannot be set")
        ground.barrier.reset()
        account.check(not ground.barrier.broken, "the barrier stays broken after reset()")

    def _check_memory(self, account: Account, before: treadle.ArenaStatistics) -> None:
        del self.ground
        gc.collect()
        treadle.sweep()
        after = treadle.arena_statistics()
        account.check(
            after.blocks == before.blocks,
            f"the arena has {after.blocks} blocks, it had {before.blocks}",
        )
        # Of each size class one empty unit may be kept.
        account.check(
            after.used - before.used <= 10 * 64 * 1024,
            f"{after.used} bytes of the arena are in use, it was {before.used}",
        )
        account.figures["rebuilds of the arena's books"] = after.rebuilds


def _fork(orders: Orders) -> Alive:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            die_with_parent(parent)
            if orders.line is not None:
                orders.line.other_end.close()
            live(orders)
        finally:
            os._exit(0)
    descriptor = os.pidfd_open(pid)

    def reap() -> int | None:
        status = os.waitpid(pid, 0)[1]
        os.close(descriptor)
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else None

    return Alive(orders.lives, orders.slot, descriptor, partial(os.kill, pid, signal.SIGKILL), reap)


def _start(method: str, orders: Orders) -> Alive:
    process = multiprocessing.get_context(method).Process(target=live, args=(orders,), daemon=True)
    process.start()

    def kill() -> None:
        # The child of a fork server is reaped there, at any time, and its pid is then nobody's.
        with suppress(ProcessLookupError):
            process.kill()

    def reap() -> int | None:
        process.join()
        code = process.exitcode
        process.close()
        return -code if code is not None and code < 0 else None

    return Alive(orders.lives, orders.slot, process.sentinel, kill, reap)


if __name__ == "__main__":
    sys.exit(main())
