"""The collector: each path's result once, whatever arrives, and an account of all that happened."""

import pytest

from tests.demo.accounts import done
from treadle.demo.collector import Collector, Patience, Stalled
from treadle.demo.display import SilentDisplay
from treadle.demo.messages import Beat, Begun, Died, Done, Refused
from treadle.demo.progress import Progress
from treadle.demo.run import Killed


class Notes(SilentDisplay):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.shown: list[Progress] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def show(self, progress: Progress) -> None:
        self.shown.append(progress)


class Desk:
    """A collector, with all that it writes, kills and shows."""

    def __init__(self, *, victims_live: bool = True) -> None:
        self.display = Notes()
        self.written: list[Done | Refused] = []
        self.killed: list[int] = []

        def kill(pid: int) -> bool:
            self.killed.append(pid)
            return victims_live

        self.collector = Collector("/r", self.display, write=self.written.append, kill=kill)
        self.take = self.collector.take

    def account(self, *found: str):  # type: ignore[no-untyped-def]
        return self.collector.account("treadle", found, [], None)


def test_each_result_is_written_and_counted() -> None:
    desk = Desk()
    refused = Refused("/r/b", "it is a FIFO, not a file", 1, 1)
    desk.take(done("/r/a"))
    desk.take(refused)
    run = desk.account("/r/a", "/r/b")
    assert desk.written == [done("/r/a"), refused]
    assert (run.files, run.bytes, run.compressed) == (1, 10, 5)
    assert run.refused == (refused,)
    assert run.lost == ()


def test_a_result_that_comes_again_is_dropped_and_counted() -> None:
    desk = Desk()
    desk.take(done("/r/a", pid=1))
    desk.take(done("/r/a", pid=2, deliveries=2))
    run = desk.account("/r/a")
    assert desk.written == [done("/r/a", pid=1)]
    assert run.duplicates == ("/r/a",)
    assert (run.files, run.bytes, run.again) == (1, 10, ())


def test_a_path_without_a_result_is_lost() -> None:
    desk = Desk()
    desk.take(done("/r/a"))
    assert desk.account("/r/a", "/r/b", "/r/c").lost == ("/r/b", "/r/c")


def test_a_victim_that_has_begun_is_killed() -> None:
    desk = Desk()
    desk.take(Begun("/r/a", 12))
    assert desk.killed == [12]
    assert desk.account().killed == (Killed(12, "/r/a"),)
    assert desk.display.notes == ["SIGKILL to worker 12 in the middle of a"]


def test_a_victim_that_was_gone_already_is_not_counted_as_killed() -> None:
    desk = Desk(victims_live=False)
    desk.take(Begun("/r/a", 12))
    assert desk.account().killed == ()


def test_a_death_is_told_with_the_replacement() -> None:
    desk = Desk()
    desk.take(Died(12, -9, 15))
    desk.take(Died(13, 1, None))
    assert desk.account().deaths == (Died(12, -9, 15), Died(13, 1, None))
    assert desk.display.notes == [
        "worker 12 ended by SIGKILL; worker 15 takes its place",
        "worker 13 ended with exit code 1",
    ]


def test_what_was_delivered_again_is_told() -> None:
    desk = Desk()
    desk.take(done("/r/a", pid=7, deliveries=2))
    assert desk.account("/r/a").again == (done("/r/a", pid=7, deliveries=2),)
    assert desk.display.notes == ["worker 7 got it again (delivery 2): a"]


def test_progress_counts_what_is_done_of_files_in_work() -> None:
    desk = Desk()
    desk.take(done("/r/a"))
    desk.take(Beat("/r/b", 5, 100))
    desk.take(Beat("/r/b", 5, 200))
    desk.take(Beat("/r/c", 6, 1000))
    desk.collector.show(3, True)
    desk.take(Died(6, -9, None))
    desk.take(done("/r/b", pid=5))
    desk.collector.show(3, False)
    assert [(shown.done, shown.bytes) for shown in desk.display.shown] == [(1, 1210), (2, 20)]


def test_patience_ends_with_so_many_waits_in_a_row() -> None:
    patience = Patience(3.0)
    for _ in range(5):
        patience.silence()
        patience.silence()
        patience.news()
    patience.silence()
    patience.silence()
    with pytest.raises(Stalled, match="no sign of life from any worker for 3 s"):
        patience.silence()
