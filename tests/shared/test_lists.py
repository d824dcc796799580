"""What a List does that a list does not, or does otherwise: by value, at one instant, for all."""

from __future__ import annotations

import asyncio
import gc
import operator
import pickle
import threading
from collections.abc import Callable, Iterator, MutableSequence
from fractions import Fraction
from typing import Any

import pytest

import treadle


class Sealed:
    """Cannot be pickled, which its error says."""

    def __reduce__(self) -> Any:
        raise ZeroDivisionError("sealed")


class Stubborn:
    """Can be pickled, but not rebuilt."""

    def __reduce__(self) -> Any:
        return operator.truediv, (1, 0)


def test_it_is_a_mutable_sequence_which_a_pattern_matches() -> None:
    shared = treadle.List([1, 2])
    assert isinstance(shared, MutableSequence)
    match shared:
        case [first, second]:
            assert (first, second) == (1, 2)
        case _:
            pytest.fail("no sequence")
    with pytest.raises(TypeError, match="unhashable"):
        hash(shared)


def test_items_are_values() -> None:
    item = [1]
    shared = treadle.List([item])
    item.append(2)
    shared[0].append(3)
    assert shared == [[1]]
    nan = float("nan")
    assert nan not in treadle.List([nan])  # it is another object each time


@pytest.mark.parametrize("size", [0, 5, 6, 7, 8, 15, 16, 8190, 8191, 8192, 8193, 100_000])
def test_texts_of_every_length_come_back(size: int) -> None:
    values = ["x" * size, b"x" * size, "ü" * size, "\ud800" * size, bytearray(size), ("x" * size,)]
    shared = treadle.List[Any](values)
    assert shared == values
    assert [type(value) for value in shared] == [type(value) for value in values]
    assert shared.pop() == values[-1]
    assert shared[1:3] == values[1:3]


@pytest.mark.parametrize("power", [61, 62, 63, 64, 1000])
@pytest.mark.parametrize("sign", [1, -1])
def test_whole_numbers_of_every_size_come_back(power: int, sign: int) -> None:
    numbers = [sign * (2**power + by) for by in (-1, 0, 1)]
    shared = treadle.List(numbers)
    assert list(shared) == numbers
    for at, number in enumerate(numbers):
        assert shared.add(at, sign) == number + sign
        assert shared[at] == number + sign


def test_adding_is_as_plus() -> None:
    shared = treadle.List[Any]([1, 1.5, True, Fraction(1, 3), "a", 2**62 - 1, 1e300])
    assert [shared.add(i, 1) for i in range(4)] == [2, 2.5, 2, Fraction(4, 3)]
    assert shared.add(4, "b") == "ab"
    assert shared.add(5, 1) == 2**62
    assert shared.add(6, 1e300) == 2e300
    assert shared.add(-7, 0.5) == 2.5
    assert shared[:3] == [2.5, 2.5, 2]
    assert [type(value) for value in shared[:3]] == [float, float, int]
    with pytest.raises(TypeError):
        shared.add(4, 1)
    with pytest.raises(IndexError):
        shared.add(7, 1)


def test_compare_and_set_compares_as_python_does() -> None:
    shared = treadle.List[Any]([1, {"a": 1}])
    assert shared.compare_and_set(0, True, "one")
    assert not shared.compare_and_set(0, 1, "two")
    assert shared.compare_and_set(1, {"a": 1.0}, None)
    assert shared == ["one", None]
    with pytest.raises(IndexError):
        shared.compare_and_set(2, None, 1)


# ---- Errors leave it as it was


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.append(Sealed()),
        lambda it: it.extend([5, Sealed()]),
        lambda it: it.insert(0, Sealed()),
        lambda it: operator.setitem(it, 0, Sealed()),
        lambda it: operator.setitem(it, slice(0, 2), [bytes(9000), Sealed()]),
        lambda it: it.extend(number // (number - 3) for number in range(5)),
        lambda it: it.sort(key=lambda value: value / 0),
        lambda it: operator.imul(it, Sealed()),
        lambda it: it.index(4),
        lambda it: it.remove("none"),
        lambda it: it.pop(3),
        lambda it: operator.setitem(it, slice(None, None, 2), [1]),
        lambda it: operator.setitem(it, slice(0, 1), 1),
        lambda it: it.sort(key=lambda value: it.append(value) or 1),
        lambda it: it["a"],
        lambda it: it[1 << 80],
    ],
)
def test_what_raises_changes_nothing(change: Callable[[Any], Any]) -> None:
    shared = treadle.List([3, 1, 2])
    blocks = treadle.arena_statistics().blocks
    with pytest.raises((ZeroDivisionError, TypeError, ValueError, IndexError)):
        change(shared)
    gc.collect()
    assert shared[:3] == [3, 1, 2]
    assert treadle.arena_statistics().blocks <= blocks + 1


def test_a_sort_that_is_disturbed_says_so_and_sorts_nothing() -> None:
    shared = treadle.List([3, 1, 2])
    with pytest.raises(ValueError, match="modified during sort"):
        shared.sort(key=lambda value: shared.append(value) or value)  # type: ignore[func-returns-value]
    assert shared == [3, 1, 2, 3, 1, 2]
    assert shared.lock().acquire(blocking=False)


