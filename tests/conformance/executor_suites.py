"""The interpreter's own tests of concurrent.futures, with treadle's executors as their subject.

python -m tests.conformance.executor_suites thread
python -m tests.conformance.executor_suites forkserver -v ProcessPoolForkserverWaitTest

The module, or package (from 3.12 on), is loaded with treadle's executors in the place of the
standard library's, and with the errors that treadle raises where those have others.
"""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.process
import contextlib
import importlib
import sys
import unittest
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import treadle
from tests.conformance import standard_pools

PREFIXES = {
    "thread": "ThreadPool",
    "fork": "ProcessPoolFork",
    "forkserver": "ProcessPoolForkserver",
    "spawn": "ProcessPoolSpawn",
}
"""How the names of their classes begin."""

_AT_ONCE = "treadle's workers start at once, not as they are needed"
EXCEPTIONS = {
    "test_killed_child": "a worker that dies costs its own call alone; the others go on",
    "test_idle_process_reuse_one": _AT_ONCE,
    "test_idle_process_reuse_multiple": _AT_ONCE,
    "test_idle_thread_reuse": _AT_ONCE,
    "test_default_workers": "treadle's threads are as many as the CPUs",
    "test_thread_names_assigned": "treadle's are called SpecialPool-0, not SpecialPool_0",
    "test_thread_names_default": "treadle's are called Executor-1-0, not ThreadPoolExecutor-1_0",
    "test_python_finalization_error": "fails threads that treadle has started before",
}
_OF_FORK = {
    "test_max_tasks_per_child": "with treadle it works under fork too",
}
"""They are run all the same and must fail: one that passes is struck from the list."""

_NOT_RUN = {
    "test_max_tasks_per_child_defaults_to_spawn_context": "treadle's default stays forkserver",
    "test_threads_terminate": _AT_ONCE,
    "test_processes_terminate": _AT_ONCE,
}
"""They fail as well, but leave workers behind, which what follows them would wait for."""
_AS_THEIRS = {"test_processes_terminate"}  # under fork

SELECTION = {
    "thread": ["AsCompletedTest", "ExecutorTest", "FailingInitializerTest"],
    "fork": ["ExecutorDeadlockTest", "FailingInitializerTest", "ProcessPoolShutdownTest"],
    "forkserver": ["ExecutorDeadlockTest", "InitializerTest"],
    "spawn": ["InitializerTest"],
}
"""What is run often, by the ends of the names: all of it takes minutes."""

_PACKAGE = "test.test_concurrent_futures"
_MODULES = ("as_completed", "deadlock", "init", "process_pool", "shutdown", "thread_pool", "wait")


def selected(kind: str) -> list[str]:
    """The names of the selection's classes."""
    return [PREFIXES[kind] + name for name in SELECTION[kind]]


def load(kind: str) -> dict[str, type[unittest.TestCase]]:
    """The test classes of that kind of workers."""
    _install()
    modules = _modules()
    cases = {
        name: member
        for module in modules
        for name, member in vars(module).items()
        if isinstance(member, type) and issubclass(member, unittest.TestCase)
    }
    prefix = PREFIXES[kind]
    others = tuple(each for each in PREFIXES.values() if each != prefix and len(each) > len(prefix))
    exceptions = EXCEPTIONS | (_OF_FORK if kind == "fork" else {})
    chosen = {}
    for name, case in cases.items():
        if not name.startswith(prefix) or name.startswith(others):
            continue
        for exception in exceptions:
            if hasattr(case, exception):
                setattr(case, exception, unittest.expectedFailure(_copy(case, exception)))
        for exception, reason in _NOT_RUN.items():
            if hasattr(case, exception) and (kind != "fork" or exception not in _AS_THEIRS):
                setattr(case, exception, unittest.skip(reason)(_copy(case, exception)))
        if hasattr(case, "_assert_logged"):
            case._assert_logged = _broken_and_says_why  # type: ignore[attr-defined]
        chosen[name] = case
    resources: Any = cases.get("FailingInitializerResourcesTest")
    if hasattr(resources, f"test_{kind}"):  # it has one for each of two ways to start
        for other in PREFIXES.keys() - {kind}:
            setattr(resources, f"test_{other}", None)
        chosen[resources.__name__] = resources
    return chosen


def _install() -> None:
    for adapter in (standard_pools.ProcessPoolExecutor, standard_pools.ThreadPoolExecutor):
        setattr(concurrent.futures, adapter.__name__, adapter)
    standard_pools.translate_scripts()
    process: Any = concurrent.futures.process
    process._RemoteTraceback = treadle.RemoteTraceback
    # What breaks a pool of the standard library costs one call with treadle.
    process.BrokenProcessPool = treadle.WorkerDiedError, treadle.TaskError


def _modules() -> list[ModuleType]:
    package = importlib.import_module(_PACKAGE)
    if not hasattr(package, "__path__"):
        modules = [package]
    else:
        modules = [importlib.import_module(f"{_PACKAGE}.test_{name}") for name in _MODULES]
    for module in modules:
        if hasattr(module, "ExecutorDeadlockTest"):
            # A call that ends its worker, or whose values cannot be sent, is told as a TaskError.
            theirs: Any = module
            theirs.SystemExit = theirs.PicklingError = treadle.TaskError
    return modules


def _copy(case: type, name: str) -> Any:
    test = getattr(case, name)

    def run(self: unittest.TestCase) -> None:
        test(self)

    return run


@contextlib.contextmanager
def _broken_and_says_why(case: Any, message: str) -> Iterator[None]:
    """The standard library logs the initializer's error; here it is the cause of what is raised."""
    yield
    with case.assertRaises(concurrent.futures.BrokenExecutor) as caught:
        case.executor.submit(int)
    error = caught.exception.__cause__
    case.assertEqual(f"{type(error).__name__}: {error}", message)


if __name__ == "__main__":
    standard_pools.preload(_PACKAGE, *(f"{_PACKAGE}.test_{name}" for name in _MODULES))
    globals().update(load(sys.argv.pop(1)))
    unittest.main()
