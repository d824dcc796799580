"""SharedMemory: beside the standard library's class, and when a name goes, and when it does not."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker, shared_memory
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import treadle
from tests.sync.children import forked
from treadle import _segments

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def name() -> Iterator[str]:
    """One that nobody uses, and that leaves nothing behind."""
    made_up = f"treadle-test-{os.getpid()}-{threading.get_native_id()}"
    yield made_up
    file_of(made_up).unlink(missing_ok=True)


def file_of(name: str) -> Path:
    return Path("/dev/shm", name)


def standard(*arguments: Any, **options: Any) -> shared_memory.SharedMemory:
    """The standard library's, which its tracker is to leave alone."""
    memory = shared_memory.SharedMemory(*arguments, **options)
    resource_tracker.unregister(memory._name, "shared_memory")  # type: ignore[attr-defined]
    return memory


def identity_in(pid: int, memory: treadle.SharedMemory) -> list[str]:
    """By which descriptors a process has that memory, or where it is mapped."""
    inode = os.fstat(memory._fd).st_ino
    found = [
        entry.name
        for entry in Path(f"/proc/{pid}/fd").iterdir()
        if entry.exists() and entry.stat().st_ino == inode
    ]
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return found + [line for line in maps if f" {inode} " in line]


def unlink_standard(memory: shared_memory.SharedMemory) -> None:
    resource_tracker.register(memory._name, "shared_memory")  # type: ignore[attr-defined]
    memory.unlink()


# ---- Beside the standard library's


def test_either_opens_what_the_other_made(name: str) -> None:
    ours = treadle.SharedMemory(name, create=True, size=100)
    theirs = standard(name)
    theirs.buf[5] = 7
    assert (ours.buf[5], theirs.size, ours.name, theirs.name) == (7, 100, name, name)
    with pytest.raises(FileExistsError):
        standard(name, create=True, size=1)
    theirs.close()
    ours.close()
    ours.unlink()
    theirs = standard(name, create=True, size=200)
    ours = treadle.SharedMemory(name)
    ours.buf[199] = 9
    assert (theirs.buf[199], ours.size) == (9, 200)
    with pytest.raises(FileExistsError):
        treadle.SharedMemory(name, create=True, size=1)
    ours.close()
    unlink_standard(theirs)
    with pytest.raises(FileNotFoundError):
        treadle.SharedMemory(name)
    theirs.close()


def test_either_opens_the_others_list(name: str) -> None:
    items = ["wörd", b"bytes", -1, 2.5, True, None, "", "x" * 8]
    ours = treadle.ShareableList(items, name=name)
    theirs = shared_memory.ShareableList(name=name)
    resource_tracker.unregister(theirs.shm._name, "shared_memory")
    assert (list(theirs), theirs.format) == (items, ours.format)
    theirs[2] = "now str"
    ours[3] = None
    assert list(ours) == list(theirs) == [*items[:2], "now str", None, *items[4:]]
    for wrong in ("too long for it", 2**63, object()):
        before = bytes(ours.shm.buf)
        with pytest.raises((ValueError, KeyError, ArithmeticError, __import__("struct").error)):
            ours[2] = wrong
        assert bytes(ours.shm.buf) == before
    for call in (lambda: ours[8], lambda: ours[-9], lambda: ours.__setitem__(8, 1)):
        with pytest.raises(IndexError):
            call()
    theirs.shm.close()
    ours.shm.unlink()


def test_a_name_is_that_of_a_file() -> None:
    for wrong in ("", "/", "a/b", "..", "x" * 256):
        with pytest.raises(OSError, match="name of shared memory"):
            treadle.SharedMemory(wrong, create=True, size=1)
    with pytest.raises(ValueError, match="null"):
        treadle.SharedMemory("a\0b")
    memory = treadle.SharedMemory("/with-a-slash", create=True, size=1)
    assert memory.name == "with-a-slash"
    memory.unlink()


def test_a_link_is_not_followed(name: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"mine")
    file_of(name).symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        treadle.SharedMemory(name)
    with pytest.raises(FileExistsError):
        treadle.SharedMemory(name, create=True, size=1)
    assert target.read_bytes() == b"mine"


# ---- Unlinking


def test_unlink_takes_the_name_and_not_the_memory(name: str) -> None:
    first = treadle.SharedMemory(name, create=True, size=10)
    second = treadle.SharedMemory(name)
    second.unlink()
    assert not file_of(name).exists()
    first.buf[0] = 1
    assert second.buf[0] == 1
    with pytest.raises(FileNotFoundError):
        first.unlink()


