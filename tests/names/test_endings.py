"""How long a name lives: as long as its users, or past them if it is to persist."""

from __future__ import annotations

from pathlib import Path

import pytest

import treadle
from tests.names.conftest import Start

pytestmark = pytest.mark.slow

_NAMES = "[name for name, *_ in treadle._core.list_names()]"


def test_the_file_goes_with_the_last_program(start: Start, names: Path) -> None:
    one, two = start(), start()
    one.tell("it = treadle.Queue(name='x')")
    two.tell("it = treadle.Queue(name='x')")
    assert names.stat().st_mode & 0o7777 == 0o600
    one.end()
    assert names.exists()
    assert two.tell("treadle.Queue(name='x').put(1)") is None
    two.end()
    assert not names.exists()


def test_the_object_goes_with_its_last_handle(start: Start) -> None:
    one, two = start(), start()
    one.tell("other = treadle.Lock(name='other')")
    for program in one, two:
        program.tell("it = treadle.Event(name='x')")
    one.tell("it.set()")
    one.tell("del it")
    assert two.tell("treadle.Event(name='x').is_set()")
    two.tell("del it")
    assert one.tell(_NAMES) == ["other"]
    assert one.tell("treadle.Event(name='x').is_set()") is False, "a new one"


def test_one_that_was_killed_is_no_user_any_more(start: Start) -> None:
    """Even right after its death, and though another program keeps the arena in use."""
    bystander = start()
    bystander.tell("other = treadle.Lock(name='other')")
    for _ in range(5):
        first, second = start(), start()
        first.tell("it = treadle.Semaphore(1, name='x')")
        first.tell("it.acquire()")
        first.kill()
        second.tell("it = treadle.Semaphore(1, name='x')")
        assert second.tell("it.acquire(blocking=False)"), "not the dead one's semaphore"
        second.kill()


def test_one_that_ended_is_no_user_any_more(start: Start) -> None:
    bystander, first = start(), start()
    bystander.tell("other = treadle.Lock(name='other')")
    first.tell("it = treadle.Lock(name='x')")
    first.end()
    assert bystander.tell(_NAMES) == ["other"]


def test_the_file_of_the_killed_is_removed_by_the_next(start: Start, names: Path) -> None:
    first = start()
    first.tell("it = treadle.Queue(name='x')")
    first.tell("it.put(1)")
    first.kill()
    inode = names.stat().st_ino
    second = start()
    second.tell("it = treadle.Queue(name='x')")
    assert second.tell("it.empty()")
    assert names.stat().st_ino != inode or second.tell("it.statistics().puts") == 0
    second.end()
    assert not names.exists()


def test_others_of_the_killed_one_s_arena_learn_of_its_death(start: Start) -> None:
    first, second = start(), start()
    for program in first, second:
        program.tell("it = treadle.Lock(name='x')")
    first.tell("it.acquire()")
    first.kill()
    answer = second.tell("it.acquire()")
    assert answer.startswith("OwnerDiedError: lock 'x' was held by") and str(first.pid) in answer
    assert second.tell("it.recover().__enter__()") is True


def test_a_permit_of_the_killed_comes_back(start: Start) -> None:
    first, second = start(), start()
    for program in first, second:
        program.tell("it = treadle.BoundedSemaphore(1, name='x')")
    first.tell("it.acquire()")
    assert second.tell("it.acquire(blocking=False)") is False
    first.kill()
    assert second.tell("it.acquire()") is True


# ---- Persistence


def test_what_persists_outlives_its_programs(start: Start, names: Path) -> None:
    first = start()
    first.tell("it = treadle.Queue(name='x', persist=True)")
    first.tell("it.put_many(range(1000))")
    first.tell("it.put(bytes(1 << 20))")
    first.end()
    assert names.exists()
    second = start()
    second.tell("it = treadle.Queue(name='x')")
    assert second.tell("it.get_many(1000) == list(range(1000))") is True
    second.kill()
    third = start()
    third.tell("it = treadle.Queue(name='x')")
    assert third.tell("it.get() == bytes(1 << 20)") is True
    third.tell("treadle.unlink('x')")
    assert third.tell("it.empty()"), "still in use"
    third.end()
    assert not names.exists()


def test_persistence_can_be_asked_for_later(start: Start, names: Path) -> None:
    first, second = start(), start()
    first.tell("it = treadle.Event(name='x')")
    second.tell("it = treadle.Event(name='x', persist=True)")
    second.tell("it.set()")
    first.end()
    second.end()
    third = start()
    assert third.tell("treadle.Event(name='x').is_set()")


