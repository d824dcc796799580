"""treadle's pools and executors under the names and with the parameters of the standard library's.

Adapters for the interpreter's own tests: they translate, and change nothing of what is tested. What
those tests read of private attributes, to count workers or to wait for them, is answered here from
what treadle has in their place.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import treadle

__all__ = [
    "Pool",
    "ProcessPoolExecutor",
    "ThreadPool",
    "ThreadPoolExecutor",
    "preload",
    "translate_scripts",
]


class Pool(treadle.Pool):
    """``multiprocessing.Pool``."""

    _kind: Any = "process"

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
    ) -> None:
        super().__init__(
            processes,
            kind=self._kind,
            initializer=initializer,
            initargs=initargs,
            max_tasks_per_worker=maxtasksperchild,
        )

    @property
    def _pool(self) -> list[SimpleNamespace]:
        pids = self.statistics().pids
        return [SimpleNamespace(pid=pid, is_alive=lambda: True) for pid in pids]

    def _repopulate_pool(self) -> None:
        """It does so by itself."""


class ThreadPool(Pool):
    """``multiprocessing.pool.ThreadPool``."""

    _kind = "thread"


class _Executor(treadle.Executor):
    @property
    def _max_workers(self) -> int:
        return self.statistics().workers

    @property
    def _broken(self) -> bool:
        return self._engine.broken is not None

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        # The standard library's have always begun a call by then; treadle's may not have yet.
        while cancel_futures and not (now := self.statistics()).busy:
            if now.finished + now.failed == now.submitted:
                break
            time.sleep(0.001)
        super().shutdown(wait, cancel_futures=cancel_futures)


class ThreadPoolExecutor(_Executor):
    """``concurrent.futures.ThreadPoolExecutor``."""

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
    ) -> None:
        super().__init__(
            max_workers,
            kind="thread",
            initializer=initializer,
            initargs=initargs,
            label=thread_name_prefix or None,
        )
        self._threads = {worker.thread for worker in self._workers.crew._workers}  # type: ignore


class _Process:
    """A worker, which treadle closes when it has seen it off."""

    def __init__(self, process: treadle.Process) -> None:
        self._process = process
        self.terminate = process.terminate

    def join(self) -> None:
        with contextlib.suppress(ValueError):
            self._process.join()


class ProcessPoolExecutor(_Executor):
    """``concurrent.futures.ProcessPoolExecutor``."""

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        *,
        max_tasks_per_child: int | None = None,
    ) -> None:
        super().__init__(
            max_workers,
            initializer=initializer,
            initargs=initargs,
            max_tasks_per_worker=max_tasks_per_child,
            start_method=None if mp_context is None else mp_context.get_start_method(),
        )
        self._call_queue = SimpleNamespace(join_thread=lambda: None)
        self._executor_manager_thread = SimpleNamespace(join=self._engine.over.wait)

    @property
    def _processes(self) -> dict[int, _Process]:
        places = self._workers.crew._places  # type: ignore
        processes = [place.process for place in places if place.process is not None]
        return {process.pid: _Process(process) for process in processes}


def preload(*modules: str) -> None:
    """Have the server of forkserver import these too, and not each worker of each test."""
    multiprocessing.set_forkserver_preload([__name__, "treadle._pool.worker", *modules])


_SCRIPTS = {
    "from multiprocessing import Pool": "Pool",
    "from concurrent.futures import ThreadPoolExecutor": "ThreadPoolExecutor",
    "from concurrent.futures import ProcessPoolExecutor": "ProcessPoolExecutor",
}


def translate_scripts() -> None:
    """Have the scripts that tests run in other interpreters import these adapters as well."""
    from test.support import script_helper

    run = script_helper.assert_python_ok
    root = str(Path(__file__).parents[2])

    def run_translated(*args: str, **env: str) -> Any:
        translated = list(args)
        for line, name in _SCRIPTS.items():
            there = f"from {__name__} import {name}"
            translated = [each.replace(line, there) for each in translated]
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        return run(*translated, PYTHONPATH=path, **env)

    script_helper.assert_python_ok = run_translated