def test_unlink_leaves_alone_what_has_the_name_by_now(name: str) -> None:
    old = treadle.SharedMemory(name, create=True, size=10)
    treadle.SharedMemory(name).unlink()
    new = treadle.SharedMemory(name, create=True, size=20)
    with pytest.raises(FileNotFoundError):
        old.unlink()
    assert treadle.SharedMemory(name).size == 20
    new.unlink()


def test_what_is_closed_stays_for_those_who_use_a_part_of_it() -> None:
    memory = treadle.SharedMemory(create=True, size=80)
    memory.unlink()
    array, part = np.ndarray(10, buffer=memory.buf), memory.buf[:8]
    exported = pickle.PickleBuffer(memory.buf)
    inode = f" {os.fstat(memory._fd).st_ino} "
    memory.close()
    memory.close()
    array[:] = 1
    assert bytes(part) == bytes(exported)[:8] == np.ones(1).tobytes()
    del array, part, exported
    assert inode not in Path("/proc/self/maps").read_text()
    other = treadle.SharedMemory(create=True, size=80)
    other.unlink()
    whole = other.buf
    other.close()
    with pytest.raises(ValueError, match="released"):
        whole[0]


# ---- When a name goes by itself


def make(line: Connection, name: str, **options: Any) -> None:
    memory = treadle.SharedMemory(name, create=True, size=100, **options)
    memory.buf[0] = 42
    line.send("made")
    while (word := line.recv()) != "end":
        memory.close() if word == "close" else memory.unlink()
        line.send(word)


def test_of_a_killed_maker_nothing_stays(name: str) -> None:
    with forked(make, name) as maker:
        maker.expect("made")
        assert name not in _segments.sweep()
        assert _segments.state_of(name) == "in use"
        maker.kill()
    # Another program's sweep may have been faster, here and below.
    assert _segments.state_of(name) in ("left behind", "gone by now")
    with pytest.raises(FileNotFoundError):
        treadle.SharedMemory(name)
    assert not file_of(name).exists()


