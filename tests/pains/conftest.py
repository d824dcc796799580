"""What the tests of the pains share."""

from tests.names.conftest import names
from tests.names.conftest import start as start_program
from tests.queue.conftest import start

__all__ = ["names", "start", "start_program"]
