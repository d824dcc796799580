"""What a Dict does that a dict does not, or does otherwise: by value, at one instant, for all."""

from __future__ import annotations

import asyncio
import gc
import operator
import pickle
import threading
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import pytest

import treadle
from treadle._core import forget_pickled


class Sealed:
    """Cannot be pickled, which its error says."""

    def __reduce__(self) -> Any:
        raise ZeroDivisionError("sealed")


class Stubborn:
    """Can be pickled, but not rebuilt."""

    def __reduce__(self) -> Any:
        return operator.truediv, (1, 0)


def test_it_is_a_mutable_mapping_which_a_pattern_matches() -> None:
    shared = treadle.Dict(a=1, b=2)
    assert isinstance(shared, MutableMapping)
    match shared:
        case {"a": 1, **rest}:
            assert rest == {"b": 2}
        case _:
            pytest.fail("no mapping")
    with pytest.raises(TypeError, match="unhashable"):
        hash(shared)
    assert dict(**shared) == dict(shared) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "made",
    [
        lambda make: make({"a": 1}, b=2),
        lambda make: make([("a", 1), ["b", 2]]),
        lambda make: make(pair for pair in zip("ab", (1, 2), strict=True)),
        lambda make: make(treadle.Dict(a=1), b=2),
        lambda make: make({"a": 1}.items()),
        lambda make: make([("a",)]),
        lambda make: make([1]),
        lambda make: make(["ab", "cd"]),
        lambda make: make(1),
    ],
)
def test_it_is_made_as_a_dict_is(made: Callable[[Any], Any]) -> None:
    def outcome(make: Any) -> Any:
        try:
            return made(make)
        except (TypeError, ValueError) as error:
            return type(error)

    assert outcome(treadle.Dict) == outcome(dict)


def test_values_are_copies_and_views_look_anew() -> None:
    value = [1]
    shared = treadle.Dict(a=value)
    value.append(2)
    shared["a"].append(3)
    assert shared["a"] == [1]
    keys, items = shared.keys(), shared.items()
    assert isinstance(keys, Mapping) is False
    met = []
    for key in shared:  # of one instant
        met.append(key)
        shared[key + "a"] = 0
    assert met == ["a"]
    assert list(keys) == ["a", "aa"]
    assert items == {"a": [1], "aa": 0}.items()
    assert repr(keys) == "DictKeys(['a', 'aa'])"
    assert keys.mapping is shared


def test_a_subclass_may_say_what_is_missing() -> None:
    class Squares(treadle.Dict[int, int]):
        def __missing__(self, key: int) -> int:
            return key * key

    shared = Squares({2: 5})
    assert (shared[2], shared[3], shared.get(3)) == (5, 9, None)
    assert type(Squares.fromkeys([1])) is Squares


@pytest.mark.parametrize("size", [0, 5, 250, 251, 252, 8186, 8187, 8191, 8192, 100_000])
def test_texts_of_every_length_come_back(size: int) -> None:
    texts = ["x" * size, b"x" * size, "ü" * size, "\ud800" * size, ("x" * size,)]
    shared = treadle.Dict[Any, Any]()
    for text in texts:
        shared[text] = text
    assert list(shared.items()) == [(text, text) for text in dict.fromkeys(texts)]
    assert [shared.pop(text) for text in dict.fromkeys(texts)] == list(dict.fromkeys(texts))


def test_adding_is_as_plus() -> None:
    shared = treadle.Dict[Any, Any](whole=1, real=1.5, truth=True, text="a", most=2**63 - 1)
    assert [shared.add(key, 1) for key in ("whole", "real", "truth", "new", "most")] == [
        2, 2.5, 2, 1, 2**63,
    ]  # fmt: skip
    assert shared.add("text", "b") == "ab"
    assert shared.add("whole", 0.5) == 2.5
    assert shared.add(1.0) == shared.add(True) - 1 == 1
    assert repr(list(shared)[-1]) == "1.0"
    assert shared.add("most", -1) == 2**63 - 1
    with pytest.raises(TypeError):
        shared.add("text", 1)
    assert shared["text"] == "ab"


def test_compare_and_set_compares_as_python_does() -> None:
    shared = treadle.Dict[Any, Any](a=1, b={"a": 1})
    assert shared.compare_and_set("a", True, "one")
    assert not shared.compare_and_set("a", 1, "two")
    assert shared.compare_and_set("b", {"a": 1.0}, None)
    assert not shared.compare_and_set("c", None, 1)
    assert shared == {"a": "one", "b": None}


def test_update_with_is_called_again_if_it_was_overtaken() -> None:
    shared = treadle.Dict(n=0)
    seen = []

    def overtaken(value: int) -> int:
        seen.append(value)
        if len(seen) < 20:
            shared["n"] = value + 10
        return value + 1

    assert shared.update_with("n", overtaken) == 10 * 8 + 1 + 10 * 11
    assert shared.update_with("new", lambda value: (value, 1), "default") == ("default", 1)
    with pytest.raises(ZeroDivisionError):
        shared.update_with("n", lambda value: value / 0)
    assert shared["n"] == seen[-1] + 1


# ---- Errors leave it as it was


