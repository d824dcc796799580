"""What the tests of the pains share."""

from tests.queue.conftest import start

__all__ = ["start"]
