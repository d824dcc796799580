"""The interpreter's own tests of shared values, arrays and memory, with treadle's as their subject.

python -m tests.conformance.shared_suites fork -v
"""

from __future__ import annotations

import multiprocessing
import sys
import unittest
from typing import Any

from test import _test_multiprocessing as theirs

import treadle
from treadle import _values

_OF_VALUES = {
    name: staticmethod(getattr(treadle, name))
    for name in ("Value", "Array", "RawValue", "RawArray")
}
# What their module has imported by name.
theirs.Value = treadle.Value  # type: ignore[attr-defined]
theirs.copy = _values.copy  # type: ignore[attr-defined]


def _suite(suite: type, members: dict[str, Any]) -> type[unittest.TestCase]:
    name = suite.__name__.removeprefix("_")
    bases = (suite, theirs.ProcessesMixin, unittest.TestCase)
    return type(name, bases, {"__module__": __name__, **members})


TestValue = _suite(theirs._TestValue, _OF_VALUES)
TestArray = _suite(theirs._TestArray, _OF_VALUES)
TestSharedCTypes = _suite(theirs._TestSharedCTypes, _OF_VALUES)

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv.pop(1), force=True)  # their import has set one
    unittest.main()
