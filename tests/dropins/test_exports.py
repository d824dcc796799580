"""The drop-ins have what the standard modules have, on every interpreter (tests/packaging)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dropins.exports import NOT_APPLICABLE, missing


def test_nothing_is_missing() -> None:
    assert list(missing()) == []


def test_what_is_missing_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import treadle.threading as ours

    monkeypatch.delattr(ours.Timer, "finished")
    monkeypatch.setattr(ours, "__all__", [name for name in ours.__all__ if name != "Lock"])
    assert set(missing()) == {
        "treadle.threading.__all__ has no Lock",
        "treadle.threading.Timer has no finished",
    }


@pytest.mark.parametrize("kind", NOT_APPLICABLE)
def test_what_is_left_out_is_missing(kind: str) -> None:
    import treadle.queue
    import treadle.threading

    made: Any = getattr(treadle.queue, kind, None) or getattr(treadle.threading, kind)
    assert not any(hasattr(made(), name) for name in NOT_APPLICABLE[kind])
