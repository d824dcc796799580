"""Programs that know nothing of each other but a name meet at one object."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.names.conftest import Start

pytestmark = pytest.mark.slow

# How it is opened, what one program does, and what the other sees of it.
_KINDS = {
    "Lock": ("treadle.Lock(name='x')", "it.acquire()", "it.owner.pid", "pid"),
    "RLock": ("treadle.RLock(name='x')", "it.acquire()", "it.owner.pid", "pid"),
    "Semaphore": ("treadle.Semaphore(3, name='x')", "it.acquire()", "it.get_value()", 2),
    "reclaiming Semaphore": (
        "treadle.Semaphore(3, reclaim=True, name='x')",
        "it.acquire()",
        "it.get_value()",
        2,
    ),
    "BoundedSemaphore": (
        "treadle.BoundedSemaphore(3, name='x')",
        "it.acquire()",
        "it.get_value()",
        2,
    ),
    "Event": ("treadle.Event(name='x')", "it.set()", "it.is_set()", True),
    "Condition": ("treadle.Condition(name='x')", "it.acquire()", "it.acquire(False)", False),
    "Condition of a Lock": (
        "treadle.Condition(treadle.Lock(name='y'), name='x')",
        "it.acquire()",
        "it.acquire(False)",
        False,
    ),
    "Barrier": ("treadle.Barrier(2, name='x')", "it.abort()", "it.broken", True),
    "Queue": ("treadle.Queue(5, maxbytes=99999, name='x')", "it.put('hello')", "it.get()", "hello"),
    "RWLock": ("treadle.RWLock(name='x')", "it.acquire_write()", "it.acquire_read(False)", False),
    "Latch": ("treadle.Latch(2, name='x')", "it.count_down()", "it.count", 1),
    "LifoQueue": ("treadle.LifoQueue(name='x')", "it.put_many('ab')", "it.get()", "b"),
    "PriorityQueue": ("treadle.PriorityQueue(name='x')", "it.put_many('ba')", "it.get()", "a"),
    "SimpleQueue": ("treadle.SimpleQueue(name='x')", "it.put('hello')", "it.get()", "hello"),
}  # fmt: skip


@pytest.mark.parametrize(("opened", "act", "look", "seen"), _KINDS.values(), ids=_KINDS.keys())
def test_two_programs_meet(opened: str, act: str, look: str, seen: object, start: Start) -> None:
    one, two = start(), start()
    for program in one, two:
        assert program.tell(f"it = {opened}") is None
        assert program.tell("it.name") == "x"
    one.tell(act)
    assert two.tell(look) == (one.pid if seen == "pid" else seen)


_LASTING = {name: kind for name, kind in _KINDS.items() if "acquire" not in kind[1]}
_LASTING["Semaphore"] = ("treadle.Semaphore(3, name='x')", "it.release()", "it.get_value()", 4)


@pytest.mark.parametrize(("opened", "act", "look", "seen"), _LASTING.values(), ids=_LASTING.keys())
def test_what_persists_is_met_later(
    opened: str, act: str, look: str, seen: object, start: Start
) -> None:
    first = start()
    first.tell(f"it = {opened[:-1]}, persist=True)")
    first.tell(act)
    first.end()
    second = start()
    second.tell(f"it = {opened}")
    assert second.tell(look) == seen


@pytest.mark.parametrize("opened", [each[0] for each in _KINDS.values()], ids=_KINDS.keys())
def test_of_many_who_come_at_once_exactly_one_creates(opened: str, start: Start) -> None:
    programs = [start() for _ in range(6)]
    for _ in range(5):
        for program in programs:
            program.begin(f"it = {opened}")
        for program in programs:
            assert program.answer() is None
        first, *others = (program.tell(_WHERE) for program in programs)
        assert first and all(place == first for place in others)
        for program in programs:
            program.tell("del it")


# In which arena, where in it, and in the how-manieth life of that place: how a ticket begins.
_WHERE = "[ticket[:32] for *_, ticket in treadle._core.list_names()]"


def test_each_opens_it_as_often_as_it_likes(start: Start) -> None:
    program, other = start(), start()
    program.tell("all = [treadle.Event(name='x') for _ in range(10)]")
    program.tell("all[3].set()")
    assert program.tell("all[7].is_set()")
    program.tell("del all[1:]")
    assert other.tell("treadle.Event(name='x').is_set()"), "still the same"


def test_a_waiting_program_is_woken(start: Start) -> None:
    one, two = start(), start()
    one.begin("treadle.Queue(name='x').get()")
    two.tell("jobs = treadle.Queue(name='x')")
    two.tell("jobs.put(('any', 1.5))")
    assert one.answer() == ("any", 1.5)
    one.begin("treadle.Barrier(2, name='b').wait()")
    assert two.tell("treadle.Barrier(2, name='b').wait()") + one.answer() == 1


def test_a_condition_is_notified_across_programs(start: Start) -> None:
    one, two = start(), start()
    for program in one, two:
        program.tell("it = treadle.Condition(name='x')")
    one.begin("it.acquire() and it.wait()")
    while not two.tell("it.statistics().waiting"):
        pass
    two.tell("it.acquire()")
    two.tell("it.notify()")
    two.tell("it.release()")
    assert one.answer() is True


def test_many_names_are_kept_apart(start: Start) -> None:
    one, two = start(), start()
    names = [*(f"name {n}" for n in range(700)), "日本", "a b", "A B", "a\\b", "x.y", "é" * 100]
    one.tell(f"all = [treadle.Semaphore(n, name=name) for n, name in enumerate({names!r})]")
    told = f"[treadle.Semaphore(n, name=name).get_value() for n, name in enumerate({names!r})]"
    assert two.tell(told) == list(range(len(names)))


def test_the_label_is_the_name_unless_one_is_given(start: Start) -> None:
    program = start()
    for opened, *_ in _KINDS.values():
        assert program.tell(f"{opened}.label") == "x"
        assert program.tell(f"{opened[:-1]}, label='mine').label") == "mine"
    assert program.tell("treadle.Lock().name") is None
    assert program.tell("treadle.Queue(shared=False).name") is None


def test_nameless_objects_do_not_lie_among_the_named(start: Start, names: Path) -> None:
    program = start()
    program.tell("named = treadle.Lock(name='x')")
    program.tell("plain = [treadle.Lock() for _ in range(100)]")
    assert program.tell("len(treadle._core.list_names())") == 1
    assert program.tell("treadle.arena_statistics().blocks") >= 100


@pytest.fixture(autouse=True)
def _no_litter(names: Path) -> Iterator[None]:
    yield
    # The programs of a test are killed after this: the file may still be there, and nothing else.
    assert {path.name for path in names.parent.iterdir()} <= {names.name}
