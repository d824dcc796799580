"""The interpreter's own tests of shared values, arrays and memory, with treadle's as their subject.

python -m tests.conformance.shared_suites fork -v
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.managers
import sys
import unittest
from typing import Any

from test import _test_multiprocessing as theirs

import treadle
from treadle import _shareable_list, _shared_memory, _values

EXCEPTIONS = {
    "test_shared_memory_cleaned_after_process_termination": "waits for what the resource tracker "
    "says; tests/values/test_shared_memory.py has treadle's",
    "test_shared_memory_untracking": "is about the resource tracker, which there is none of",
    "test_shared_memory_tracking": "is about the resource tracker, which there is none of",
}

_OF_VALUES = {
    name: staticmethod(getattr(treadle, name))
    for name in ("Value", "Array", "RawValue", "RawArray")
}
# What their module has imported by name.
theirs.Value = treadle.Value  # type: ignore[attr-defined]
theirs.copy = _values.copy  # type: ignore[attr-defined]
# The module that they, and the standard library's manager of shared memory, find both classes in.
_shared_memory.ShareableList = _shareable_list.ShareableList  # type: ignore[attr-defined]
sys.modules["multiprocessing.shared_memory"] = _shared_memory
for module in (theirs, multiprocessing, multiprocessing.managers):
    module.shared_memory = _shared_memory  # type: ignore[attr-defined]


def _suite(suite: type, members: dict[str, Any]) -> type[unittest.TestCase]:
    name = suite.__name__.removeprefix("_")
    bases = (suite, theirs.ProcessesMixin, unittest.TestCase)
    members |= {name: None for name in EXCEPTIONS if hasattr(suite, name)}
    return type(name, bases, {"__module__": __name__, **members})


TestValue = _suite(theirs._TestValue, _OF_VALUES)
TestArray = _suite(theirs._TestArray, _OF_VALUES)
TestSharedCTypes = _suite(theirs._TestSharedCTypes, _OF_VALUES)
TestSharedMemory = _suite(theirs._TestSharedMemory, {})

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv.pop(1), force=True)  # their import has set one
    unittest.main()
