"""What the tests of the drop-ins share."""

from tests.aio.conftest import other_loop
from tests.queue.conftest import other

__all__ = ["other", "other_loop"]
