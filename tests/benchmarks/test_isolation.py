"""Measurements that hang, crash or fail end as a sentence, and take their workers with them."""

import os
import signal
import sys
import threading

import pytest

from treadle.benchmarks.case import Measure, Unavailable
from treadle.benchmarks.isolation import Kind, Trouble, measure_in_child
from treadle.benchmarks.workers import Run, elapsed, in_processes, in_threads

LIMIT = 0.2  # seconds; only what is meant to hang uses it up
AMPLE = 30.0


def trouble(measure: Measure, limit: float = AMPLE) -> Trouble:
    outcome = measure_in_child(measure, 0.5, limit=limit)
    assert isinstance(outcome, Trouble)
    return outcome


def sleep_for_ever(_seconds: float) -> float:
    while True:
        signal.pause()


def spin_for_ever(_seconds: float) -> float:
    while True:
        pass


def test_the_value_comes_back_from_another_process() -> None:
    assert measure_in_child(lambda seconds: seconds * 2, 0.5, limit=AMPLE) == 1.0
    pid = measure_in_child(lambda _: float(os.getpid()), 0.5, limit=AMPLE)
    assert pid != os.getpid()


@pytest.mark.slow
@pytest.mark.parametrize("hang", [sleep_for_ever, spin_for_ever])
def test_a_hang_is_told_with_its_stack(hang: Measure) -> None:
    outcome = trouble(hang, LIMIT)
    assert outcome.kind is Kind.HUNG
    assert outcome.detail == "no result after 0.2 s"
    assert hang.__name__ in outcome.log


@pytest.mark.slow
def test_a_hang_that_blocks_its_own_watchdog_is_ended_from_outside() -> None:
    def deaf(_seconds: float) -> float:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        return sleep_for_ever(0.0)

    assert trouble(deaf, LIMIT).kind is Kind.HUNG


@pytest.mark.slow
def test_a_hung_worker_is_a_hang_and_is_killed() -> None:
    readable, writable = os.pipe()

    def measure(_seconds: float) -> float:
        return elapsed(in_processes(lambda: None, lambda: sleep_for_ever(0.0)))

    outcome = trouble(measure, LIMIT)
    os.close(writable)
    assert outcome.kind is Kind.HUNG
    assert os.read(readable, 1) == b""  # the end of the pipe: nobody who inherited it is alive
    os.close(readable)


def test_a_crash_is_told_with_its_signal_and_stack() -> None:
    def crash(_seconds: float) -> float:
        os.kill(os.getpid(), signal.SIGSEGV)
        return 0.0

    outcome = trouble(crash)
    assert outcome.kind is Kind.FAILED
    assert "SIGSEGV" in outcome.detail
    assert "in crash" in outcome.log


def test_an_exit_without_a_figure_is_told() -> None:
    def leave(_seconds: float) -> float:
        os._exit(3)

    outcome = trouble(leave)
    assert outcome.kind is Kind.FAILED
    assert "exit code 3" in outcome.detail


def test_an_exception_is_told_with_its_traceback() -> None:
    def fail(_seconds: float) -> float:
        raise RuntimeError("no such luck")

    outcome = trouble(fail)
    assert outcome.kind is Kind.FAILED
    assert outcome.detail == "RuntimeError: no such luck"
    assert "in fail" in outcome.log


def test_a_missing_module_is_not_a_failure() -> None:
    def absent(_seconds: float) -> float:
        import no_such_rival  # type: ignore[import-not-found]

        return float(no_such_rival.value)

    outcome = trouble(absent)
    assert outcome.kind is Kind.UNAVAILABLE
    assert "no_such_rival" in outcome.detail


def test_what_cannot_run_here_says_why() -> None:
    def elsewhere(_seconds: float) -> float:
        raise Unavailable("only on Tuesdays")

    assert trouble(elsewhere) == Trouble(Kind.UNAVAILABLE, "only on Tuesdays")


def test_a_dead_worker_ends_the_measurement_that_waits_for_it() -> None:
    def measure(_seconds: float) -> float:
        return elapsed(in_processes(lambda: os._exit(1), lambda: sleep_for_ever(0.0)))

    outcome = trouble(measure)
    assert outcome.kind is Kind.FAILED
    assert "a worker process ended without a result" in outcome.detail


def test_what_a_measurement_prints_stays_out_of_the_table(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def chatty(_seconds: float) -> float:
        print("to stdout")
        print("to stderr", file=sys.stderr)
        return 1.0

    assert measure_in_child(chatty, 0.5, limit=AMPLE) == 1.0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("together", [in_processes, in_threads])
def test_runs_come_back_in_the_order_of_the_jobs(together: object) -> None:
    def measure(_seconds: float) -> float:
        runs = together(lambda: "first", lambda: "second")  # type: ignore[operator]
        assert [run.result for run in runs] == ["first", "second"]
        assert all(run.began <= run.ended for run in runs)
        return 1.0

    assert measure_in_child(measure, 0.5, limit=AMPLE) == 1.0


def test_jobs_in_threads_run_side_by_side() -> None:
    def measure(_seconds: float) -> float:
        both = threading.Barrier(2)
        in_threads(both.wait, both.wait)
        return 1.0

    assert measure_in_child(measure, 0.5, limit=AMPLE) == 1.0


def test_elapsed_is_from_the_first_beginning_to_the_last_end() -> None:
    assert elapsed([Run(2.0, 3.0, None), Run(1.5, 2.5, None), Run(1.75, 4.0, None)]) == 2.5
