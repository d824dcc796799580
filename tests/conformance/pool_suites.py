"""The interpreter's own tests of multiprocessing's pools, with treadle's as their subject.

python -m tests.conformance.pool_suites fork -v
python -m tests.conformance.pool_suites thread -v TestPool.test_imap
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool
import sys
import unittest
from typing import Any

from test import _test_multiprocessing as theirs

import treadle
from tests.conformance import standard_pools

EXCEPTIONS = {
    "test_imap_handle_iterable_exception": "what was drawn into a chunk before the input raised "
    "has results as well",
    "test_map_unplicklable": "an argument that cannot be sent is a TaskError, which says of what "
    "task; what its pickling raised is the cause",
    "test_resource_warning": "sets _state, inside the standard library's class",
    "test_unpickleable_result": "a lambda can be sent",
}
"""They are run all the same and must fail: one that passes is struck from the list."""


def _suite(suite: type, mixin: type, pool: type) -> type[unittest.TestCase]:
    members: dict[str, Any] = {"__module__": __name__, "Pool": staticmethod(pool)}
    for name in EXCEPTIONS:
        if hasattr(suite, name):
            members[name] = unittest.expectedFailure(_copy(getattr(suite, name)))
    name = suite.__name__.removeprefix("_")
    return type(name, (suite, mixin, unittest.TestCase), members)


def _copy(test: Any) -> Any:
    def run(self: unittest.TestCase) -> None:
        test(self)

    return run


# Workers import this module, and look their tasks up in it: methods of these classes.
if sys.argv[1:2] == ["thread"]:
    TestPool = _suite(theirs._TestPool, theirs.ThreadsMixin, standard_pools.ThreadPool)
else:
    TestPool = _suite(theirs._TestPool, theirs.ProcessesMixin, standard_pools.Pool)
    TestPoolWorkerErrors = _suite(
        theirs._TestPoolWorkerErrors, theirs.ProcessesMixin, standard_pools.Pool
    )
    TestPoolWorkerLifetime = _suite(
        theirs._TestPoolWorkerLifetime, theirs.ProcessesMixin, standard_pools.Pool
    )

if __name__ == "__main__":
    start_method = sys.argv.pop(1)
    if start_method != "thread":
        multiprocessing.set_start_method(start_method, force=True)  # their import has set one
        standard_pools.preload(theirs.__name__)
        multiprocessing.Pool = standard_pools.Pool  # type: ignore[assignment,method-assign]
        multiprocessing.pool.RemoteTraceback = treadle.RemoteTraceback  # type: ignore
        standard_pools.translate_scripts()
    unittest.main()
