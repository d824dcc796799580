"""The same job on multiprocessing: right as long as nobody dies, and a hang after one death."""

from pathlib import Path

import pytest

from tests.demo.accounts import job_for
from tests.demo.trees import plant
from treadle.demo.check import faults_of
from treadle.demo.display import SilentDisplay
from treadle.demo.rival import run_on_multiprocessing

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
