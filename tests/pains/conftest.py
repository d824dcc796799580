"""What the tests of the pains share."""

from tests.names.conftest import names
from tests.queue.conftest import start

__all__ = ["names", "start"]
