"""Large buffers cross beside the pickle: copied out, or (copy=False) as views of shared memory."""

from __future__ import annotations

import array
import pickle
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pytest

import treadle
from tests.queue.workers import Start, books
from tests.sync.children import forked

# Within a frame of the ring, beside it, and large enough for pages of its own.
LENGTHS = [0, 1, 100, 1000, 5000, 300_000]
both_ways = pytest.mark.parametrize("copy", [True, False], ids=["copied", "viewed"])

here = treadle.Queue(label="here")


def passed(item: object, copy: bool = True) -> Any:
    here.put(item)
    return here.get(copy=copy)


@pytest.mark.slow
@both_ways
@pytest.mark.parametrize("length", LENGTHS)
def test_arrays_come_back_as_they_were(length: int, copy: bool) -> None:
    for dtype in ("u1", "f8", ">i4", "c16", "S3", "U2", "M8[s]", [("a", "i2"), ("b", "f8")]):
        sent = np.zeros(length, dtype)
        sent.reshape(-1).view("u1")[:] = np.arange(sent.nbytes) % 120
        got = passed(sent, copy)
        assert got.dtype == sent.dtype
        assert got.tobytes() == sent.tobytes()


@both_ways
@pytest.mark.parametrize("length", [10, 5000, 1 << 20])
def test_whether_it_may_be_written_to_crosses_too(length: int, copy: bool) -> None:
    sent = np.arange(length, dtype="u1")
    got = passed(sent, copy)
    assert got.flags.writeable
    got[:] = 7
    assert (got == 7).all()
    sent.flags.writeable = False
    got = passed(sent, copy)
    assert not got.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        got[0] = 1


@both_ways
def test_the_order_of_axes_is_kept(copy: bool) -> None:
    sent = np.asfortranarray(np.arange(60_000.0).reshape(200, 300))
    got = passed(sent, copy)
    assert got.flags.f_contiguous and not got.flags.c_contiguous
    assert (got == sent).all()


@both_ways
@pytest.mark.parametrize("rows", [6, 600])
def test_arrays_that_do_not_lie_in_one_piece_cross(rows: int, copy: bool) -> None:
    whole = np.arange(rows * 400).reshape(rows, 400)
    for part in (whole[::2], whole[:, ::3], whole[::-1, 5:200], whole.T[1:], whole[:, :0]):
        got = passed(part, copy)
        assert got.shape == part.shape
        assert (got == part).all()


@both_ways
def test_scalars_and_arrays_of_objects_cross(copy: bool) -> None:
    for sent in (np.float32(1.5), np.array(5), np.array(["a", (1, 2), None], dtype=object)):
        got = passed(sent, copy)
        assert type(got) is type(sent)
        assert np.array_equal(got, sent)


@both_ways
def test_many_arrays_in_one_item(copy: bool) -> None:
    sent = {"arrays": [np.full(n * 1000, n, "u2") for n in range(50)], "name": "many"}
    got = passed(sent, copy)
    assert got["name"] == "many"
    for one, other in zip(sent["arrays"], got["arrays"], strict=True):
        assert np.array_equal(one, other)


def test_an_array_met_twice_is_one_array_still() -> None:
    sent = np.arange(100_000)
    one, two = passed([sent, sent])
    assert one is two


def test_copies_are_nobody_else_s() -> None:
    sent = np.zeros(1 << 20, "u1")
    here.put(sent)
    here.put(sent)
    one, two = here.get(), here.get()
    one[:] = 1
    sent[:] = 2
    assert not two.any()


# ---- Views


def test_a_view_holds_its_memory_until_the_last_part_of_it_is_gone(queue: treadle.Queue) -> None:
    queue.put(np.arange(1 << 20))
    array = queue.get()  # what the queue itself takes is there from here on
    before = books()
    queue.put(array)
    assert books()[1] - before[1] >= array.nbytes
    view = queue.get(copy=False)
    assert books()[1] - before[1] >= array.nbytes
    part = view[1000:1010:3].reshape(-1, 1)
    raw = memoryview(part)
    del view
    assert part.tolist() == [[1000], [1003], [1006], [1009]]
    del part
    assert raw.tolist() == [[1000], [1003], [1006], [1009]]
    assert books()[1] - before[1] >= array.nbytes
    raw.release()
    del raw
    assert books() == before


def test_a_view_outlives_its_queue_and_its_item() -> None:
    before = books()
    queue = treadle.Queue()
    queue.put(["item", np.arange(500_000)])
    item = queue.get(copy=False)
    view = item[1]
    del queue, item
    assert (view == np.arange(500_000)).all()
    for _ in range(5):  # the memory is not anybody else's either
        other = treadle.Queue()
        other.put(np.zeros(500_000))
        other.get()
    assert (view == np.arange(500_000)).all()
    del view, other
    assert books() == before


