"""The main job on treadle: two queues, a walking thread, worker processes, a collector.

The parent's waits are short ones in the collector, which counts the silence. Those of the others
(the walker's ``put_many``, a worker's ``lease`` and ``put``) need no deadline of their own: when
the collector's patience ends, the workers are killed and the queues are shut down under the walker.
"""

from __future__ import annotations

from collections.abc import Callable

import treadle
from treadle.demo.collector import Collector, Patience, Stalled
from treadle.demo.display import Display
from treadle.demo.feeder import Feeder
from treadle.demo.interrupt import undisturbed
from treadle.demo.messages import Done, Message, Refused, Task
from treadle.demo.run import DemoError, Job, Run
from treadle.demo.supervisor import SECONDS_TO_DIE, Supervisor
from treadle.demo.worker import work

QUEUED = 1024
QUEUED_BYTES = 64 << 10
"""Each queue's limits; a path may be 4 KiB long, and the smallest arena has 1 MiB."""
BATCH = 256


def run_on_treadle(job: Job, display: Display, write: Callable[[Done | Refused], object]) -> Run:
    """Do ``job`` with treadle's queues; ``write`` gets each path's result, once.

    Returns when every worker has left. A run that stalls is ended, and its account says so in
    ``failure``. Raises `DemoError` when a worker cannot be got rid of.
    """
    try:
        tasks: treadle.Queue[Task] = treadle.Queue(QUEUED, maxbytes=QUEUED_BYTES)
        results: treadle.Queue[Message] = treadle.Queue(QUEUED, maxbytes=QUEUED_BYTES)
    except ValueError as error:  # what the environment says of the arena makes no sense
        raise DemoError(str(error), exit_code=2) from None
    feeder = Feeder(job, tasks.put_many, tasks.shutdown)
    supervisor = Supervisor(
        work, (tasks, results), job.workers, post=results.put, finished=results.shutdown
    )
    collector = Collector(job.root, display, write=write, kill=supervisor.kill)
    failure: str | None = None
    try:
        supervisor.start()
        feeder.start()
        _collect(job, results, collector, feeder)
        failure = supervisor.failure or feeder.failure
    except Stalled as stall:
        failure = supervisor.failure or str(stall)
    finally:
        with undisturbed():
            survivors = supervisor.close()
            tasks.shutdown(immediate=True)
            results.shutdown(immediate=True)
            if feeder.ident is not None:
                feeder.join(SECONDS_TO_DIE)
            if survivors:
                raise DemoError(f"workers that do not die by SIGKILL: {survivors}; see `ps -l`")
    return collector.account("treadle", feeder.paths, feeder.unlisted, failure)


def _collect(
    job: Job, results: treadle.Queue[Message], collector: Collector, feeder: Feeder
) -> None:
    patience = Patience(job.patience)
    while True:
        try:
            batch = results.get_many(BATCH, timeout=patience.WAIT)
        except treadle.Empty:
            patience.silence()
        except treadle.ShutDown:
            return
        else:
            patience.news()
            for message in batch:
                collector.take(message)
        collector.show(len(feeder.paths), feeder.walking)
