"""The interpreter's own tests of queue, asyncio's queues and asyncio's locks, on the drop-ins.

python -m tests.conformance.dropins test.test_queue
python -m tests.conformance.dropins test.test_asyncio.test_locks -v LockTests.test_acquire
"""

from __future__ import annotations

import importlib
import sys
import unittest
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from treadle import asyncio, queue

_WAITERS = "looks at _waiters, the list inside the pure Python class"


@dataclass(frozen=True)
class Suite:
    """``install`` puts the drop-in into the test module.

    ``not_applicable`` names tests that look at a private attribute of the standard library's pure
    Python class, each with what it looks at. They are run all the same and must fail: one that
    passes is struck from the list. ``hangs`` are those of them that would wait for ever.
    """

    module: str
    install: Callable[[ModuleType], None]
    not_applicable: dict[str, str] = field(default_factory=dict)
    hangs: frozenset[str] = frozenset()


def _install_asyncio(module: ModuleType) -> None:
    vars(module)["asyncio"] = asyncio


def _install_queue(module: ModuleType) -> None:
    for case in _cases(module):
        if hasattr(case, "queue"):
            case.queue = queue
        if hasattr(case, "type2test"):
            case.type2test = getattr(queue, case.type2test.__name__)


SUITES = {
    suite.module: suite
    for suite in (
        Suite("test.test_queue", _install_queue),
        Suite(
            "test.test_asyncio.test_queues",
            _install_asyncio,
            {
                "QueueBasicTests.test_repr": "expects _getters and _putters in the repr",
                "QueueBasicTests.test_str": "expects _getters and _putters in the str",
                "QueueGetTests.test_get_with_putters": "appends to _putters",
                "QueueGetTests.test_cancelled_getters_not_being_held_in_self_getters": (
                    "looks at _getters"
                ),
                "QueuePutTests.test_cancelled_puts_not_being_held_in_self_putters": (
                    "looks at _putters"
                ),
            },
        ),
        Suite(
            "test.test_asyncio.test_locks",
            _install_asyncio,
            {
                "LockTests.test_acquire_cancel": _WAITERS,
                "LockTests.test_cancel_race": _WAITERS,
                "LockTests.test_finished_waiter_cancelled": _WAITERS,
                "EventTests.test_clear_with_waiters": _WAITERS,
                "EventTests.test_repr": _WAITERS,
                "EventTests.test_wait_cancel": _WAITERS,
                "ConditionTests.test_repr": _WAITERS,
                "ConditionTests.test_wait_cancel": _WAITERS,
                "ConditionTests.test_ambiguous_loops": "sets _loop: treadle's belong to no loop",
                "SemaphoreTests.test_acquire": _WAITERS,
                "SemaphoreTests.test_acquire_cancel": _WAITERS,
                "SemaphoreTests.test_acquire_fifo_order_4": _WAITERS,  # from 3.13 on
                "SemaphoreTests.test_repr": _WAITERS,
                "BarrierTests.test_reset_barrier_when_tasks_half_draining": (
                    "looks at _count, inside the pure Python class"
                ),
            },
            hangs=frozenset({"ConditionTests.test_ambiguous_loops"}),
        ),
    )
}


def load(suite: Suite) -> ModuleType:
    """The test module, with the drop-in in the place of the standard module."""
    module = importlib.import_module(suite.module)
    suite.install(module)
    for name, reason in suite.not_applicable.items():
        owner, _, method = name.partition(".")
        case = getattr(module, owner)
        if not hasattr(case, method):  # of another version of the interpreter
            continue
        if name in suite.hangs:
            test: Any = unittest.skip(reason)(getattr(case, method))
        else:
            test = unittest.expectedFailure(getattr(case, method))
        setattr(case, method, test)
    return module


def _cases(module: ModuleType) -> Iterator[Any]:
    for member in vars(module).values():
        if isinstance(member, type):
            yield member


if __name__ == "__main__":
    unittest.main(load(SUITES[sys.argv[1]]), argv=[sys.argv[1], *sys.argv[2:]])
