"""Threads, processes and groups of them: what runs calls, and says what came of them."""

from treadle._running.groups import Group
from treadle._running.processes import Process
from treadle._running.threads import Thread

__all__ = ["Group", "Process", "Thread"]
