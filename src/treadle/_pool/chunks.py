"""How many items a worker takes at once: as many as are about a millisecond of work.

Prior art: ``multiprocessing.Pool.map`` cuts its input into four chunks a worker, whatever is in
them, so one slow chunk at the end keeps the others waiting; joblib measures batches and doubles
or halves them. Here sizes follow the time that an item took, and shrink with what is left, as in
guided self-scheduling (Polychronopoulos and Kuck, 1987).
"""

from __future__ import annotations

__all__ = ["Chunks"]

_AIM = 0.001  # seconds of work in a chunk
_GROWTH = 8  # no chunk is longer than so many times the last that was measured
_SHARE = 4  # of what is left, no chunk is more than one part of so many for each worker
_LONGEST = 1 << 16


class Chunks:
    """Sizes of chunks; fixed, or measured. For one thread at a time."""

    def __init__(self, workers: int, fixed: int | None = None) -> None:
        if fixed is not None and fixed < 1:
            raise ValueError(f"chunksize must be 1 or more, not {fixed}")
        self._workers = workers
        self._size = fixed or 1
        self._measured = fixed is None
        self.singly = fixed == 1

    def size(self, left: int | None = None) -> int:
        """Of the next chunk; left: how many items there are, None if nobody knows."""
        if not self._measured or left is None:
            return self._size
        return max(1, min(self._size, -(-left // (_SHARE * self._workers))))

    def took(self, items: int, seconds: float) -> None:
        """So many items took so long."""
        if self._measured and items:
            fitting = int(_AIM * items / max(seconds, 1e-9))
            self._size = max(1, min(fitting, items * _GROWTH, _LONGEST))
