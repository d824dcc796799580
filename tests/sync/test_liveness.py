"""Who counts as dead: a process that has clearly gone, or has become another program."""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

import treadle
from tests.stress import fresh
from tests.sync.children import forked, hold

_CLONE_NEWPID, _CLONE_NEWTIME = 0x20000000, 0x80


def become_another_program(line: Connection, lock: treadle.Lock) -> None:
    lock.acquire()
    os.set_inheritable(line.fileno(), True)
    program = f"import os; os.write({line.fileno()}, b'x'); os.read({line.fileno()}, 1)"
    os.execv(sys.executable, [sys.executable, "-I", "-c", program])


@pytest.mark.slow
def test_an_owner_that_becomes_another_program_is_dead() -> None:
    lock = treadle.Lock(label="jobs")
    with forked(become_another_program, lock) as child:
        assert os.read(child.line.fileno(), 1) == b"x"  # the new program runs
        with pytest.raises(treadle.OwnerDiedError, match=f"pid {child.pid} "):
            lock.acquire()
        os.write(child.line.fileno(), b"x")


@pytest.mark.slow
def test_what_a_replaced_program_referred_to_is_freed() -> None:
    locks = [treadle.Lock() for _ in range(100)]
    of_the_child = treadle.Lock()
    blocks = treadle.arena_statistics().blocks
    with forked(become_another_program, of_the_child) as child:
        assert os.read(child.line.fileno(), 1) == b"x"
        locks.clear()
        treadle.sweep()
        assert treadle.arena_statistics().blocks <= blocks - 100
        os.write(child.line.fileno(), b"x")


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """No file can be opened in the block, by anybody in this process."""
    kept = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, kept[1]))
    try:
        with pytest.raises(OSError) as caught:
            os.open("/dev/null", os.O_RDONLY)
        assert caught.value.errno == errno.EMFILE
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, kept)


def test_who_cannot_look_takes_a_living_owner_for_alive() -> None:
    lock = treadle.Lock()
    with forked(hold, lock.acquire) as owner:
        owner.expect("holding")
        with no_descriptor_left():
            assert not lock.acquire(blocking=False)
            assert not lock.acquire(timeout=0.05)
        assert lock.owner is not None and lock.owner.pid == owner.pid
        owner.kill()
        with no_descriptor_left(), pytest.raises(treadle.OwnerDiedError):
            lock.acquire()  # gone for good: that needs no descriptor


# A fork without descriptors is for a process of its own: in one that has used uvloop, libuv aborts.


@pytest.mark.slow
def test_a_child_that_could_not_be_told_alive_from_dead_is_no_member() -> None:
    fresh.run(fork_without_descriptors)


def fork_without_descriptors() -> None:
    lock = treadle.Lock()

    def child(line: Connection) -> None:
        with pytest.raises(treadle.HandleError, match="descriptor"):
            lock.acquire()
        with pytest.raises(treadle.HandleError, match="descriptor"):
            treadle.Lock()

    with no_descriptor_left():
        pid = os.fork()
        if pid == 0:
            try:
                child(None)  # type: ignore[arg-type]
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    assert lock.acquire(timeout=0)
    with forked(lambda line: lock.release()):
        pass
    assert not lock.locked()


@pytest.mark.slow
def test_what_no_member_does_to_its_objects_reaches_nobody_else_s() -> None:
    fresh.run(use_without_membership)


def use_without_membership() -> None:
    """The child has no references, so the memory of its objects may be that of others by now."""
    event, semaphore, lock = treadle.Event(), treadle.Semaphore(0), treadle.Lock()
    lock.acquire()
    reader, writer = os.pipe()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with no_descriptor_left():
        pid = os.fork()
        if pid == 0:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
                os.read(reader, 1)
                event.set()
                with pytest.raises(RuntimeError):
                    lock.release()
                with pytest.raises(ValueError):
                    semaphore.release(5)
                assert lock.owner is None
                assert event.statistics().waiting == 0
                assert repr(semaphore) and repr(lock) and treadle.arena_statistics().blocks == 0
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
    del event, semaphore, lock
    others = [[make() for _ in range(50)] for make in (treadle.Lock, treadle.Event)]
    for other in others[0]:
        other.acquire()
    zeros = [treadle.Semaphore(0) for _ in range(50)]
    os.write(writer, b"x")
    assert os.waitpid(pid, 0)[1] == 0
    assert all(other.locked() for other in others[0])
    assert not any(other.is_set() for other in others[1])
    assert all(zero.get_value() == 0 for zero in zeros)