@pytest.mark.parametrize(
    "change",
    [
        lambda it: operator.setitem(it, "a", Sealed()),
        lambda it: operator.setitem(it, Sealed(), 1),
        lambda it: operator.setitem(it, [], 1),
        lambda it: operator.setitem(it, ([],), 1),
        lambda it: it[{}],
        lambda it: it.get(set()),
        lambda it: [] in it,
        lambda it: it.pop([]),
        lambda it: it.setdefault([], 1),
        lambda it: it["none"],
        lambda it: it.pop("none"),
        lambda it: operator.delitem(it, "none"),
        lambda it: it.update_with("a", lambda value: Sealed()),
        lambda it: it | 1,
        lambda it: operator.setitem(it, lambda: 1, 1),
    ],
)
def test_what_raises_changes_nothing(change: Callable[[Any], Any]) -> None:
    shared = treadle.Dict(a=1)
    blocks = treadle.arena_statistics().blocks
    with pytest.raises((ZeroDivisionError, TypeError, KeyError)):
        change(shared)
    gc.collect()
    assert shared == {"a": 1}
    assert treadle.arena_statistics().blocks <= blocks


@pytest.mark.parametrize("large", [b"", bytes(9000)], ids=["small", "large"])
def test_what_cannot_be_rebuilt_stays_and_can_be_taken_out_unread(large: bytes) -> None:
    shared = treadle.Dict[Any, Any](good=1, bad=(large, Stubborn()), label="things")
    for look in (
        lambda: shared["bad"],
        lambda: shared.pop("bad"),
        lambda: shared.copy(),
        lambda: list(shared.values()),
    ):
        with pytest.raises(treadle.ItemError, match="things"):
            look()
    assert list(shared) == ["good", "bad"]
    assert "bad" in shared
    del shared["bad"]
    assert shared == {"good": 1}


def test_without_init_it_says_so() -> None:
    unmade = treadle.Dict.__new__(treadle.Dict)
    for use in (
        lambda: unmade["a"],
        lambda: operator.setitem(unmade, "a", 1),
        lambda: unmade.lock(),
        lambda: unmade.pop("a"),
        lambda: repr(unmade),
        lambda: len(unmade),
        lambda: unmade.statistics(),
        lambda: unmade.keys(),
        lambda: pickle.dumps(unmade),
    ):
        with pytest.raises(RuntimeError, match="__init__"):
            use()


# ---- Other objects in it


def test_a_value_may_be_a_shared_object_and_lives_as_long_as_it_is_there() -> None:
    shared = treadle.Dict[str, Any]()
    shared["inner"] = treadle.Dict(n=1)
    shared["jobs"] = treadle.List([1])
    gc.collect()
    forget_pickled()
    shared["inner"].add("n", 5)
    shared["jobs"].append(2)
    assert shared == {"inner": {"n": 6}, "jobs": [1, 2]}
    kept = shared["inner"]
    blocks = treadle.arena_statistics().blocks
    shared.clear()
    gc.collect()
    treadle.sweep()
    assert treadle.arena_statistics().blocks < blocks
    assert kept == {"n": 6}


def test_it_may_be_in_itself() -> None:
    shared = treadle.Dict[str, Any]()
    shared["me"] = shared
    assert repr(shared) == "Dict({'me': Dict({...})})"


def test_two_handles_of_one_object_are_one_key() -> None:
    lock = treadle.Lock()
    shared = treadle.Dict[Any, int]({lock: 1})
    assert shared[pickle.loads(pickle.dumps(lock))] == 1
    assert treadle.Lock() not in shared


# ---- The lock


def test_who_holds_the_lock_does_several_operations_in_one() -> None:
    shared = treadle.Dict(a=1)
    seen = []
    reader = threading.Thread(target=lambda: seen.append(shared.copy()))
    with shared.lock():
        reader.start()
        del shared["a"]
        with shared.lock():
            shared["b"] = 2
        assert shared.statistics().locked
        shared["c"] = 3
    reader.join()
    assert seen == [{"b": 2, "c": 3}]
    assert not shared.statistics().locked


def test_a_task_holds_it_as_a_task() -> None:
    shared = treadle.Dict(n=0)

    async def counts() -> None:
        for _ in range(20):
            async with shared.lock().aio:
                value = shared["n"]
                await asyncio.sleep(0)
                shared["n"] = value + 1

    async def both() -> None:
        await asyncio.gather(counts(), counts())

    asyncio.run(both())
    assert shared["n"] == 40


def test_who_would_wait_for_a_task_of_its_own_thread_is_told() -> None:
    shared = treadle.Dict(a=1, label="ages")

    async def holds() -> None:
        async with shared.lock().aio:
            await asyncio.create_task(intrudes())

    async def intrudes() -> None:
        with pytest.raises(RuntimeError, match=r"dict 'ages'.*aio"):
            shared["a"] = 2

    asyncio.run(holds())
    assert shared["a"] == 1


def test_threads_at_one_dict_lose_nothing() -> None:
    shared = treadle.Dict[Any, Any]()

    def work(who: int) -> None:
        for n in range(300):
            shared.add("all")
            shared.update_with("some", lambda value: [*value, 1][-50:], [])
            shared[who, n] = n
            shared.popitem() if n % 3 == 0 else None

    threads = [threading.Thread(target=work, args=(who,)) for who in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shared.get("all", 900) == 900
    assert len(list(shared)) == len(shared)
