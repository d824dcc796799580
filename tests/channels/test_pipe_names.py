"""Pipes by name: programs that know nothing else of each other take an end each."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import select
from collections.abc import Callable, Iterator
from gc import collect
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path

import pytest

import treadle
from tests.channels.pipes import Answer, is_readable
from tests.names.conftest import Start, names, start
from tests.sync.children import Child, forked
from treadle.cli import gc

__all__ = ["names", "start"]

TAKE = "end = treadle.Pipe(name='x', end={})"


@pytest.fixture
def name(names: Path) -> Iterator[str]:
    """A name that this process opens itself, in the folder of all tests."""
    here = os.environ["TREADLE_NAMES_DIR"]
    os.environ["TREADLE_NAMES_DIR"] = os.path.dirname(here)
    yield f"pipe of {names.parent.name}"
    os.environ["TREADLE_NAMES_DIR"] = here


def bells(folder: Path) -> list[str]:
    return sorted(each for each in os.listdir(folder) if ".bell-" in each)


def both(name: str, duplex: bool = True) -> tuple[treadle.Connection, treadle.Connection]:
    here = treadle.Pipe(duplex, name=name, end=0)
    return here, treadle.Pipe(duplex, name=name, end=1)


# ---- Programs


@pytest.mark.slow
def test_two_programs_meet_whoever_comes_first(start: Start, names: Path) -> None:
    one, two = start(), start()
    one.tell(TAKE.format(0))
    one.begin("end.recv()")
    two.tell(TAKE.format(1))
    two.tell("end.send({'to': 'one'})")
    assert one.answer() == {"to": "one"}
    one.tell("end.send_bytes(bytes(2 << 20))")
    assert two.tell("len(end.recv_bytes())") == 2 << 20
    assert two.tell("(end.name, end.label)") == ("x", "x")
    assert len(bells(names.parent)) == 2
    two.tell("end.close()")
    assert one.tell("end.recv()").startswith("EOFError")
    assert one.tell("end.send(1)").startswith("BrokenPipeError")
    one.end()
    two.end()
    assert os.listdir(names.parent) == []


@pytest.mark.slow
def test_one_is_killed_and_started_anew_and_the_other_goes_on(start: Start, names: Path) -> None:
    one, two = start(), start()
    one.tell(TAKE.format(0))
    one.tell("[end.send(number) for number in range(4)]")  # before anybody has come
    two.tell(TAKE.format(1))
    assert two.tell("(end.recv(), end.recv())") == (0, 1)
    two.tell("end.send('last words')")
    one.begin("[end.recv(), end.recv()]")
    two.kill()
    assert one.answer().startswith("EOFError")
    assert one.tell("end.send('in vain')").startswith("BrokenPipeError")
    again = start()
    again.tell(TAKE.format(1))
    assert again.tell("(end.recv(), end.recv(), end.poll())") == (2, 3, False)
    one.begin("end.recv()")
    again.tell("end.send('back')")
    assert one.answer() == "back"
    one.kill()
    assert again.tell("end.recv()").startswith("EOFError")
    # Who begins anew waits for one that does, too.
    again.tell("end.close()")
    again.tell(TAKE.format(1))
    assert again.tell("end.poll()") is False
    assert len(bells(names.parent)) == 2
    again.end()
    assert os.listdir(names.parent) == []


@pytest.mark.slow
def test_what_the_killed_leave_is_removed_by_the_next(start: Start, names: Path) -> None:
    one, two, keeper = start(), start(), start()
    keeper.tell("event = treadle.Event(name='other')")
    for program, end in (one, 0), (two, 1):
        program.tell(TAKE.format(end))
    one.kill()
    two.kill()
    left = bells(names.parent)
    assert len(left) == 2
    assert keeper.tell("(end := treadle.Pipe(name='x', end=0)).poll()") is False, "a new one"
    assert len(bells(names.parent)) == 2
    assert not {*left} & {*bells(names.parent)}
    keeper.kill()
    gc.run(argparse.Namespace(names=[]))
    assert os.listdir(names.parent) == []


@pytest.mark.slow
def test_a_program_that_ends_leaves_nothing_of_what_it_has_not_closed(
    start: Start, names: Path
) -> None:
    one, keeper = start(), start()
    keeper.tell("event = treadle.Event(name='other')")
    one.tell("sys.ends = [" + TAKE.format(0)[6:] + "]")
    assert len(bells(names.parent)) == 2
    one.end()
    assert bells(names.parent) == []
    keeper.end()


@pytest.mark.slow
def test_other_users_are_kept_out(start: Start, names: Path, tmp_path: Path) -> None:
    one, two = start(), start()
    one.tell(TAKE.format(0))
    for each in bells(names.parent):
        assert (names.parent / each).stat().st_mode & 0o777 == 0o600
    for each in bells(names.parent):
        (names.parent / each).chmod(0o620)
    assert "lets other users in" in two.tell(TAKE.format(1))
    for each in bells(names.parent):
        (names.parent / each).unlink()
        (names.parent / each).symlink_to(tmp_path)
    assert "is a symbolic link" in two.tell(TAKE.format(1))


# ---- In one process


def test_many_that_come_at_once_meet_in_one(name: str) -> None:
    ready, go = treadle.Semaphore(0), treadle.Event()

    def come(number: int) -> None:
        ready.release()
        go.wait()
        end = treadle.Pipe(name=name, end=number % 2)
        if number % 2:
            end.send(number)
        else:
            got = end.recv()
            assert got % 2
        # Held until all have met: who leaves first would end it for the others.
        ready.release()
        done.wait()

    done = treadle.Event()
    context = get_context("fork")
    comers = [context.Process(target=come, args=(number,)) for number in range(8)]
    for comer in comers:
        comer.start()
    for _ in comers:
        ready.acquire()
    go.set()
    for _ in comers:
        ready.acquire()
    done.set()
    for comer in comers:
        comer.join()
        assert comer.exitcode == 0
    with treadle.Pipe(name=name, end=0) as end:
        assert not end.poll()


@pytest.mark.parametrize(
    "open_other",
    [
        lambda name: treadle.Pipe(False, name=name, end=0),
        lambda name: treadle.Queue(name=name),
        lambda name: treadle.Lock(name=name),
    ],
    ids=["other duplex", "Queue", "Lock"],
)
def test_a_name_means_one_thing(name: str, open_other: Callable[[str], object]) -> None:
    with (
        treadle.Pipe(name=name, end=0),
        pytest.raises(treadle.HandleError, match=r"Pipe\(duplex=True\)"),
    ):
        open_other(name)


def test_which_end_must_be_said_and_said_rightly(name: str) -> None:
    with pytest.raises(TypeError, match="end=0 or end=1"):
        treadle.Pipe(name=name)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="with a name"):
        treadle.Pipe(end=0)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="0 or 1"):
        treadle.Pipe(name=name, end=2)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="slash"):
        treadle.Pipe(name="a/b", end=0)
    assert treadle.Pipe()[0].name is None


def test_one_direction(name: str) -> None:
    here, there = both(name, duplex=False)
    there.send(1)
    assert here.recv() == 1
    with pytest.raises(OSError, match="read-only"):
        here.send(1)
    with pytest.raises(OSError, match="write-only"):
        there.recv()


def test_an_end_may_be_taken_by_several_and_is_held_until_the_last_has_gone(name: str) -> None:
    here, there = both(name)
    another = treadle.Pipe(name=name, end=1)
    there.close()
    assert not here.poll()
    another.send("still here")
    assert here.recv() == "still here"
    another.close()
    with pytest.raises(EOFError):
        here.recv()


def test_a_child_of_fork_holds_what_it_has_inherited(name: str) -> None:
    here, there = both(name)
    here.send("to the child")

    def child(_: object) -> None:
        here.close()
        there.send([there.recv(), there.name])

    with forked(child):
        there.close()
        assert here.recv() == ["to the child", name]
        with pytest.raises(EOFError):
            here.recv()


def echo(end: treadle.Connection) -> None:
    end.send([end.recv(), end.name])


@pytest.mark.slow
def test_an_end_is_handed_to_a_spawned_process(name: str) -> None:
    here, there = both(name)
    process = get_context("spawn").Process(target=echo, args=(there,))
    process.start()
    there.close()
    here.send(7)
    assert here.recv() == [7, name]
    with pytest.raises(EOFError):
        here.recv()
    process.join()


def test_the_sign_for_selectors_is_that_of_messages_and_of_the_end(name: str) -> None:
    here = treadle.Pipe(name=name, end=0)
    assert not is_readable(here), "nobody has come yet"
    there = treadle.Pipe(name=name, end=1)
    assert not is_readable(here)
    there.send(1)
    assert wait([here]) == [here]
    assert here.recv() == 1
    assert not is_readable(here)
    there.close()
    assert wait([here]) == [here]
    with pytest.raises(EOFError):
        here.recv()
    late = treadle.Pipe(name=name, end=0)
    assert select.select([late], [], [], 0)[0] == [late], "that of who has come after the end"
    there = treadle.Pipe(name=name, end=1)
    assert not is_readable(here) and not is_readable(late)


def test_threads_wait_for_who_is_to_come(name: str) -> None:
    here = treadle.Pipe(name=name, end=0)
    receiving = Answer(here.recv)
    receiving.until_asleep()
    assert not here.poll(0.01)
    there = treadle.Pipe(name=name, end=1)
    there.send("hello")
    assert receiving.get() == "hello"
    receiving = Answer(here.recv)
    receiving.until_asleep()
    there.close()
    with pytest.raises(EOFError):
        receiving.get()


def test_tasks_wait_for_who_is_to_come(name: str) -> None:
    here = treadle.Pipe(name=name, end=0)

    async def main() -> None:
        receiving = asyncio.ensure_future(here.aio.recv())
        await asyncio.sleep(0)
        there = treadle.Pipe(name=name, end=1)
        await there.aio.send("hello")
        assert await receiving == "hello"
        receiving = asyncio.ensure_future(here.aio.recv())
        await asyncio.sleep(0)
        there.close()
        with pytest.raises(EOFError):
            await receiving
        with pytest.raises(BrokenPipeError):
            await here.aio.send("in vain")

    asyncio.run(main())


def test_a_send_waits_for_room_until_somebody_comes(name: str) -> None:
    here = treadle.Pipe(name=name, end=0)
    for _ in range(4):
        here.send_bytes(bytes(1 << 20))
    sending = Answer(here.send_bytes, b"one more")
    sending.until_asleep()
    there = treadle.Pipe(name=name, end=1)
    assert [len(there.recv_bytes()) for _ in range(5)] == [1 << 20] * 4 + [8]
    sending.get()


def test_nothing_lies_there_of_a_send_that_failed(name: str) -> None:
    here, there = both(name)
    there.close()
    for _ in range(3):
        with pytest.raises(BrokenPipeError):
            here.send("in vain")
    there = treadle.Pipe(name=name, end=1)
    assert not there.poll()
    here.send("heard")
    assert there.recv() == "heard"


# ---- Killed anywhere


def _come_and_go(name: str, side: int) -> None:
    while True:
        try:
            with treadle.Pipe(name=name, end=side) as end:  # type: ignore[call-overload]
                end.send(side)
                while end.poll():
                    end.recv()
        except (EOFError, BrokenPipeError):
            pass


def _kill_takers(name: str, rounds: int) -> None:
    """Those who come next find a pipe that works, whatever the killed were about."""
    seed = int(os.environ.get("TREADLE_SEED", random.randrange(1 << 30)))
    print(f"TREADLE_SEED={seed} repeats this")
    rng = random.Random(seed)
    for _ in range(rounds):
        held = treadle.Pipe(name=name, end=0) if rng.random() < 0.5 else None
        takers = [Child(lambda _, side=side: _come_and_go(name, side)) for side in (1, 1, 0)]
        for _ in range(rng.randrange(20_000)):
            pass
        for taker in takers:
            taker.kill()
        here, there = held or treadle.Pipe(name=name, end=0), treadle.Pipe(name=name, end=1)
        for end in here, there:
            while end.poll():
                end.recv()
        here.send("ping")
        assert there.recv() == "ping"
        there.send("pong")
        assert here.recv() == "pong"
        there.close()
        with pytest.raises(EOFError):
            here.recv()
        here.close()


def test_takers_that_are_killed_leave_a_pipe_that_works_and_nothing_else(name: str) -> None:
    folder = Path(os.environ["TREADLE_NAMES_DIR"])
    collect()  # ends that other tests have left in their tracebacks
    before = {*bells(folder)}
    _kill_takers(name, 5)
    with treadle.Pipe(name=name, end=0):
        assert len({*bells(folder)} - before) == 2
    assert {*bells(folder)} <= before


@pytest.mark.soak
def test_many_takers_that_are_killed_leave_a_pipe_that_works(name: str) -> None:
    _kill_takers(name, 1000)
