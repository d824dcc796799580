"""The kinds of shared queues: what does not speak of order is shown of all of them."""

from __future__ import annotations

import pytest

import treadle

KINDS = [treadle.Queue, treadle.PriorityQueue, treadle.LifoQueue]

every_kind = pytest.mark.parametrize("queue", KINDS, indirect=True)
# The items are put in ascending order, so that a priority queue gives them out as they came.
ascending = pytest.mark.parametrize("queue", KINDS[:2], indirect=True)