@pytest.mark.parametrize("next_one", ["sweep", "another", "the same name"])
def test_the_next_one_tidies_up_after_the_killed(
    name: str, next_one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with forked(make, name) as maker:
        maker.expect("made")
        maker.kill()
    monkeypatch.setattr(_segments, "_swept_at", -10.0)
    if next_one == "sweep":
        _segments.sweep()
    elif next_one == "another":
        treadle.SharedMemory(create=True, size=1).unlink()
    else:
        monkeypatch.setattr(_segments, "_sweep_if_due", lambda: None)
        memory = treadle.SharedMemory(name, create=True, size=50)
        assert (memory.size, memory.buf[0]) == (50, 0)
        memory.unlink()
    assert not file_of(name).exists()


@pytest.mark.parametrize("by", [treadle.SharedMemory, standard])
def test_who_has_it_open_keeps_its_name_whoever_is_killed(
    name: str, by: Callable[[str], Any]
) -> None:
    with forked(make, name) as maker:
        maker.expect("made")
        memory = by(name)
        maker.kill()
    assert name not in _segments.sweep()
    with pytest.raises(FileExistsError):
        treadle.SharedMemory(name, create=True, size=1)
    again = treadle.SharedMemory(name)
    assert (memory.buf[0], again.buf[0]) == (42, 42)
    pid = os.fork()
    if pid == 0:
        signal.pause()
    again.close()
    memory.close()
    assert _segments.state_of(name) == "in use"  # by the child, which has what its parent had
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_maker_who_has_closed_it_keeps_its_name_but_not_its_memory(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with forked(make, name) as maker:
        maker.expect("made")
        maker.say("close")
        maker.expect("close")
        monkeypatch.setattr(_segments, "_GRACE", 0)  # as if that was long ago
        assert _segments.state_of(name) == "closed"
        assert not _segments._take_away(name)
        memory = treadle.SharedMemory(name)
        assert memory.buf[0] == 42
        memory.unlink()
        assert identity_in(maker.pid, memory) == []
        maker.say("end")


def test_what_was_closed_in_good_order_may_be_handed_on_for_a_minute(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with forked(make, name) as maker:
        maker.expect("made")
        maker.say("close")
        maker.expect("close")
        maker.say("end")  # by os._exit, as children do
    assert name not in _segments.sweep()
    memory = treadle.SharedMemory(name)
    assert memory.buf[0] == 42
    memory.close()
    assert name not in _segments.sweep()
    monkeypatch.setattr(_segments, "_GRACE", 0)
    assert _segments._take_away(name)


def test_untracked_ones_stay(name: str) -> None:
    made = treadle.SharedMemory(name, create=True, size=10, track=False)
    made.close()
    assert name not in list(_segments.ours())
    assert name not in _segments.sweep()
    treadle.SharedMemory(name).unlink()


END = """
import sys, treadle
import numpy as np
name, how = sys.argv[1:]
memory = treadle.SharedMemory(name, create=True, size=100)
if how == "forked":
    import os
    if os.fork() == 0:
        os.kill(os.getpid(), 9)
    os.wait()
if how == "child":
    import os
    if os.fork() == 0:
        sys.exit()  # what the parent made is the parent's
    os.wait()
    assert os.path.exists(f"/dev/shm/{name}")
array = np.ndarray(100, "u1", buffer=memory.buf) if how == "in use" else None
if how == "closed":
    memory.close()
print("made", flush=True)
sys.stdin.readline()
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["open", "in use", "closed", "forked", "child"])
def test_the_end_of_its_makers_program_takes_the_name(name: str, how: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", END, name, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "made\n"
        assert file_of(name).exists()
        said, _ = program.communicate("\n")
        assert (said, program.returncode) == ("", 0)
    assert not file_of(name).exists()


@pytest.mark.slow
def test_not_if_somebody_has_it(name: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", END, name, "open"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        memory = standard(name)
        program.communicate("\n")
    assert file_of(name).exists()
    memory.close()


# ---- Memory


def test_what_is_not_to_be_had_is_an_error_at_once(name: str) -> None:
    with pytest.raises(treadle.ArenaFullError, match="/dev/shm has"):
        treadle.SharedMemory(name, create=True, size=1 << 60)
    assert not file_of(name).exists()


def test_a_sparse_segment_of_another_library_is_filled(name: str) -> None:
    theirs = standard(name, create=True, size=1 << 20)
    assert file_of(name).stat().st_blocks == 0
    ours = treadle.SharedMemory(name)
    assert file_of(name).stat().st_blocks * 512 == 1 << 20
    ours.close()
    unlink_standard(theirs)
    theirs.close()


def test_a_program_that_makes_many_and_has_others_unlink_them_does_not_grow() -> None:
    names = []
    for _ in range(200):
        memory = treadle.SharedMemory(create=True, size=10)
        memory.close()
        names.append(memory.name)
        file_of(memory.name).unlink()  # as another process does
    assert not set(names) & set(_segments.ours())
    assert len(_segments._made) <= 3
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        treadle.SharedMemory(create=True, size=10).unlink()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= descriptors


def write(memory: Any, text: bytes) -> None:
    memory.buf[: len(text)] = text
    memory.close()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_it_can_be_sent(method: str) -> None:
    memory = treadle.SharedMemory(create=True, size=100)
    process = multiprocessing.get_context(method).Process(target=write, args=(memory, b"sent"))  # type: ignore[attr-defined]
    process.start()
    process.join()
    assert bytes(memory.buf[:4]) == b"sent"
    items = treadle.ShareableList([1, 2])
    pickle.loads(pickle.dumps(items))[0] = 5
    assert list(items) == [5, 2]
    for segment in (memory, items.shm):
        segment.close()
        segment.unlink()


# ---- Commands


@pytest.mark.slow
def test_the_commands_know_segments(name: str) -> None:
    command = [sys.executable, "-m", "treadle"]
    gone = f"/dev/shm/{name}: nobody has this memory any more; removed\n"
    swept = ""
    while gone not in swept:  # another program's sweep may be faster
        with forked(make, name) as maker:
            maker.expect("made")
            listed = json.loads(subprocess.check_output([*command, "ls", "--segments", "--json"]))
            (ours,) = [each for each in listed if each["name"] == name]
            assert (ours["state"], ours["pids"], ours["bytes"]) == ("in use", [maker.pid], 100)
            assert name not in subprocess.check_output([*command, "gc"], text=True)
            maker.kill()
        swept = subprocess.check_output([*command, "gc"], text=True)
        assert not file_of(name).exists()