def test_views_of_one_item_are_one_memory_and_of_two_items_are_not(queue: treadle.Queue) -> None:
    array = np.zeros(50_000)
    queue.put([array, array[:10_000]])
    queue.put(array)
    one, part = queue.get(copy=False)
    two = queue.get(copy=False)
    one[:] = 1
    assert not part.any()  # two buffers were put
    assert not two.any()
    assert not array.any()


@pytest.mark.slow
def test_many_views_at_once(queue: treadle.Queue) -> None:
    before = books()
    views = []
    for number in range(3000):  # more than one chunk of the table of references holds
        queue.put(np.full(2000, number))
        views.append(queue.get(copy=False))
    assert all((view == number).all() for number, view in enumerate(views))
    del views
    after = books()
    assert after[1] - before[1] <= 1 << 18  # the table, which stays
    assert after[0] - before[0] <= 5


def test_a_view_crosses_a_fork_and_the_last_of_both_frees_it(queue: treadle.Queue) -> None:
    queue.put(np.arange(100_000))
    queue.put("its own memory")
    views = [queue.get(copy=False)]
    before = books()[1]
    total = sum(range(100_000))

    def child(line: Connection) -> None:
        line.send(int(views[0].sum()))
        line.recv()  # the parent has dropped its own
        line.send(int(views[0].sum()))
        line.recv()

    with forked(child) as process:
        process.expect(total)
        views.clear()
        process.say("dropped")
        process.expect(total)
        assert books()[1] >= before
        process.say("end")
    assert books()[1] <= before - 800_000


def test_a_view_outlives_the_process_that_sent_it(queue: treadle.Queue, start: Start) -> None:
    sender = start("fork", put_array, queue, 300_000)
    view = queue.get(copy=False)
    sender.kill()
    treadle.sweep()
    assert (view == np.arange(300_000)).all()


def put_array(queue: treadle.Queue, length: int) -> None:
    queue.put(np.arange(length))
    treadle.Queue().get()  # until it is killed


def test_a_lease_copies_and_can_be_returned(queue: treadle.Queue) -> None:
    queue.put(np.arange(100_000))
    lease = queue.lease()
    lease.item[:] = 0
    lease.nack()
    with queue.lease() as again:
        assert (again.item == np.arange(100_000)).all()


# ---- From process to process


@pytest.mark.slow
@both_ways
@pytest.mark.parametrize(
    ("kind", "megabytes"), [("fork", 100), ("spawn", 10), ("forkserver", 10), ("subprocess", 10)]
)
def test_a_large_array_crosses(start: Start, kind: str, megabytes: int, copy: bool) -> None:
    there, back = treadle.Queue(), treadle.Queue()
    worker = start(kind, add_one, there, back, copy)
    array = np.arange(megabytes * 1_000_000 // 8)
    there.put(("here it comes", array))
    word, got = back.get(copy=copy)
    assert word == "here it comes"
    assert got.nbytes == array.nbytes
    array += 1
    assert np.array_equal(got, array)
    worker.join()


def add_one(there: treadle.Queue, back: treadle.Queue, copy: bool) -> None:
    word, array = there.get(copy=copy)
    array += 1
    back.put((word, array))


# ---- Buffers that are not NumPy's


@pytest.mark.parametrize("length", [0, 256, 9216, 1 << 20, 3 << 20])
@both_ways
def test_pickle_buffers_cross(length: int, copy: bool) -> None:
    data = bytes(range(256)) * (length // 256)
    for sent in (data, bytearray(data)):
        got = passed(pickle.PickleBuffer(sent), copy)
        assert len(got) == len(data)
        assert got == data
        assert memoryview(got).readonly == isinstance(sent, bytes)
        if isinstance(sent, bytearray) and length:
            got[0] = 99
            assert got[0] == 99


@pytest.mark.parametrize("length", [10, 3 << 20])
@both_ways
def test_a_class_with_buffers_of_its_own_gets_them_back(length: int, copy: bool) -> None:
    got = passed(Picture(bytearray(b"x" * length)), copy)
    assert type(got) is Picture
    assert bytes(got.pixels) == b"x" * length
    assert len(memoryview(got.pixels)) == length


class Picture:
    def __init__(self, pixels: Any) -> None:
        self.pixels = pixels

    def __reduce_ex__(self, protocol: int) -> tuple[Any, ...]:
        assert protocol == 5
        return Picture, (pickle.PickleBuffer(self.pixels),)


@both_ways
def test_bytearrays_and_arrays_cross(copy: bool) -> None:
    for sent in (bytearray(b"a" * 2_000_000), array.array("d", range(300_000)), bytearray()):
        got = passed(sent, copy)
        assert type(got) is type(sent)
        assert got == sent


def test_a_buffer_in_pieces_is_refused_as_by_pickle(queue: treadle.Queue) -> None:
    in_pieces = pickle.PickleBuffer(memoryview(bytearray(100_000))[::2])
    before = books()
    for item in (in_pieces, [np.arange(100_000), in_pieces]):
        with pytest.raises(pickle.PicklingError, match="non-contiguous"):
            queue.put(item)
    assert queue.empty()
    assert books() == before