def test_what_cannot_be_rebuilt_stays_and_can_be_taken_out_unread() -> None:
    shared = treadle.List[Any]([1, Stubborn(), 3], label="jobs")
    looks: list[Callable[[], Any]] = [
        lambda: shared[1],
        lambda: shared[1:],
        lambda: shared[::-1],
        shared.copy,
        lambda: shared.pop(1),
        lambda: list(shared),
    ]
    for look in looks:
        with pytest.raises(treadle.ItemError, match=r"item 1 of list 'jobs'.*ZeroDivisionError"):
            look()
    assert len(shared) == 3
    assert shared[::2] == [1, 3]
    del shared[1]
    assert shared == [1, 3]


def test_who_forgets_to_call_init_is_told() -> None:
    class Forgetful(treadle.List[int]):
        def __init__(self) -> None:
            pass

    for use in (len, repr, pickle.dumps, operator.methodcaller("append", 1), list):
        with pytest.raises(RuntimeError, match="__init__"):
            use(Forgetful())  # type: ignore[operator]


# ---- Objects in it, and it in objects


def test_a_list_of_shared_objects_keeps_them() -> None:
    inner = treadle.List([1])
    shared = treadle.List[Any]([inner, [treadle.Lock(label="in a list")]])
    del inner
    from treadle._core import forget_pickled

    forget_pickled()
    gc.collect()
    treadle.sweep()
    shared[0].append(2)
    assert shared[0] == [1, 2]
    assert shared[1][0].label == "in a list"
    shared.append(shared)
    assert repr(shared).endswith(", List([...])])")
    assert shared[-1][-1][0] == [1, 2]


def test_a_subclass_comes_back_as_itself() -> None:
    shared = Named([1])
    shared.purpose = "test"
    again = pickle.loads(pickle.dumps(shared))
    assert type(again) is Named
    assert again.purpose == "test"
    again.append(2)
    assert shared == [1, 2]


class Named(treadle.List[int]):
    purpose: str


def test_it_is_found_by_its_name() -> None:
    first = treadle.List([1], name="numbers of the test")
    second = treadle.List([7, 8], name="numbers of the test")
    second.append(2)
    assert first == [1, 2]
    assert (first.name, first.label, first.shared) == (
        "numbers of the test",
        "numbers of the test",
        True,
    )


# ---- Iteration


def test_iteration_goes_by_the_index() -> None:
    shared = treadle.List([1, 2])
    met = []
    for item in shared:
        met.append(item)
        if len(met) < 5:
            shared.append(item * 10)
    assert met == [1, 2, 10, 20, 100, 200]
    iterator = iter(shared)
    assert (next(iterator), operator.length_hint(iterator)) == (1, 5)
    again = pickle.loads(pickle.dumps(iterator))
    assert list(again) == list(iterator) == met[1:]
    shared.append(1)
    assert list(iterator) == []


# ---- The lock


def test_who_holds_the_lock_is_alone() -> None:
    shared = treadle.List([0, 0])
    waited = threading.Event()

    def look() -> None:
        waited.set()
        seen.extend(shared[:])

    seen: list[int] = []
    other = threading.Thread(target=look)
    with shared.lock() as had, shared.lock():
        assert had
        other.start()
        waited.wait()
        shared[0] = 1
        assert shared.statistics().locked
        shared[1] = 1
    other.join()
    assert seen == [1, 1]
    assert not shared.statistics().locked


def test_a_task_holds_the_lock_as_itself() -> None:
    shared = treadle.List([0])

    async def hold(entered: asyncio.Event, leave: asyncio.Event) -> None:
        async with shared.lock().aio:
            shared[0] += 1
            entered.set()
            await leave.wait()
            shared[0] += 1

    async def main() -> None:
        entered, leave = asyncio.Event(), asyncio.Event()
        holder = asyncio.create_task(hold(entered, leave))
        await entered.wait()
        with pytest.raises(RuntimeError, match="wait for ever"):
            shared.append(1)
        leave.set()
        await holder
        shared.append(1)

    asyncio.run(main())
    assert shared == [2, 1]


def test_a_pickled_lock_is_the_lists() -> None:
    shared = treadle.List([0])
    lock = pickle.loads(pickle.dumps(shared.lock()))
    with lock:
        assert shared.statistics().locked
        shared.append(1)
    assert shared.lock().label == shared.label


# ---- At the same time


def test_changes_of_several_threads_are_all_there() -> None:
    shared = treadle.List([0] * 4)

    def work(mine: int) -> None:
        for n in range(500):
            shared.add(mine % 2, 1)
            shared.append((mine, n))
            while not shared.compare_and_set(2, (value := shared[2]), value + 1):
                pass
            with shared.lock():
                shared[3] = shared[3] + 1

    threads = [threading.Thread(target=work, args=(mine,)) for mine in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shared[:4] == [1000, 1000, 2000, 2000]
    for mine in range(4):
        assert [n for who, n in shared[4:] if who == mine] == list(range(500))


def test_batches_are_seen_as_one() -> None:
    shared = treadle.List[int]()
    end = threading.Event()

    def write() -> None:
        for n in range(300):
            shared.extend([n] * 12)
            if n % 3 == 0:
                shared.reverse()
            if n % 2:
                del shared[:12]
            shared[0:12] = [n] * 24
        end.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not end.is_set():
        seen = shared.copy()
        assert len(seen) % 12 == 0
        assert all(len({*batch}) == 1 for batch in _batches(seen))
    writer.join()


def _batches(seen: list[int]) -> Iterator[list[int]]:
    return (seen[at : at + 12] for at in range(0, len(seen), 12))
