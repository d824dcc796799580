"""The interpreter's own tests of mappings, with treadle's Dict as their subject.

python -m tests.conformance.dict_suites -v
"""

from __future__ import annotations

import unittest
from typing import Any

from test import mapping_tests

import treadle


class AsADict(treadle.Dict[Any, Any]):
    """Its text is that of a dict, which the tests of ``repr`` ask for."""

    def __repr__(self) -> str:
        return super().__repr__()[len("Dict(") : -1]


class DictTest(mapping_tests.TestMappingProtocol):  # type: ignore[misc]
    type2test = AsADict

    @unittest.expectedFailure
    def test_setdefault(self) -> None:
        """Changes a value that it was given: here it is a copy."""
        super().test_setdefault()

    def test_copy(self) -> None:
        """Also asks for a copy of its kind: here it is a dict of this process."""
        subject = AsADict({1: 1, 2: 2})
        copied = subject.copy()
        subject[3] = 3
        assert copied == {1: 1, 2: 2}
        assert type(copied) is dict

    def test_fromkeys(self) -> None:
        """Also asks whether a class may make something else of itself, as `dict` lets it."""
        assert AsADict.fromkeys("abc") == {"a": None, "b": None, "c": None}
        assert AsADict.fromkeys((4, 5), 0) == {4: 0, 5: 0}


if __name__ == "__main__":
    unittest.main()
