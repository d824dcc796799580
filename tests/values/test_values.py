"""Value, Array and the raw ones: the standard library's surface, in memory that all reach."""

from __future__ import annotations

import array
import copy
import ctypes
import multiprocessing
import pickle
import threading
from multiprocessing.connection import Connection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import treadle
from tests.names.conftest import Start as StartProgram
from tests.queue.workers import KINDS, Start
from tests.sync.children import Child, killed_while
from tests.values import work
from treadle import _values

CODES = "bBhHiIlLqQ"
TYPES = {code: type(multiprocessing.RawValue(code)) for code in "cu" + CODES + "fd"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_worker_has_the_same_memory(start: Start, kind: str) -> None:
    value, items = treadle.Value("q", 2**40), treadle.Array("i", 4)
    point, text = treadle.Value(work.Point, 1, 1.5), treadle.Array("c", 10)
    raw = treadle.RawValue(work.Segment)
    start(kind, work.change, value, items, point, text, raw).join()
    assert (value.value, items[:]) == (2**40 + 1, [0, 10, 20, 0])
    assert (point.x, point.y, text.value) == (5, 3.0, b"changed")
    assert (raw.ends[1].name, raw.bits) == (b"end", 5)


def test_they_pass_through_queues_and_pools() -> None:
    value, items = treadle.Value("i", 1), treadle.RawArray("d", 3)
    there: treadle.Queue[Any] = treadle.Queue()
    there.put({"value": value, "items": [items, items]})
    got = there.get()
    got["value"].fetch_add(41)
    got["items"][1][2] = 0.5
    assert (value.value, items[:]) == (42, [0.0, 0.0, 0.5])
    with treadle.Pool(1, start_method="fork") as pool:
        assert pool.apply(pow, (2, 3)) == 8
        pool.apply(work.count, (value, treadle.Array("q", 4), 10))
    assert value.value == 52


# ---- Numbers are what ctypes makes of them


@pytest.mark.slow
@given(
    code=st.sampled_from(CODES + "fdcu"),
    number=st.integers(-(2**65), 2**65) | st.floats() | st.booleans(),
)
def test_a_value_takes_and_refuses_what_ctypes_does(code: str, number: Any) -> None:
    value, items, own = treadle.Value(code), treadle.Array(code, 2), TYPES[code]()
    try:
        own.value = number
    except (TypeError, ValueError, OverflowError) as error:
        with pytest.raises(type(error)):
            value.value = number
        with pytest.raises(type(error)):
            items[1] = number
    else:
        value.value = items[-1] = number
        assert repr(value.value) == repr(items[1]) == repr(own.value)


def test_indices_and_slices_are_those_of_ctypes() -> None:
    ours, theirs = treadle.Array("h", range(6)), (ctypes.c_short * 6)(*range(6))
    assert list(ours) == list(theirs)
    assert [ours[i] for i in range(-6, 6)] == [theirs[i] for i in range(-6, 6)]
    assert (ours[1:5:2], ours[::-1], len(ours)) == (theirs[1:5:2], theirs[::-1], 6)
    for index in (6, -7, 2**70, -(2**70)):
        with pytest.raises(IndexError):
            ours[index]
        with pytest.raises(IndexError):
            ours[index] = 1
    with pytest.raises(TypeError):
        ours["1"]
    with pytest.raises(ValueError, match="size"):
        ours[1:3] = [1, 2, 3]
    assert ours[:] == list(range(6))


def test_sizes_and_initializers() -> None:
    assert treadle.Array("i", 0)[:] == treadle.RawArray("i", [])[:] == []
    assert treadle.Array("d", array.array("f", [0.5, 2]))[:] == [0.5, 2.0]
    assert treadle.Array("c", b"abc").raw == b"abc"
    assert treadle.Array("u", "añ")[:] == "añ"
    with pytest.raises(ValueError, match="cannot have -1 items"):
        treadle.Array("i", -1)
    with pytest.raises(treadle.ArenaFullError, match="no room for"):
        treadle.RawArray("d", 2**45)
    for _ in range(3):  # memory that was used is zeroed
        used = treadle.Array("i", 100)
        assert used[:] == [0] * 100
        used[:] = [7] * 100


def test_a_structure_has_its_fields_even_where_they_are_called_as_ours() -> None:
    point = treadle.Value(work.Point, 1, 2.5, b"here", label="of the point")
    point.name = b"there"
    assert (point.x, point.y, point.name, point.label) == (1, 2.5, b"there", "of the point")
    assert point.get_obj().name == b"there"
    assert not hasattr(point, "value")


# ---- Locks


def test_the_lock_is_an_own_one_a_given_one_or_none() -> None:
    assert isinstance(treadle.Value("i").get_lock(), treadle.RLock)
    assert isinstance(treadle.Value("i", lock=None).get_lock(), treadle.RLock)
    for lock in (treadle.Lock(), multiprocessing.Lock(), threading.RLock()):
        value = treadle.Value("i", 3, lock=lock)
        assert value.get_lock() is lock
        value.value += 1
        assert value.acquire(timeout=1) is True
        value.release()
    for raw in (treadle.Value("i", lock=False), treadle.RawArray("i", 1)):
        assert not hasattr(raw, "get_lock")
    with pytest.raises(AttributeError, match="has no method 'acquire'"):
        treadle.Value("i", lock="open")
    with pytest.raises(TypeError, match="has a lock already"):
        _values.synchronized(treadle.Value("i"))


def test_access_waits_for_who_holds_the_lock_and_atomic_operations_do_not() -> None:
    value = treadle.Value("i", 1)
    value.acquire()
    seen: list[int] = []
    reader = threading.Thread(target=lambda: seen.extend([value.fetch_add(1), value.value]))
    reader.start()
    while value.load() == 1:
        pass
    value.value = 10
    value.release()
    reader.join()
    assert seen == [1, 10]


def test_who_comes_after_a_killed_holder_is_told_and_goes_on() -> None:
    value = treadle.Value("i", 5, label="hits")
    killed_while(value.acquire)
    with pytest.warns(treadle.OwnerDiedWarning, match="'hits' was held by"):
        value.value += 1
    assert value.value == 6
    strict = treadle.Value("i", lock=treadle.RLock())
    killed_while(strict.acquire)
    with pytest.raises(treadle.OwnerDiedError):
        strict.value += 1
    with strict.get_lock().recover():
        strict.value = 1
    assert strict.value == 1


# ---- Types


class Node(ctypes.Structure):
    pass


Node._fields_ = [("number", ctypes.c_int), ("next", ctypes.POINTER(Node))]


class Holder(ctypes.Structure):
    _fields_ = (("nodes", Node * 2),)


@pytest.mark.parametrize(
    ("of", "where"),
    [
        (Node, "next is a pointer"),
        (Holder, r"nodes\.next is a pointer"),
        (ctypes.c_char_p, "it is a pointer"),
        (ctypes.c_void_p, "it is a pointer"),
        (ctypes.py_object, "it is a pointer"),
        (ctypes.CFUNCTYPE(None), "it is a pointer"),
        (int, "no type of ctypes"),
        (ctypes.Structure, "no type of ctypes"),
        (3, "no type of ctypes"),
        ("z", "no type code"),
    ],
)
def test_what_cannot_be_shared_is_refused(of: Any, where: str) -> None:
    with pytest.raises(TypeError, match=where):
        treadle.RawValue(of)


def test_arrays_of_arrays_and_unions() -> None:
    class Either(ctypes.Union):
        _fields_ = (("number", ctypes.c_uint32), ("bytes", ctypes.c_ubyte * 4))

    either = treadle.Value(Either)
    either.number = 0x01020304
    assert either.bytes[:] == [4, 3, 2, 1]
    grid = treadle.RawArray(ctypes.c_int * 3, 2)
    there = pickle.loads(pickle.dumps(grid))
    there[1][2] = 7
    assert grid[1][:] == [0, 0, 7]


def test_what_they_are_pickled_as_and_copied_to() -> None:
    raw = treadle.RawArray("i", [1, 2, 3])
    for other in (copy.copy(raw), copy.deepcopy(raw)):
        other[0] = 9
    same = pickle.loads(pickle.dumps(raw))
    same[1] = 8
    assert raw[:] == [1, 8, 3]
    assert isinstance(raw, ctypes.c_int * 3)
    point = treadle.RawArray(work.Point, 2)
    alone = pickle.loads(pickle.dumps(point[0]))  # a part of it goes as its bytes
    alone.x = 1
    assert point[0].x == 0
    private = _values.synchronized(ctypes.c_int(1))
    with pytest.raises(TypeError, match="its memory is this process's own"):
        pickle.dumps(private)


def test_what_ctypes_lays_askew_is_left_to_it() -> None:
    room = bytearray(20)
    value = _values.synchronized(ctypes.c_int.from_buffer(room, 3))
    value.value = 7
    assert (value.value, room[3]) == (7, 7)
    with pytest.raises(TypeError, match="no integer of a fixed size"):
        value.fetch_add(1)
    for numbers in (3, 9, 17, 40):
        with pytest.raises(ValueError, match=r"no plain numbers|smaller than its number"):
            treadle.Synchronized(ctypes.c_int(1), treadle.RLock(), numbers)


def test_a_damaged_handle_says_so() -> None:
    handle = pickle.dumps(treadle.RawValue("i", 77))
    for place in range(len(handle) - 40, len(handle) - 20):
        damaged = handle[:place] + bytes([handle[place] ^ 1]) + handle[place + 1 :]
        with pytest.raises(Exception) as caught:
            assert pickle.loads(damaged).value == 77
            raise treadle.HandleError  # the change was in the pickle, not in the handle
        assert isinstance(
            caught.value, (treadle.HandleError, pickle.UnpicklingError, EOFError, ValueError)
        )


# ---- Names


def test_a_name_reaches_the_same_value_and_its_lock() -> None:
    first = treadle.Value(work.Point, 1, 2.0, name="named point")
    second = treadle.Value(work.Point, 7, name="named point")
    second.y = 5.0
    assert (first.x, first.y) == (1, 5.0)
    with first.get_lock():
        assert second.get_lock().locked()
    with pytest.raises(
        treadle.HandleError, match=r"named point.*x: int, y: double.*Value\(int\) was asked"
    ):
        treadle.Value("i", name="named point")
    items = treadle.Array("q", 3, name="named items")
    with pytest.raises(treadle.HandleError, match=r"Array\(long \* 3\)|Array\(longlong \* 3\)"):
        treadle.Array("q", 4, name="named items")
    del first, second, items
    treadle.Array("q", 4, name="named items")


@pytest.mark.slow
def test_what_persists_is_there_for_the_next_program(start_program: StartProgram) -> None:
    maker = start_program()
    maker.tell("all = treadle.Value('q', 5, name='kept', persist=True)")
    maker.tell("more = treadle.ndarray(3, name='rows', persist=True, initial=2)")
    assert maker.tell("all.fetch_add(1)") == 5
    maker.kill()
    user = start_program()
    assert user.tell("treadle.Value('q', name='kept').value") == 6
    assert user.tell("treadle.ndarray(3, name='rows').tolist()") == [2.0, 2.0, 2.0]
    assert user.tell("[each[0] for each in treadle._core.list_names()]") == [
        "kept",
        "kept/lock",
        "rows",
    ]
    for name in ("kept", "rows"):
        user.tell(f"treadle.unlink({name!r})")
    assert user.tell("gc.collect(), treadle._core.list_names()")[1] == []


def _open_and_count(line: Connection, name: str, first: int) -> None:
    line.recv()
    value = treadle.Value("q", first, name=name)
    array = treadle.ndarray(1000, "q", initial=first, name=f"{name} too")
    line.send((value.fetch_add(1) // 1000, int(array.min()), int(array.max())))
    line.recv()


@pytest.mark.parametrize("turn", range(3))
def test_of_those_who_make_a_name_at_once_one_says_what_it_begins_with(turn: int) -> None:
    children = [Child(_open_and_count, f"racing {turn}", 1000 * (i + 1)) for i in range(4)]
    try:
        for child in children:
            child.say("go")
        said = {child.hear() for child in children}
        assert len({(first, low, high) for first, low, high in said}) == 1
        ((_, low, high),) = said
        assert low == high
        for child in children:
            child.say("end")
            child.join()
    finally:
        for child in children:
            child.dispose()


def test_labels_are_given_or_the_place_of_the_call() -> None:
    value = treadle.Value("i")
    assert value.label == value.get_lock().label
    assert "test_values:" in value.label
    assert treadle.Array("i", 1, label="items").label == "items"
    assert treadle.Value("i", name="by name").label == "by name"
