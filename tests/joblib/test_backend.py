"""joblib's Parallel, and scikit-learn's n_jobs, run on treadle's pools."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator

import joblib
import pytest
from joblib import Parallel, delayed

import treadle
import treadle.joblib
from tests.sync.threads import until

WORKERS = [{"kind": "thread"}, {"start_method": "fork"}]


@pytest.fixture(autouse=True)
def registered() -> None:
    treadle.joblib.register()


@pytest.fixture(params=WORKERS, ids=lambda options: next(iter(options.values())))
def block(request: pytest.FixtureRequest) -> Iterator[None]:
    """A block in which joblib uses treadle."""
    with joblib.parallel_config(backend="treadle", n_jobs=2, **request.param):
        yield


def square(number: int) -> int:
    return number * number


def refuse(number: int) -> int:
    if number == 5:
        raise ValueError("five")
    return number


def label_of_the_worker(_: object) -> str:
    worker = treadle.current_worker()
    assert worker is not None
    return worker.label


def squares_inside(count: int) -> int:
    return sum(Parallel(n_jobs=2)(delayed(square)(number) for number in range(count)))


def test_calls_are_made_by_the_workers_of_a_pool(block: None) -> None:
    assert Parallel()(delayed(square)(number) for number in range(1000)) == [
        number * number for number in range(1000)
    ]
    assert set(Parallel()(delayed(label_of_the_worker)(each) for each in range(20))) == {"joblib"}


def test_functions_may_be_lambdas(block: None) -> None:
    step = 3
    assert Parallel()(delayed(lambda x: x + step)(number) for number in range(3)) == [3, 4, 5]


def test_results_may_come_one_by_one(block: None) -> None:
    results = Parallel(return_as="generator")(delayed(square)(number) for number in range(9))
    assert list(results) == [number * number for number in range(9)]
    results = Parallel(return_as="generator_unordered")(delayed(square)(x) for x in range(9))
    assert sorted(results) == [number * number for number in range(9)]


def test_an_error_is_raised_and_the_pool_goes_on(block: None) -> None:
    with pytest.raises(ValueError, match="five"):
        Parallel()(delayed(refuse)(number) for number in itertools.count())
    assert Parallel()(delayed(square)(number) for number in range(3)) == [0, 1, 4]


def test_an_error_of_the_input_is_raised(block: None) -> None:
    def calls() -> Iterator[object]:
        for number in range(30):
            yield delayed(square)(number)
        raise KeyError("input")

    with pytest.raises(KeyError, match="input"):
        Parallel()(calls())
    assert Parallel()(delayed(square)(number) for number in range(3)) == [0, 1, 4]


@pytest.mark.slow
def test_calls_past_joblibs_timeout_are_stopped() -> None:
    with joblib.parallel_config(backend="treadle", n_jobs=2, start_method="fork"):
        with pytest.raises(multiprocessing.TimeoutError):
            Parallel(timeout=0.1)(delayed(time.sleep)(1000) for _ in range(4))
        assert Parallel()(delayed(square)(number) for number in range(3)) == [0, 1, 4]


def test_parallel_calls_nest(block: None) -> None:
    assert Parallel()(delayed(squares_inside)(count) for count in range(5)) == [0, 0, 1, 5, 14]


def test_a_worker_that_is_killed_costs_its_call_alone(tmp_path: str) -> None:
    marker = os.path.join(tmp_path, "killed")

    def kill_once(number: int) -> int:
        if number == 3 and not os.path.exists(marker):
            open(marker, "w").close()
            os.kill(os.getpid(), 9)
        return number

    with joblib.parallel_config(backend="treadle", n_jobs=2, start_method="fork"):
        with pytest.raises(treadle.WorkerDiedError):
            Parallel(batch_size=1)(delayed(kill_once)(number) for number in range(8))
        os.unlink(marker)
        Parallel()(delayed(square)(number) for number in range(3))
    with joblib.parallel_config(backend="treadle", n_jobs=2, start_method="fork", retries=1):
        assert Parallel(batch_size=1)(delayed(kill_once)(x) for x in range(8)) == list(range(8))


def test_one_pool_serves_all_calls_of_a_block_and_ends_with_it() -> None:
    before = threading.active_count()
    with joblib.parallel_config(backend="treadle", n_jobs=2, kind="thread"):
        workers = set(Parallel()(delayed(threading.get_ident)() for _ in range(50)))
        workers.update(Parallel()(delayed(threading.get_ident)() for _ in range(50)))
        with Parallel() as parallel:
            workers.update(parallel(delayed(threading.get_ident)() for _ in range(50)))
        assert len(workers) <= 2
        del parallel
        gc.collect()
    until(lambda: threading.active_count() <= before)


def test_another_number_of_workers_makes_another_pool() -> None:
    with joblib.parallel_config(backend="treadle", kind="thread"):
        slow = Parallel(n_jobs=2, return_as="generator")(delayed(square)(x) for x in range(100))
        barrier = threading.Barrier(3)
        assert len(Parallel(n_jobs=3)(delayed(barrier.wait)() for _ in range(3))) == 3
        assert list(slow) == [number * number for number in range(100)]


def test_numbers_of_workers_are_joblibs() -> None:
    with joblib.parallel_config(backend="treadle"):
        assert joblib.effective_n_jobs() == joblib.cpu_count()
        assert joblib.effective_n_jobs(-1) == joblib.cpu_count()
        assert joblib.effective_n_jobs(-100) == 1
        assert joblib.effective_n_jobs(None) == 1
        assert joblib.effective_n_jobs(3) == 3
        with pytest.raises(ValueError, match="n_jobs == 0"):
            Parallel(n_jobs=0)(delayed(square)(number) for number in range(3))
        assert Parallel(n_jobs=1)([delayed(treadle.current_worker)()]) == [None]


def test_shared_memory_needs_threads() -> None:
    found: list[int] = []
    with joblib.parallel_config(backend="treadle", n_jobs=2, kind="thread"):
        Parallel(require="sharedmem")(delayed(found.append)(number) for number in range(3))
        assert set(Parallel()(delayed(label_of_the_worker)(each) for each in range(3))) == {
            "joblib"
        }
    assert sorted(found) == [0, 1, 2]
    with joblib.parallel_config(backend="treadle", start_method="fork"):
        assert Parallel(require="sharedmem")([delayed(os.getpid)()]) == [os.getpid()]


def test_what_a_pool_does_not_know_is_refused() -> None:
    with (
        joblib.parallel_config(backend="treadle", n_jobs=2, kinds="thread"),
        pytest.raises(TypeError, match="kinds"),
    ):
        Parallel()(delayed(square)(number) for number in range(3))


@pytest.mark.slow
def test_scikit_learn_runs_on_it() -> None:
    pytest.importorskip("sklearn")
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import cross_val_score

    features, classes = make_classification(200, random_state=0)
    forest = RandomForestClassifier(10, random_state=0, n_jobs=2)
    alone = cross_val_score(forest, features, classes, n_jobs=1)
    with joblib.parallel_config(backend="treadle", start_method="fork"):
        assert list(cross_val_score(forest, features, classes, n_jobs=2)) == list(alone)
