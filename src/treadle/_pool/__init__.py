"""Pools of workers, processes or threads, and the engine behind them.

Nothing is imported here: a worker process needs worker.py alone, and its start should be short.
"""
