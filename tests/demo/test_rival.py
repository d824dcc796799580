"""The same job on multiprocessing: right as long as nobody dies, and a hang after one death."""

import gc
import threading
from multiprocessing import synchronize
from pathlib import Path

import pytest

from tests.demo.accounts import job_for
from tests.demo.trees import plant
from treadle.demo.check import faults_of
from treadle.demo.display import SilentDisplay
from treadle.demo.rival import run_on_multiprocessing
from treadle.demo.run import Run

pytestmark = pytest.mark.slow


def test_without_a_kill_every_file_comes_once(tmp_path: Path) -> None:
    paths = plant(tmp_path)
    job = job_for(tmp_path)
    run = run_on_multiprocessing(job, SilentDisplay())
    assert faults_of(job, run) == []
    assert sorted(run.found) == paths
    assert run.files == len(paths)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_kill_loses_the_victim_s_file_and_the_watchdog_ends_the_wait(
    tmp_path: Path, workers: int
) -> None:
    plant(tmp_path)
    run = run_on_multiprocessing(
        job_for(tmp_path, workers=workers, kills=1), SilentDisplay(), watchdog=2.0
    )
    (killed,) = run.killed
    assert killed.path in run.lost
    assert run.failure == "no sign of life from any worker for 2 s"
    assert run.files + len(run.lost) == len(run.found)


def test_an_empty_tree_ends_by_itself(tmp_path: Path) -> None:
    run = run_on_multiprocessing(job_for(tmp_path, kills=1), SilentDisplay())
    assert (run.found, run.failure) == ((), None)


class InterruptedDisplay(SilentDisplay):
    """Ctrl-C as soon as there is something to tell."""

    def note(self, text: str) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("display", [SilentDisplay(), InterruptedDisplay()])
def test_no_thread_unlinks_a_semaphore_while_the_interpreter_may_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, display: SilentDisplay
) -> None:
    """Cut off in the middle, it would be a leak in the eyes of multiprocessing's tracker."""
    unlink = synchronize.SemLock._cleanup  # type: ignore[attr-defined]
    by_others = threading.Event()

    def watched(name: str) -> None:
        if threading.current_thread() is not threading.main_thread():
            by_others.set()
        unlink(name)

    monkeypatch.setattr(synchronize.SemLock, "_cleanup", staticmethod(watched))
    plant(tmp_path)

    def run() -> Run | None:
        try:
            return run_on_multiprocessing(job_for(tmp_path, kills=1), display, watchdog=1.0)
        except KeyboardInterrupt:
            return None

    assert (run() is None) == isinstance(display, InterruptedDisplay)
    gc.collect()
    # What must not come cannot be waited for to its end; the threads behind the queues need far
    # less than this to end, when nothing keeps them.
    assert not by_others.wait(0.5)
