"""The file in which the named objects lie: other users are kept out, and damage is recognised."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.names.conftest import Start
from tests.names.programs import Program
from treadle._core import names_path

pytestmark = pytest.mark.slow

_OPEN = "it = treadle.Lock(name='x')"


def _a_symbolic_link(path: Path) -> None:
    target = path.with_name("target")
    target.touch(0o600)
    path.symlink_to(target)


def _a_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("nothing"))


def _a_folder(path: Path) -> None:
    path.mkdir(0o700)


def _a_pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


def _open_to_the_group(path: Path) -> None:
    path.touch()
    path.chmod(0o660)


def _open_to_all(path: Path) -> None:
    path.touch()
    path.chmod(0o604)


def _of_two_names(path: Path) -> None:
    path.touch(0o600)
    path.with_name("other").hardlink_to(path)


def _of_another_user(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    path.touch(0o600)
    os.chown(path, 12345, 12345)


def _a_letter(path: Path) -> None:
    path.touch(0o600)
    path.write_text("Dear Ada,\n" * 100)


_WRONG: dict[Callable[[Path], None], str] = {
    _a_symbolic_link: "is a symbolic link",
    _a_dangling_link: "is a symbolic link",
    _a_folder: "is no regular file",
    _a_pipe: "is no regular file",
    _open_to_the_group: "lets other users in by its mode",
    _open_to_all: "lets other users in by its mode",
    _of_two_names: "has a second name",
    _of_another_user: "belongs to another user",
    _a_letter: "holds something else",
}


@pytest.mark.parametrize(
    ("lay", "words"), _WRONG.items(), ids=lambda each: getattr(each, "__name__", "")
)
def test_what_lies_in_the_place_is_refused_and_left(
    lay: Callable[[Path], None], words: str, start: Start, names: Path
) -> None:
    lay(names)
    before = os.lstat(names)
    program = start()
    answer = program.tell(_OPEN)
    assert answer.startswith(f"HandleError: {names}, where this user's named objects lie, {words}")
    assert "remove it" in answer
    assert program.tell("treadle.unlink('x')").startswith("HandleError")
    after = os.lstat(names)
    assert (after.st_ino, after.st_mode, after.st_uid) == (
        before.st_ino,
        before.st_mode,
        before.st_uid,
    )
    # The rest of treadle does not mind.
    assert program.tell("treadle.Lock().acquire()")


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_the_mode_does_not_depend_on_the_umask(mask: int, start: Start, names: Path) -> None:
    program = start()
    program.tell(f"os.umask({mask})")
    assert program.tell(_OPEN) is None
    assert names.stat().st_mode & 0o7777 == 0o600


def test_an_empty_file_is_filled(start: Start, names: Path) -> None:
    names.touch(0o600)
    program = start()
    assert program.tell(_OPEN) is None
    program.end()
    assert not names.exists()


def _left_behind(start: Start) -> Program:
    program = start()
    program.tell("it = treadle.Queue(name='kept', persist=True)")
    program.end()
    return program


def test_one_that_was_cut_short_is_said_to_be(start: Start, names: Path) -> None:
    _left_behind(start)
    os.truncate(names, 1 << 20)
    assert "was cut short, and what was in it is lost; remove it" in start().tell(_OPEN)
    names.unlink()
    assert start().tell(_OPEN) is None


# ---- Who waits for whom

_GATE = (64 << 30) + (1 << 21)  # the byte that is locked by who comes in


def test_who_comes_in_waits_for_who_does_already_and_can_be_interrupted(
    start: Start, names: Path
) -> None:
    first, second = start(), start()
    first.tell("kept = treadle.Lock(name='kept')")
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _GATE, 1, 0)
    with names.open("r+b") as file:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
        second.begin(_OPEN)
        until_blocked(second.pid)
        os.kill(second.pid, signal.SIGINT)
        assert second.answer().startswith("KeyboardInterrupt")
        assert first.tell(_OPEN) is None, "who is in does not wait"
        second.begin(_OPEN)
        until_blocked(second.pid)
    assert second.answer() is None


def until_blocked(pid: int) -> None:
    """Until it waits for a lock of a file."""
    while f"{fcntl.F_OFD_SETLKW:#x}" not in Path(f"/proc/{pid}/syscall").read_text().split():
        pass


def test_the_place_does_not_depend_on_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TREADLE_NAMES_DIR")
    assert names_path() == f"/dev/shm/treadle-{os.geteuid()}"
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert names_path() == f"/tmp/treadle-{os.geteuid()}"


_VERSION, _MAY_PERSIST = 8, 40  # where in the header


def _write(path: Path, at: int, value: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(struct.pack("<I", value))


def test_another_layout_is_refused(start: Start, names: Path) -> None:
    _left_behind(start)
    _write(names, _VERSION, 99)
    assert "of a treadle with another memory layout" in start().tell(_OPEN)


def test_another_layout_in_which_nothing_persists_is_replaced(start: Start, names: Path) -> None:
    program = start()
    program.tell(_OPEN)
    program.kill()
    _write(names, _VERSION, 99)
    assert start().tell(_OPEN) is None


def test_another_layout_that_is_in_use_is_refused(start: Start, names: Path) -> None:
    program = start()
    program.tell(_OPEN)
    _write(names, _VERSION, 99)
    assert "of a treadle with another memory layout" in start().tell(_OPEN)
    _write(names, _VERSION, 2)


def test_the_version_is_where_these_tests_take_it_to_be(start: Start, names: Path) -> None:
    _left_behind(start)
    with names.open("rb") as file:
        header = file.read(48)
    assert header[:8] == b"readle01"
    assert struct.unpack_from("<I", header, _VERSION) == (6,)
    assert struct.unpack_from("<I", header, _MAY_PERSIST) == (1,)
