"""What the tests of shared memory for plain data share."""

from tests.names.conftest import names
from tests.names.conftest import start as start_program
from tests.queue.conftest import start

__all__ = ["names", "start", "start_program"]
