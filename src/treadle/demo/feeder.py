"""The thread that walks the tree and hands out its files as tasks, a batch at a time."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

from treadle.demo.messages import Task
from treadle.demo.run import Job
from treadle.demo.victims import tasks_for
from treadle.demo.walk import find_files

BATCH = 32


class Feeder(threading.Thread):
    """Walks ``job.root``; calls ``put_many`` with batches of tasks and ``finished`` at the end.

    ``paths`` grows while it walks and never lacks a path that a worker may have.
    """

    def __init__(
        self,
        job: Job,
        put_many: Callable[[list[Task]], object],
        finished: Callable[[], object],
    ) -> None:
        super().__init__(name="demo-feeder", daemon=True)
        self.paths: list[str] = []
        self.unlisted: list[tuple[str, str]] = []
        self.walking = True
        self.failure: str | None = None
        self._job = job
        self._put_many = put_many
        self._finished = finished

    def run(self) -> None:
        """Walk to the end, or until ``put_many`` raises, which is kept as the ``failure``."""
        job = self._job
        files = find_files(
            job.root,
            leave_out=job.leave_out,
            exclude=job.exclude,
            on_problem=lambda path, problem: self.unlisted.append((path, problem)),
        )
        tasks = tasks_for(itertools.islice(files, job.limit), job.kills)
        try:
            while batch := list(itertools.islice(tasks, BATCH)):
                self.paths += [task.path for task in batch]
                self._put_many(batch)
        except Exception as error:  # a thread has nobody above it: the main thread tells it
            self.failure = f"the walk of the tree ended early: {type(error).__name__}: {error}"
        finally:
            self.walking = False
            self._finished()
