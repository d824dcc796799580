"""A worker's work on one file: what it sends, what it returns, when it gives up."""

import hashlib
import os
from pathlib import Path

import pytest

from treadle.demo import content, victims
from treadle.demo.messages import Beat, Begun, Done, Message, Refused, Task
from treadle.demo.worker import ATTEMPTS, do_task


@pytest.fixture(autouse=True)
def no_victim_lives_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(victims, "SECONDS_TO_LIVE", 0.0)


def do(path: Path, deliveries: int = 1, kills: int = 0) -> tuple[Done | Refused, list[Message]]:
    sent: list[Message] = []
    return do_task(Task(str(path), kills), deliveries, sent.append), sent


def test_a_file_is_done(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"treadle")
    result, sent = do(tmp_path / "file", deliveries=2)
    assert isinstance(result, Done)
    assert result.sha256 == hashlib.sha256(b"treadle").hexdigest()
    assert (result.path, result.size) == (str(tmp_path / "file"), 7)
    assert (result.pid, result.deliveries) == (os.getpid(), 2)
    assert sent == []


def test_a_path_that_cannot_be_done_is_refused_with_its_reason(tmp_path: Path) -> None:
    result, _ = do(tmp_path / "gone")
    why = "it is gone; it was there when the tree was walked"
    assert result == Refused(str(tmp_path / "gone"), why, os.getpid(), 1)


def test_a_large_file_sends_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "CHUNK", 10)
    monkeypatch.setattr(content, "BEAT_BYTES", 10)
    (tmp_path / "file").write_bytes(bytes(25))
    path = str(tmp_path / "file")
    _, sent = do(tmp_path / "file")
    assert sent == [Beat(path, os.getpid(), read) for read in (10, 20)]


@pytest.mark.parametrize(("deliveries", "begun"), [(1, True), (2, True), (3, False)])
def test_as_many_deliveries_as_marked_make_victims(
    tmp_path: Path, deliveries: int, begun: bool
) -> None:
    (tmp_path / "file").touch()
    _, sent = do(tmp_path / "file", deliveries, kills=2)
    assert sent == [Begun(str(tmp_path / "file"), os.getpid())] * begun


def test_a_file_that_costs_workers_their_life_is_given_up(tmp_path: Path) -> None:
    """The kills that were asked for do not count against it."""
    (tmp_path / "file").touch()
    last, _ = do(tmp_path / "file", deliveries=ATTEMPTS + 2, kills=2)
    assert isinstance(last, Done)
    given_up, _ = do(tmp_path / "file", deliveries=ATTEMPTS + 3, kills=2)
    assert isinstance(given_up, Refused)
    assert given_up.problem == "it is given up: 3 workers died while they worked on it"
