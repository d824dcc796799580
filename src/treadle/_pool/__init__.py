"""Pools of workers, processes or threads, and the engine behind them."""

from treadle._pool.current import current_worker
from treadle._pool.jobs import AsyncResult, ImapIterator, MapResult
from treadle._pool.pool import Pool

__all__ = ["AsyncResult", "ImapIterator", "MapResult", "Pool", "current_worker"]
