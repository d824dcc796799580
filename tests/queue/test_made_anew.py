"""``__init__`` called again while a call is inside: it goes on with the queue as it was."""

from __future__ import annotations

import pytest

import treadle
from tests.queue.kinds import KINDS
from tests.sync.kinds import both_storages
from tests.sync.threads import OtherThread, until_parked

pytestmark = pytest.mark.slow  # the calls end by their timeouts


@both_storages
@pytest.mark.parametrize("kind", KINDS)
def test_a_get_inside_goes_on_with_the_items_that_there_were(
    kind: type[treadle.Queue], shared: bool, other: OtherThread
) -> None:
    queue = kind(shared=shared)
    inside = other.start(queue.get, True, 0.3)
    until_parked(queue, other.native_id)
    queue.__init__(shared=shared)
    others = [kind(shared=shared) for _ in range(20)]
    for each in (*others, queue):
        each.put("item")
    with pytest.raises(treadle.Empty):
        inside.result()
    for each in (*others, queue):
        assert each.get_nowait() == "item"