def test_what_was_let_go_of_is_gone_with_its_last_user(start: Start, names: Path) -> None:
    first, second = start(), start()
    for program in first, second:
        program.tell("it = treadle.Event(name='x', persist=True)")
    first.tell("treadle.unlink('x')")
    first.tell("it.set()")
    assert second.tell("treadle.Event(name='x').is_set()"), "who comes meanwhile meets them"
    first.tell("del it")
    second.tell("del it")
    assert second.tell(_NAMES) == []
    assert second.tell("treadle.unlink('x')").startswith("HandleError: nothing is named 'x'")
    first.end()
    second.end()
    assert not names.exists()


def test_all_parts_of_a_condition_persist_and_go_together(start: Start, names: Path) -> None:
    first = start()
    first.tell("treadle.Condition(name='x', persist=True).label")
    assert first.tell(_NAMES) == ["x", "x/lock"]
    first.end()
    second = start()
    assert second.tell("treadle.Condition(name='x').acquire()")
    second.tell("treadle.unlink('x')")
    assert second.tell(_NAMES) == []
    second.end()
    assert not names.exists()


def test_a_lock_that_persists_remembers_its_dead_owner(start: Start) -> None:
    first = start()
    first.tell("it = treadle.Lock(name='x', persist=True)")
    first.tell("it.acquire()")
    first.kill()
    second = start()
    second.tell("it = treadle.Lock(name='x')")
    assert str(first.pid) in second.tell("it.acquire()")
    assert second.tell("it.recover().__enter__()") is True


def test_a_lease_of_the_killed_is_delivered_again_to_another_life(start: Start) -> None:
    first = start()
    first.tell("it = treadle.Queue(name='x', persist=True)")
    first.tell("it.put_many(['one', 'two'])")
    first.tell("lease = it.lease()")
    first.kill()
    second = start()
    second.tell("it = treadle.Queue(name='x')")
    second.tell("leases = [it.lease() for _ in range(2)]")
    assert second.tell("sorted((each.item, each.deliveries) for each in leases)") == [
        ("one", 2),
        ("two", 1),
    ]


# ---- Memory


def test_names_that_come_and_go_take_no_memory(start: Start) -> None:
    program = start()
    program.tell("keep = treadle.Lock(name='keep')")
    program.tell("for n in range(2000): treadle.Queue(name=f'name {n}').put(n)")
    before = program.tell("__import__('os').stat(treadle._core.names_path()).st_blocks")
    program.tell("for n in range(20000): treadle.Queue(name=f'name {n}').put(n)")
    assert program.tell("__import__('os').stat(treadle._core.names_path()).st_blocks") <= before
    assert program.tell(_NAMES) == ["keep"]


def test_a_full_arena_of_names_says_so_and_goes_on(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TREADLE_ARENA_LIMIT", str(2 << 20))
    program = start()
    program.tell("all = []")
    program.tell("full = None")
    program.tell(
        "try:\n for n in range(100000): all.append(treadle.Queue(name=f'name {n}'))\n"
        "except treadle.ArenaFullError as error: full = str(error)"
    )
    count = program.tell("len(all)")
    assert 10 < count < 100000
    assert "arena of names has reached its limit" in program.tell("full")
    assert len(program.tell(_NAMES)) == count, "nothing half made has a name"
    program.tell("all.clear()")
    assert program.tell("treadle.Queue(name='again').put(1)") is None


def test_an_object_survives_the_removal_of_the_file_by_hand(start: Start, names: Path) -> None:
    one, two = start(), start()
    for program in one, two:
        program.tell("it = treadle.Event(name='x')")
    names.unlink()
    one.tell("it.set()")
    assert two.tell("it.is_set()")
    assert two.tell("treadle.Event(name='x').is_set()") is False, "it is not found any more"
    two.end()
    one.end()
    assert not names.exists()


def test_letting_go_of_a_name_leaves_this_process_s_own_objects(names: Path) -> None:
    held = treadle.Lock()
    with pytest.raises(treadle.HandleError):
        treadle.unlink("x")
    assert held.acquire()
    assert not names.exists(), "it makes no file to look into"


def test_what_persists_outlasts_a_program_without_descriptors(start: Start, names: Path) -> None:
    first = start()
    first.tell("treadle.Queue(name='x', persist=True).put(1)")
    first.end()
    poor = start()
    poor.tell("import resource; limits = resource.getrlimit(resource.RLIMIT_NOFILE)")
    poor.tell("free = os.open('/dev/null', os.O_RDONLY); os.close(free)")
    for left in range(4):
        poor.tell(f"resource.setrlimit(resource.RLIMIT_NOFILE, (free + {left}, limits[1]))")
        poor.tell("treadle.Queue(name='x').qsize()")
        assert names.exists()
    poor.tell("resource.setrlimit(resource.RLIMIT_NOFILE, limits)")
    assert poor.tell("treadle.Queue(name='x').get_nowait()") == 1
