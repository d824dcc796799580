"""``__init__`` called again while a call is inside: it goes on with the object as it was.

It touches nobody else's memory.
"""

from __future__ import annotations

from typing import Any

import pytest

import treadle
from tests.sync.kinds import BLOCKING_CALLS, BlockingCall, both_storages
from tests.sync.threads import OtherThread, until_parked

_ARGUMENTS = {treadle.Latch: (1,), treadle.Barrier: (2,)}
_CALLS = [
    call
    for call in BLOCKING_CALLS
    if call.takes_timeout and call.name not in ("Condition.wait_for", "Condition.acquire")
]
pytestmark = pytest.mark.slow  # the calls end by their timeouts


@both_storages
@pytest.mark.parametrize("call", _CALLS, ids=lambda call: call.name)
def test_a_call_inside_goes_on_with_what_there_was(
    call: BlockingCall, shared: bool, other: OtherThread
) -> None:
    thing = call.make(shared)
    inside = other.start(_ends, call, thing)
    until_parked(call.parks_on(thing), other.native_id)
    thing.__init__(*_ARGUMENTS.get(type(thing), ()), shared=shared)
    others = [call.make(shared) for _ in range(20)]
    looks = [each.statistics() for each in others]
    assert inside.result() is True
    assert [each.statistics() for each in others] == looks


def _ends(call: BlockingCall, thing: Any) -> bool:
    """Whatever it says."""
    try:
        call.block(thing, 0.3)
    except (RuntimeError, TimeoutError):
        pass
    return True
