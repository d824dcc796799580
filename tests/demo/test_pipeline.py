"""The pipeline on treadle: every file once, whoever is killed, whatever the tree is like."""

import os
import random
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.demo.accounts import job_for, results_for
from tests.demo.trees import plant
from treadle.demo.check import faults_of
from treadle.demo.display import SilentDisplay
from treadle.demo.messages import Done, Refused
from treadle.demo.pipeline import run_on_treadle
from treadle.demo.run import DemoError, Job, Run
from treadle.demo.supervisor import UNASKED_DEATHS, Supervisor

pytestmark = pytest.mark.slow


def do(job: Job) -> tuple[Run, list[Done | Refused]]:
    results: list[Done | Refused] = []
    return run_on_treadle(job, SilentDisplay(), results.append), results


def essence(results: list[Done | Refused]) -> list[tuple[object, ...]]:
    """What two runs over the same files agree in."""
    return sorted(
        (each.path, each.size, each.sha256, each.compressed)
        if isinstance(each, Done)
        else (each.path, each.problem)
        for each in results
    )


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("kills", [0, 1, 4])
def test_every_file_once_with_the_serial_digest(tmp_path: Path, workers: int, kills: int) -> None:
    paths = plant(tmp_path)
    job = job_for(tmp_path, workers=workers, kills=kills)
    run, results = do(job)
    assert faults_of(job, run) == []
    assert sorted(run.found) == paths
    assert len(results) == len(paths)
    assert essence(results) == essence(results_for(job))
    assert run.files == len(paths)
    assert run.bytes == sum(os.path.getsize(path) for path in paths)


def test_a_killed_worker_was_killed_by_sigkill_and_replaced(tmp_path: Path) -> None:
    plant(tmp_path)
    run, _ = do(job_for(tmp_path, kills=1))
    (killed,), (death,), (again,) = run.killed, run.deaths, run.again
    assert (death.pid, death.exitcode) == (killed.pid, -signal.SIGKILL)
    assert death.replacement not in (None, killed.pid)
    assert (again.path, again.deliveries) == (killed.path, 2)
    assert again.pid != killed.pid


@pytest.mark.parametrize("seed", range(5))
def test_workers_killed_by_others_at_any_moment_cost_no_file(tmp_path: Path, seed: int) -> None:
    """Six workers are killed when the collector takes a result of theirs, wherever they are then:
    in a put, an ack, a file. A result may come twice, and is dropped.
    """
    paths = plant(tmp_path, files=300, large=10)
    generator = random.Random(seed)
    results: list[Done | Refused] = []
    doomed = set(generator.sample(range(250), UNASKED_DEATHS - 2))
    killed: set[int] = set()

    def write(result: Done | Refused) -> None:
        if len(results) in doomed and result.pid not in killed:
            killed.add(result.pid)
            with suppress(ProcessLookupError):  # the collector may be far behind the workers
                os.kill(result.pid, signal.SIGKILL)
        results.append(result)

    job = job_for(tmp_path, workers=3, kills=0)
    run = run_on_treadle(job, SilentDisplay(), write)
    assert killed
    assert {death.pid for death in run.deaths} <= killed
    assert faults_of(job, run) == []
    assert sorted(result.path for result in results) == paths
    assert essence(results) == essence(results_for(job))


def test_one_file_can_cost_many_workers_their_life(tmp_path: Path) -> None:
    (tmp_path / "only").write_text("x")
    job = job_for(tmp_path / "only", workers=2, kills=5)
    run, (result,) = do(job)
    assert faults_of(job, run) == []
    assert result.deliveries == 6
    assert len({killed.pid for killed in run.killed}) == 5


def test_more_workers_than_files(tmp_path: Path) -> None:
    plant(tmp_path, files=1, large=1)
    job = job_for(tmp_path, workers=6, kills=1)
    run, results = do(job)
    assert faults_of(job, run) == []
    assert len(results) == 2


def test_a_tree_without_files_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    run, results = do(job_for(tmp_path, kills=1))
    assert (run.found, results, run.killed, run.failure) == ((), [], (), None)


def test_a_limit_is_kept(tmp_path: Path) -> None:
    paths = plant(tmp_path)
    run, _ = do(job_for(tmp_path, kills=1, limit=7))
    assert len(run.found) == run.files == 7
    assert set(run.found) < set(paths)


def test_what_cannot_be_read_is_refused_and_the_rest_is_done(tmp_path: Path) -> None:
    paths = plant(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling").symlink_to("nowhere")
    job = job_for(tmp_path, kills=1)
    run, results = do(job)
    assert faults_of(job, run) == []
    assert run.files == len(paths)
    assert {(refused.path, refused.problem) for refused in run.refused} == {
        (str(tmp_path / "fifo"), "it is a FIFO, not a file"),
        (str(tmp_path / "dangling"), "it is a link to something that is not there"),
    }
    assert len(results) == len(paths) + 2


def test_files_that_vanish_in_mid_run_are_refused_and_the_rest_is_done(tmp_path: Path) -> None:
    """The first result of the run takes the last files away, which still wait in the queue."""
    plant(tmp_path, files=400, large=0)
    doomed = list((tmp_path / "4").iterdir())
    job = job_for(tmp_path, workers=1, kills=1)
    results: list[Done | Refused] = []

    def write(result: Done | Refused) -> None:
        if not results:
            for path in doomed:
                path.unlink()
        results.append(result)

    run = run_on_treadle(job, SilentDisplay(), write)
    assert faults_of(job, run) == []
    gone = {refused.path for refused in run.refused}
    assert gone and gone <= {str(path) for path in doomed}
    assert {refused.problem for refused in run.refused} == {
        "it is gone; it was there when the tree was walked"
    }
    assert run.files + len(gone) == len(run.found)


def test_names_that_are_not_utf8_cross_the_queues(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\n")
    Path(name).write_text("x")
    run, (result,) = do(job_for(tmp_path, kills=1))
    assert run.found == (name,)
    assert result.path == name


def test_a_report_that_cannot_be_written_ends_the_run_and_its_workers(tmp_path: Path) -> None:
    plant(tmp_path)

    def write(_: Done | Refused) -> None:
        raise DemoError("the disk is full")

    with pytest.raises(DemoError, match="the disk is full"):
        run_on_treadle(job_for(tmp_path), SilentDisplay(), write)


def test_a_run_that_stalls_is_ended_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only worker waits for its end, which does not come."""
    paths = plant(tmp_path)
    monkeypatch.setattr(Supervisor, "kill", lambda self, pid: True)
    job = replace(job_for(tmp_path, workers=1, kills=1), patience=2.0)
    run, results = do(job)
    assert run.failure == "no sign of life from any worker for 2 s"
    assert len(results) + len(run.lost) == len(paths)
    assert run.lost
    assert faults_of(job, run)[0] == run.failure
