"""What the tests of shared memory for plain data share."""

from tests.queue.conftest import start

__all__ = ["start"]
