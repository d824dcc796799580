"""The path of a Fifo goes with its maker; whoever else is there meets the next one all the same."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Literal

import pytest

import treadle
from tests.sync.threads import OtherThread, until


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "fifo")


@pytest.fixture
def other() -> OtherThread:
    return OtherThread()


@pytest.mark.slow
def test_a_persistent_reader_meets_the_next_writer_though_the_maker_took_the_path(
    path: str, other: OtherThread
) -> None:
    making = other.start(treadle.Fifo, path, "w")  # the writer is first, and waits for a reader
    until(lambda: os.path.exists(path))
    with treadle.Fifo(path, persistent=True) as reader:
        first = making.result()
        first.send("one")
        first.close()
        assert not os.path.exists(path)
        assert reader.recv() == "one"
        sending = other.start(_send, path, "two")
        assert reader.recv() == "two"
        sending.result()
    assert not os.path.exists(path)
    other.end()


@pytest.mark.slow
def test_a_persistent_reader_stays_with_a_writer_that_still_has_the_old_path(
    path: str, other: OtherThread
) -> None:
    making = other.start(treadle.Fifo, path, "w")
    until(lambda: os.path.exists(path))
    with treadle.Fifo(path, persistent=True) as reader:
        first = making.result()
        with treadle.Fifo(path, "w") as second:
            first.close()
            with pytest.raises(TimeoutError):
                reader.recv(timeout=1.2)  # it has looked where the path leads by then
            second.send("still here")
            assert reader.recv() == "still here"
    other.end()


def _send(path: str, message: str) -> None:
    with treadle.Fifo(path, "w") as writer:
        writer.send(message)


def test_a_writer_that_waits_makes_the_path_anew(path: str, other: OtherThread) -> None:
    sending = other.start(_send, path, "for whoever comes")
    until(lambda: os.path.exists(path))
    os.unlink(path)  # as the maker does that gives up
    until(lambda: os.path.exists(path))
    with treadle.Fifo(path) as reader:
        assert reader.recv() == "for whoever comes"
    sending.result()
    other.end()


@pytest.mark.slow
def test_opening_and_closing_at_once_fails_nobody(path: str) -> None:
    failed: list[BaseException] = []

    def open_and_close() -> None:
        try:
            for _ in range(500):
                treadle.Fifo(path, raw=True).close()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=open_and_close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert not os.path.exists(path)


@pytest.mark.parametrize("mode", ["r", "w"])
def test_a_folder_that_is_missing_is_named(tmp_path: Path, mode: Literal["r", "w"]) -> None:
    path = tmp_path / "there" / "not there" / "nor there" / "fifo"
    (tmp_path / "there").mkdir()
    with pytest.raises(FileNotFoundError, match=r"there is no folder '.*/not there'; make") as told:
        treadle.Fifo(path, mode)
    assert told.value.filename == str(path)


def test_any_other_reason_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"Not a directory: '.*/file/fifo'"):
        treadle.Fifo(tmp_path / "file" / "fifo")


def test_a_link_to_nothing_is_refused(path: str) -> None:
    os.symlink(f"{path} elsewhere", path)
    with pytest.raises(FileExistsError, match="is a link to nothing"):
        treadle.Fifo(path)
