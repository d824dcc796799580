"""What the tests of the sync objects share."""

from collections.abc import Iterator

import pytest

from tests.sync.threads import OtherThread


@pytest.fixture
def other() -> Iterator[OtherThread]:
    """A second thread, which does what it is told."""
    thread = OtherThread("other")
    yield thread
    thread.dismiss()  # not joined: where a test has failed, it may be blocked
