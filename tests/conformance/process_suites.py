"""The interpreter's own tests of processes, with treadle's as their subject.

python -m tests.conformance.process_suites fork -v
"""

from __future__ import annotations

import multiprocessing
import sys
import unittest

from test import _test_multiprocessing as theirs

import treadle

EXCEPTIONS = {
    "test_parent_process": "a grandchild outlives its parent, to say so; treadle's does not",
}
# (Their tests of threads are for multiprocessing.dummy.)
_SUITES = [theirs._TestProcess, theirs._TestSubclassingProcess]


def _suite(suite: type) -> type[unittest.TestCase]:
    members = {"__module__": __name__, "Process": treadle.Process}
    members |= {name: None for name in EXCEPTIONS if hasattr(suite, name)}
    name = suite.__name__.removeprefix("_")
    return type(name, (suite, theirs.ProcessesMixin, unittest.TestCase), members)


globals().update((made.__name__, made) for made in map(_suite, _SUITES))

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv.pop(1), force=True)  # their import has set one
    unittest.main()
