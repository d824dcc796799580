"""The table of what must pass the interpreter's own tests of synchronization objects.

A new implementation joins by one line. An exception needs its reason, and is allowed only for a
test that looks at a private attribute or hook of the standard library's own implementation, or
that gives a shared object a part which no other process can reach: what a user can see has no
other exceptions, and the private objects and the drop-ins, which stand for threading's, have none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import treadle
from treadle import threading

Factory = Callable[..., Any]


@dataclass(frozen=True)
class Implementation:
    """``factory`` makes what the tests of ``suite``, a class of ``test.lock_tests``, ask for."""

    name: str
    suite: str
    factory: Factory
    exceptions: Mapping[str, str] = field(default_factory=dict)


def _on_both_storages(
    name: str, suite: str, factory: Factory, exceptions: Mapping[str, str] | None = None
) -> list[Implementation]:
    return [
        Implementation(f"{storage}{name}", suite, partial(factory, shared=shared), exceptions or {})
        for storage, shared in (("Shared", True), ("Private", False))
    ]


_PRIVATE_EVENT = {
    "test_at_fork_reinit": "looks at Event._cond, the lock inside the pure Python class",
}
_PRIVATE_RLOCK = {
    "test_recursion_count": "calls the private RLock._recursion_count; test.test_threading "
    "leaves it out for threading.Condition as well",
}
_SHARED_CONDITION = {
    "test_acquire": "makes a condition of a threading.Lock: a shared one refuses it, and says so",
}

IMPLEMENTATIONS = [
    *_on_both_storages("Lock", "LockTests", treadle.Lock),
    *_on_both_storages(
        "TakenOverLock", "LockTests", partial(treadle.Lock, on_owner_death="recover")
    ),
    *_on_both_storages("RLock", "RLockTests", treadle.RLock),
    *_on_both_storages("Event", "EventTests", treadle.Event, _PRIVATE_EVENT),
    Implementation("SharedCondition", "ConditionTests", treadle.Condition, _SHARED_CONDITION),
    Implementation("PrivateCondition", "ConditionTests", partial(treadle.Condition, shared=False)),
    *_on_both_storages("ConditionAsRLock", "RLockTests", treadle.Condition, _PRIVATE_RLOCK),
    *_on_both_storages("Semaphore", "SemaphoreTests", treadle.Semaphore),
    *_on_both_storages("BoundedSemaphore", "BoundedSemaphoreTests", treadle.BoundedSemaphore),
    Implementation(
        "ReclaimingSemaphore", "SemaphoreTests", partial(treadle.Semaphore, reclaim=True)
    ),
    Implementation(
        "ForgetfulBoundedSemaphore",
        "BoundedSemaphoreTests",
        partial(treadle.BoundedSemaphore, reclaim=False),
    ),
    *_on_both_storages("Barrier", "BarrierTests", treadle.Barrier),
    # The drop-ins of treadle.threading.
    Implementation("DropInLock", "LockTests", threading.Lock),
    Implementation("DropInRLock", "RLockTests", threading.RLock),
    Implementation("DropInEvent", "EventTests", threading.Event, _PRIVATE_EVENT),
    Implementation("DropInCondition", "ConditionTests", threading.Condition),
    Implementation("DropInConditionAsRLock", "RLockTests", threading.Condition, _PRIVATE_RLOCK),
    Implementation("DropInSemaphore", "SemaphoreTests", threading.Semaphore),
    Implementation("DropInBoundedSemaphore", "BoundedSemaphoreTests", threading.BoundedSemaphore),
    Implementation("DropInBarrier", "BarrierTests", threading.Barrier),
]  # fmt: skip