@pytest.mark.parametrize("flag", [_CLONE_NEWPID, _CLONE_NEWTIME], ids=["pid", "time"])
def test_a_child_in_another_namespace_is_told_that_it_cannot_join(flag: int) -> None:
    """Its pids or start times are others: it could not tell who lives, nor could others of it."""
    lock = treadle.Lock()
    middle = os.fork()
    if middle == 0:
        import ctypes

        if ctypes.CDLL(None).unshare(flag) != 0:
            os._exit(77)
        child = os.fork()
        if child == 0:
            try:
                lock.acquire()
            except treadle.HandleError as error:
                os._exit(0 if "namespace" in str(error) else 1)
            os._exit(2)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    status = os.waitstatus_to_exitcode(os.waitpid(middle, 0)[1])
    if status == 77:
        pytest.skip("a namespace takes rights that this user does not have")
    assert status == 0
    assert lock.acquire(timeout=0)


def arena_descriptor() -> int:
    treadle.Lock()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if os.readlink(entry).startswith("/memfd:treadle"):
                return int(entry.name)
        except FileNotFoundError:  # the listing's own
            continue
    raise AssertionError("there is no arena")


@pytest.mark.parametrize("size", [0, 4096, 1 << 40])
def test_nobody_can_cut_the_arena_short(size: int) -> None:
    lock = treadle.Lock()
    with pytest.raises(PermissionError):
        os.ftruncate(arena_descriptor(), size)
    assert lock.acquire()


def test_a_program_that_closes_all_descriptors_keeps_its_locks() -> None:
    """Daemons do that; the memory stays mapped, and its owner is not dead."""
    lock = treadle.Lock()

    def child(line: Connection) -> None:
        lock.acquire()
        os.closerange(3, line.fileno())
        os.closerange(line.fileno() + 1, 256)
        line.send("holding")
        line.recv()
        lock.release()

    with forked(child) as owner:
        owner.expect("holding")
        assert not lock.acquire(timeout=0.05)
        owner.say("end")
        assert lock.acquire()


def test_arenas_are_closed_to_programs_that_a_process_starts() -> None:
    flags = fcntl.fcntl(arena_descriptor(), fcntl.F_GETFD)
    assert flags & fcntl.FD_CLOEXEC


def test_a_handle_can_be_reached_through_the_maker_when_its_sender_has_gone() -> None:
    lock = treadle.Lock()

    def sender(line: Connection) -> None:
        line.send_bytes(pickle.dumps(lock))

    with forked(sender) as child:
        handle = child.line.recv_bytes()
    program = (
        "import pickle, sys; lock = pickle.load(sys.stdin.buffer); "
        "sys.exit(not lock.acquire(timeout=0))"
    )
    done = subprocess.run([sys.executable, "-c", program], input=handle, check=False)
    assert done.returncode == 0
    with pytest.raises(treadle.OwnerDiedError):
        lock.acquire()


def test_a_stopped_owner_is_alive() -> None:
    lock = treadle.Lock()
    with forked(hold, lock.acquire) as owner:
        owner.expect("holding")
        os.kill(owner.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, owner.pid, os.WSTOPPED | os.WNOWAIT)
        assert not lock.acquire(timeout=0.05)
        os.kill(owner.pid, signal.SIGCONT)
        owner.say("end")


@pytest.mark.slow
def test_who_only_waits_frees_what_the_dead_had() -> None:
    """A program may make nothing new for hours."""

    def child(line: Connection) -> None:
        theirs = treadle.Queue()
        theirs.put(bytes(10 << 20))
        line.send("has it")
        line.recv()

    waiting = treadle.Event()
    with forked(child) as other:
        other.expect("has it")
        before = treadle.arena_statistics().used
        other.kill()
    while treadle.arena_statistics().used > before - (10 << 20):
        waiting.wait(timeout=0.1)
