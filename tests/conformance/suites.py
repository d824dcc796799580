"""The test classes that the table makes of ``test.lock_tests``: one for each implementation.

python -m tests.conformance.suites SharedLock
python -m tests.conformance.suites -v SharedBarrier.test_timeout
"""

from __future__ import annotations

import unittest
from typing import Any

from test import lock_tests

from tests.conformance.implementations import IMPLEMENTATIONS, Implementation

# Which attribute of a suite names the class under test.
_SUBJECTS = {
    "LockTests": "locktype",
    "RLockTests": "locktype",
    "EventTests": "eventtype",
    "ConditionTests": "condtype",
    "SemaphoreTests": "semtype",
    "BoundedSemaphoreTests": "semtype",
    "BarrierTests": "barriertype",
}


def suite_of(implementation: Implementation) -> type[unittest.TestCase]:
    """The suite, with the implementation as its subject."""
    suite = getattr(lock_tests, implementation.suite)
    members: dict[str, Any] = {
        "__module__": __name__,
        _SUBJECTS[implementation.suite]: staticmethod(implementation.factory),
    }
    for name in implementation.exceptions:
        if hasattr(suite, name):
            # Run all the same: an exception that is not needed any more fails, and is struck out.
            members[name] = unittest.expectedFailure(_copy(getattr(suite, name)))
    return type(implementation.name, (suite,), members)


def _copy(test: Any) -> Any:
    def run(self: unittest.TestCase) -> None:
        test(self)

    return run


globals().update((row.name, suite_of(row)) for row in IMPLEMENTATIONS)

if __name__ == "__main__":
    unittest.main()
