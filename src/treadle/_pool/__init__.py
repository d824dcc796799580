"""Pools of workers, processes or threads, and the engine behind them."""

from treadle._pool.current import Worker, current_worker
from treadle._pool.executor import Executor, Future
from treadle._pool.jobs import AsyncResult, ImapIterator, MapResult
from treadle._pool.pool import Pool
from treadle._pool.views import PoolView

__all__ = [
    "AsyncResult",
    "Executor",
    "Future",
    "ImapIterator",
    "MapResult",
    "Pool",
    "PoolView",
    "Worker",
    "current_worker",
]

for _public in (AsyncResult, Executor, Future, ImapIterator, MapResult, Pool, PoolView, Worker):
    _public.__module__ = "treadle"  # the name that reports show
