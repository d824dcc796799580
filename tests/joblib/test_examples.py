"""The examples in the docstrings of treadle.joblib show what they say."""

from __future__ import annotations

import doctest

import treadle.joblib


def test_the_examples_show_what_they_say() -> None:
    done = doctest.testmod(treadle.joblib, optionflags=doctest.ELLIPSIS)
    assert done.attempted >= 6
    assert done.failed == 0
