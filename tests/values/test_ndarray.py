"""ndarray: NumPy arrays in shared memory, which cross as handles, and their views with them."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import treadle
from tests.queue.workers import KINDS, Start, books
from tests.values import work

_100_MB = 100_000_000


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_worker_writes_into_the_same_memory(start: Start, kind: str) -> None:
    array = treadle.ndarray((4, 6))
    start(kind, work.fill, [array[1], (array[2:, ::2],)], 7.0).join()
    assert array[0].tolist() == [0.0] * 6
    assert array[1].tolist() == [7.0] * 6
    assert array[2:].tolist() == [[7.0, 0.0] * 3] * 2


def test_a_task_has_it_and_its_slices_whatever_they_lie_in() -> None:
    array = treadle.ndarray(30, "f4")
    with treadle.Pool(2, start_method="fork") as pool:
        pool.apply(work.fill, ([array[:5], (array[5:10],)], 1))
        sums = pool.starmap(work.fill_and_sum, [(array[i : i + 5], i) for i in (10, 15, 20)])
    assert array.tolist() == [1.0] * 10 + [10.0] * 5 + [15.0] * 5 + [20.0] * 5 + [0.0] * 5
    assert sums == [50.0, 75.0, 100.0]
    there: treadle.Queue[Any] = treadle.Queue()
    there.put({"rows": [array, array[25:]]})
    there.get()["rows"][1][:] = -1
    assert array[25:].tolist() == [-1.0] * 5


@pytest.mark.slow
def test_a_hundred_megabytes_take_no_more_room_on_their_way_than_a_kilobyte() -> None:
    large, small = treadle.ndarray(_100_MB, "u1"), treadle.ndarray(1000, "u1")
    treadle._core.forget_pickled()
    there: treadle.Queue[Any] = treadle.Queue()
    there.put(small)
    there.get()
    before = books()[1]
    there.put(large)
    assert abs(len(pickle.dumps(large)) - len(pickle.dumps(small))) <= 8
    got = there.get()
    assert books()[1] - before < 1 << 20
    got[:: _100_MB // 10] = 5
    assert np.count_nonzero(large) == 10  # what the receiver writes, the sender has


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(
            st.integers(-7, 7) | st.none(),
            st.integers(-7, 7) | st.none(),
            st.sampled_from([None, 1, 2, -1, -3]),
        ),
        max_size=3,
    ),
    st.permutations([0, 1, 2]),
    st.booleans(),
)
def test_any_view_arrives_as_that_view(cuts: Any, axes: Any, writeable: bool) -> None:
    array = treadle.ndarray((4, 5, 6), "i2", order="F" if writeable else "C")
    array[...] = np.arange(120).reshape(4, 5, 6)
    view = array.transpose(axes)[tuple(slice(*cut) for cut in cuts)]
    view.flags.writeable = writeable
    there = pickle.loads(pickle.dumps(view))
    assert (there.shared, there.dtype) == (True, view.dtype)
    assert there.flags.writeable is writeable
    assert there.tolist() == view.tolist()
    if writeable:
        there[...] = -1
        assert (view == -1).all()


def test_views_of_another_kind_arrive_too() -> None:
    array = treadle.ndarray(4, [("a", "<i4"), ("b", "<f8", 2)])
    field = pickle.loads(pickle.dumps(array["b"][1:, 1]))
    field[:] = [1, 2, 3]
    assert array["b"].tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]
    assert pickle.loads(pickle.dumps(array)).dtype == array.dtype
    when = treadle.ndarray(2, "M8[ms]")
    assert pickle.loads(pickle.dumps(when)).dtype == when.dtype
    words = pickle.loads(pickle.dumps(treadle.ndarray(3, "u4")[1:].view("u1")))
    assert (words.shape, words.shared) == ((8,), True)
    for shape in ((), (0,), (3, 0, 2)):
        assert pickle.loads(pickle.dumps(treadle.ndarray(shape))).shape == shape


def test_what_is_computed_is_an_ordinary_array() -> None:
    array = treadle.ndarray((3, 3), initial=[1, 2, 3])
    made = [array + 1, -array, np.sin(array), array @ array, array.mean(axis=0), array > 1]
    made += [
        np.concatenate([array, array]),
        array.copy(),
        array.astype(int),
        np.where(array > 1, array, 0),
    ]
    assert {type(one) for one in made} == {np.ndarray}
    assert {type(array.sum()), type(array.max()), type(array[0, 0])} == {np.float64}
    same = array
    same += 1
    assert same is array
    assert np.multiply(array, 2, out=array) is array
    assert array.tolist() == [[4.0, 6.0, 8.0]] * 3
    private = np.zeros_like(array)  # of the class, which some functions keep
    assert not getattr(private, "shared", False)
    assert type(pickle.loads(pickle.dumps(private))) is np.ndarray


def test_what_it_begins_with() -> None:
    assert treadle.ndarray((2, 3), "i4", initial=[[1], [2]]).tolist() == [[1, 1, 1], [2, 2, 2]]
    assert treadle.ndarray(3).dtype == float
    assert treadle.ndarray((2, 3), order="F").flags.f_contiguous
    used = treadle.ndarray(1000, "u1", initial=255)
    del used
    assert not treadle.ndarray(1000, "u1").any()
    with pytest.raises(ValueError, match="broadcast"):
        treadle.ndarray(3, initial=[1, 2])


@pytest.mark.parametrize("dtype", [object, [("a", "O")]])
def test_objects_of_python_cannot_lie_in_it(dtype: Any) -> None:
    with pytest.raises(TypeError, match="holds Python objects"):
        treadle.ndarray(3, dtype)


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        treadle.ndarray((3, -1))
    with pytest.raises(ValueError, match="order must be"):
        treadle.ndarray(3, order="K")  # type: ignore[arg-type]
    with pytest.raises(treadle.ArenaFullError, match="no room for"):
        treadle.ndarray((1 << 30, 1 << 30))


def test_a_name_reaches_the_same_array() -> None:
    first = treadle.ndarray((2, 2), "i8", initial=5, name="named array")
    second = treadle.ndarray((2, 2), "i8", initial=6, name="named array")
    second[1, 1] = 7
    assert first.tolist() == [[5, 5], [5, 7]]
    assert (first.name, first[0].name, second.label) == (
        "named array",
        "named array",
        "named array",
    )
    with pytest.raises(treadle.HandleError, match=r"ndarray\(\(2, 2\), '<i8'\), and"):
        treadle.ndarray((2, 2), "f8", name="named array")


WITHOUT_NUMPY = """
import sys
sys.modules["numpy"] = None
import treadle
from treadle import *
try:
    treadle.ndarray(3)
except ImportError as error:
    print(error)
"""


@pytest.mark.slow
def test_without_numpy_one_sentence_says_what_is_missing() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_NUMPY], capture_output=True, text=True)
    assert (
        done.stdout == "treadle.ndarray needs NumPy 1.26 or later: pip install 'treadle[numpy]'\n"
    )
    assert done.stderr == ""


def test_pickles_of_old_protocols_work_as_well() -> None:
    array = treadle.ndarray(3)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pickle.loads(pickle.dumps(array[1:], protocol))[0] = protocol
        assert array[1] == protocol
