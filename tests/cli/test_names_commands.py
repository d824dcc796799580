"""`treadle ls`, `treadle gc` and `treadle doctor`: what they find, do, and say."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.names.conftest import Start, names, start
from treadle import _segments, cli
from treadle.cli import doctor

__all__ = ["names", "start"]


def treadle_command(*arguments: str, code: int = 0, **options: Any) -> str:
    """What the command prints, on either stream; in a process of its own, which leaves."""
    done = subprocess.run(
        [sys.executable, "-m", "treadle", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


_LOCALE_WITHOUT_LETTERS = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


# ---- ls


@pytest.mark.slow
def test_ls_of_nothing(names: Path) -> None:
    assert treadle_command("ls") == f"nothing has a name ({names})\n"
    assert treadle_command("ls", "--json") == "[]\n"
    assert not names.exists(), "to look makes nothing"


_THINGS = """
all = [
    treadle.Lock(name="lock"),
    treadle.RLock(name="rlock"),
    treadle.Semaphore(4, name="semaphore"),
    treadle.BoundedSemaphore(4, name="bounded"),
    treadle.Event(name="event"),
    treadle.Condition(name="condition"),
    treadle.Barrier(2, name="barrier"),
    treadle.Queue(9, name="queue", persist=True),
    treadle.RWLock(name="rwlock"),
    treadle.Latch(5, name="latch"),
    treadle.PriorityQueue(name="priorities"),
    treadle.LifoQueue(name="stack"),
    treadle.List("ab", name="list"),
]
all[0].acquire()
all[2].acquire()
all[3].acquire()
all[4].set()
all[6].abort()
all[7].put_many(range(3))
all[8].acquire_read()
all[9].count_down()
all[10].put(1)
lease = all[7].lease()
"""


@pytest.mark.slow
def test_ls_tells_what_there_is(start: Start) -> None:
    program, other = start(), start()
    program.tell(_THINGS)
    other.tell("it = treadle.Queue(9, name='queue')")
    found = {each["name"]: each for each in json.loads(treadle_command("ls", "--json"))}
    assert {name: each["state"] for name, each in found.items()} == {
        "lock": f"held by pid {program.pid}",
        "rlock": "free",
        "semaphore": "3 free",
        "bounded": "3 free",
        "event": "set",
        "condition": "0 waiting",
        "barrier": "broken",
        "queue": "2 items, 1 on lease",
        "rwlock": "read by 1",
        "latch": "4 to come",
        "priorities": "1 item",
        "stack": "0 items",
        "list": "2 items",
    }
    assert found["queue"]["type"] == "Queue(9, maxbytes=0)"
    assert found["bounded"]["type"] == "BoundedSemaphore(4, reclaim=True)"
    assert [name for name, each in found.items() if each["persistent"]] == ["queue"]
    assert found["queue"]["pids"] == [program.pid, other.pid] and found["queue"]["users"] == 2
    assert found["lock"]["pids"] == [program.pid] and found["lock"]["users"] == 1
    assert all(0 < each["bytes"] < 100_000 for each in found.values())
    assert list(found) == sorted(found)

    lines = treadle_command("ls").splitlines()
    assert lines[0].split() == ["name", "type", "state", "users", "persistent", "size"]
    assert len(lines) == 1 + len(found)
    (queue,) = (line for line in lines if line.startswith("queue"))
    assert queue.split()[-5:-3] == ["lease", "2"] and " yes " in queue
    other.kill()
    program.kill()
    left = json.loads(treadle_command("ls", "--json"))
    assert [(each["name"], each["users"]) for each in left] == [("queue", 0)]


@pytest.mark.slow
def test_ls_says_that_a_holder_has_ended(start: Start) -> None:
    holder, other = start(), start()
    for name in ("Lock", "RLock", "RWLock", "Condition"):
        other.tell(f"{name} = treadle.{name}(name={name!r})")
    for name in ("Lock", "RLock", "Condition"):
        holder.tell(f"{name} = treadle.{name}(name={name!r}); {name}.acquire()")
    holder.tell("RWLock = treadle.RWLock(name='RWLock'); RWLock.acquire_write()")
    states = _states()
    locks = ("Lock", "RLock", "RWLock")
    assert {states[name] for name in locks} == {f"held by pid {holder.pid}"}
    holder.kill()
    for _ in range(2):  # to look changes nothing
        states = _states()
        assert {states[name] for name in locks} == {f"held by pid {holder.pid}, which has ended"}
    for name in locks:
        acquire = "acquire_write" if name == "RWLock" else "acquire"
        assert other.tell(f"{name}.{acquire}()").startswith("OwnerDiedError")
    states = _states()
    assert {states[name] for name in locks} == {"inconsistent: its owner died"}


@pytest.mark.slow
def test_ls_says_that_a_holding_thread_has_ended(start: Start) -> None:
    holder = start()
    holder.tell(
        "def hold(acquire):\n"
        "    thread = threading.Thread(target=acquire)\n"
        "    thread.start()\n"
        "    thread.join()\n"
    )
    holder.tell("lock = treadle.Lock(name='lock'); hold(lock.acquire)")
    holder.tell("rlock = treadle.RLock(name='rlock'); hold(rlock.acquire)")
    held = f"held by pid {holder.pid}"
    assert _states() == {"lock": held, "rlock": f"{held}, whose thread has ended"}


def _states() -> dict[str, str]:
    return {each["name"]: each["state"] for each in json.loads(treadle_command("ls", "--json"))}


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"PYTHONIOENCODING": "ascii"}, _LOCALE_WITHOUT_LETTERS])
def test_names_that_the_output_cannot_write_are_escaped(
    start: Start, options: dict[str, str]
) -> None:
    program = start()
    program.tell("it = treadle.Lock(name='gr\xfcn \u20ac')")
    program.tell("other = treadle.Queue(name='blue', persist=True)")
    environment = os.environ | options
    lines = treadle_command("ls", env=environment).splitlines()
    assert lines[2].startswith(r"gr\xfcn \u20ac  Lock()")
    of_type = ("type", "Queue", "Lock")
    assert len({line.index(word) for line, word in zip(lines, of_type, strict=True)}) == 1
    (green,) = (
        each
        for each in json.loads(treadle_command("ls", "--json", env=environment))
        if each["type"] == "Lock()"
    )
    assert green["name"] == "gr\xfcn \u20ac"
    program.tell("third = treadle.Queue(name='r\xf6t', persist=True)")
    said = treadle_command("gc", "r\xf6t", env=environment)
    assert said.startswith(r"r\xf6t: in use")
    program.kill()
    assert treadle_command("gc", env=environment).endswith("what persists in it: blue\n")


# ---- gc


@pytest.mark.slow
def test_gc_of_nothing(names: Path) -> None:
    assert treadle_command("gc") == f"{names}: not there; nothing has a name\n"


@pytest.mark.slow
def test_gc_removes_what_nobody_uses(start: Start, names: Path) -> None:
    program = start()
    program.tell("it = treadle.Lock(name='x')")
    assert treadle_command("gc") == f"{names}: swept 0 dead processes; 1 process uses it\n"
    program.kill()
    assert treadle_command("gc") == f"{names}: nobody used it; removed\n"
    assert not names.exists()


@pytest.mark.slow
def test_gc_sweeps_and_keeps_what_persists(start: Start, names: Path) -> None:
    program = start()
    program.tell("it = treadle.Queue(name='x', persist=True)")
    program.tell("other = treadle.Condition(name='y', persist=True)")
    program.kill()
    told = f"{names}: swept 1 dead process; kept for what persists in it: x, y\n"
    assert treadle_command("gc") == told
    assert treadle_command("gc", "x").splitlines()[0] == "x: gone"
    told = f"y: gone\n{names}: swept 0 dead processes; nobody uses it any more; removed\n"
    assert treadle_command("gc", "y") == told
    assert not names.exists()


@pytest.mark.slow
def test_gc_lets_go_of_what_is_in_use(start: Start, names: Path) -> None:
    program = start()
    program.tell("it = treadle.Queue(name='x', persist=True)")
    assert treadle_command("gc", "x").startswith("x: in use; it goes with its last user\n")
    assert program.tell("it.put(1)") is None
    program.end()
    assert not names.exists()


@pytest.mark.slow
def test_gc_of_an_unknown_name_is_an_error(start: Start, names: Path) -> None:
    words = "treadle gc: nothing is named 'x'; treadle ls shows what there is\n"
    assert treadle_command("gc", "x", code=2) == words
    words = "treadle gc: name '.x' must not begin with a dot\n"
    assert treadle_command("gc", ".x", code=2) == words


@pytest.mark.slow
@pytest.mark.parametrize("command", ["ls", "gc"])
def test_what_cannot_be_opened_is_one_sentence(command: str, names: Path) -> None:
    names.mkdir()
    words = f"treadle {command}: {names}, where this user's named objects lie, is no regular file"
    said = treadle_command(command, code=2)
    assert said.startswith(words) and said.count("\n") == 1


# ---- doctor


def test_doctor_looks_at_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert {each["state"] for each in findings} <= {"ok", "limited", "off"}
    subjects = {each["subject"] for each in findings}
    assert {"Python", "kernel", "addresses", "names", "/dev/shm", "/proc"} <= subjects
    for each in findings:
        assert each["found"]
        assert "does not tell" not in each["found"], "nothing is unknown here"


def test_doctor_says_what_is_off_and_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    infinite = resource.RLIM_INFINITY
    limits = {resource.RLIMIT_AS: 30 << 30, resource.RLIMIT_NOFILE: 64}
    monkeypatch.setattr(
        resource, "getrlimit", lambda which: (limits.get(which, infinite), infinite)
    )
    assert cli.main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    addresses = next(line for line in lines if line.startswith("addresses"))
    assert " off " in addresses and addresses.endswith("ulimit -v unlimited")
    assert " limited " in next(line for line in lines if line.startswith("descriptors"))


def test_doctor_says_that_it_has_no_descriptors_to_look_with(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(subprocess, "Popen", none_left)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (8, 8))
    cli.main(["doctor", "--json"])
    found = {each["subject"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["/proc"]["found"] == "not looked at: no descriptor was left for it"
    assert found["descriptors"]["advice"].startswith("ulimit -n 1024, where this limit was set")


@pytest.mark.slow
@pytest.mark.parametrize("limit", range(5, 12))
def test_doctor_says_with_few_descriptors_what_it_can(start: Start, limit: int) -> None:
    start().tell("it = treadle.Queue(name='x', persist=True)")
    done = subprocess.run(
        [sys.executable, "-m", "treadle", "doctor"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1, 2)
    assert "Traceback" not in done.stderr and "remove" not in done.stdout + done.stderr


@pytest.mark.slow
def test_doctor_finds_that_there_can_be_no_arena(names: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (30 << 30, 30 << 30))

    said = treadle_command("doctor", "--json", code=1, preexec_fn=limit)
    findings = {each["subject"]: each for each in json.loads(said)}
    assert findings["addresses"]["state"] == findings["shared arena"]["state"] == "off"


def test_doctor_tells_what_shared_memory_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> doctor.Finding:
        (finding,) = (each for each in doctor.examine() if each.subject == "SharedMemory")
        return finding

    assert found().state == "ok"
    with monkeypatch.context() as patched:
        patched.setattr(_segments, "_nobody_else_has", lambda fd: False)
        assert found().state == "limited" and "refuses leases" in found().found
    monkeypatch.setattr(_segments, "FOLDER", "/proc")
    assert found().state == "off" and "cannot be made" in found().found
    assert not found().needed


def test_doctor_tells_what_is_wrong_with_the_names(names: Path) -> None:
    names.mkdir()
    (finding,) = (each for each in doctor.examine() if each.subject == "names")
    assert finding.state == "off" and "is no regular file" in finding.found
    assert not finding.needed, "the rest works without"
