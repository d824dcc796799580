"""The interpreter's own tests of connections, with treadle's pipes as their subject.

python -m tests.conformance.pipe_suites -v
"""

from __future__ import annotations

import unittest

from test import _test_multiprocessing as theirs

import treadle

EXCEPTIONS = {
    "test_fd_transfer": "sends descriptors through the connection's own socket (send_handle)",
    "test_large_fd_transfer": "the same",
    "test_missing_fd_transfer": "the same",
    "test_pickling": "sends the standard library's connections and sockets, which only its own "
    "ForkingPickler can pickle",
}
# (Their tests of threads are for multiprocessing.dummy, whose pipes nothing closes.)
_SUITES = [theirs._TestConnection, theirs._TestPoll, theirs._TestPicklingConnections]


def _suite(suite: type) -> type[unittest.TestCase]:
    members = {"__module__": __name__, "Pipe": staticmethod(treadle.Pipe)}
    members |= {name: None for name in EXCEPTIONS if hasattr(suite, name)}  # type: ignore[misc]
    name = suite.__name__.removeprefix("_")
    return type(name, (theirs.ProcessesMixin, suite, unittest.TestCase), members)


globals().update((made.__name__, made) for made in map(_suite, _SUITES))

if __name__ == "__main__":
    unittest.main()
