"""``treadle doctor``: what this machine and this Python offer, what is off, why, and what to do."""

from __future__ import annotations

import argparse
import errno
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import treadle
from treadle import _segments
from treadle._core import names_path
from treadle.cli.gc import names_in_use
from treadle.cli.table import print_table

_GIB = 1 << 30
_ADDRESSES = 64 * _GIB  # what one arena reserves
_NEWEST_TRIED = (3, 13)


@dataclass(frozen=True)
class Finding:
    """One line: ``state`` is ok, limited or off; ``needed``: treadle does not work without it."""

    subject: str
    state: str
    found: str
    advice: str = ""
    needed: bool = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument("--json", action="store_true", help="print one JSON array of findings")


def run(args: argparse.Namespace) -> int:
    """Look at everything and print it; 1 if something that treadle needs is off, else 0."""
    findings = list(examine())
    if args.json:
        print(json.dumps([asdict(each) for each in findings], indent=1))
    else:
        rows = [
            (
                each.subject,
                each.state,
                f"{each.found}; {each.advice}" if each.advice else each.found,
            )
            for each in findings
        ]
        print_table(("subject", "state", "found"), rows)
    return int(any(each.state == "off" and each.needed for each in findings))


def examine() -> Iterator[Finding]:
    """All findings. What cannot be looked at is limited, and says why."""
    for subject, look in _CHECKS.items():
        try:
            yield from look(subject)
        except (OSError, ValueError, IndexError) as error:
            if isinstance(error, OSError) and error.errno == errno.EMFILE:
                yield Finding(subject, "limited", "not looked at: no descriptor was left for it")
                continue
            yield Finding(subject, "limited", f"the system does not tell: {error}")


# ---- Python


def _python(subject: str) -> Iterator[Finding]:
    found = f"{platform.python_implementation()} {platform.python_version()}"
    if sys.version_info[:2] > _NEWEST_TRIED:
        newest = ".".join(map(str, _NEWEST_TRIED))
        yield Finding(subject, "limited", f"{found}, newer than what was tried (up to {newest})")
    else:
        yield Finding(subject, "ok", found)


def _gil(subject: str) -> Iterator[Finding]:
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        yield Finding(subject, "ok", "a build with the global lock, switched on")
    else:
        yield Finding(subject, "limited", "off: treadle has not been run without it yet")


def _packages(subject: str) -> Iterator[Finding]:
    for package, use in _PACKAGES.items():
        try:
            yield Finding(subject, "ok", f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            needed = package == "cloudpickle"
            found = f"{package} is not installed: no {use}"
            yield Finding(subject, "off", found, f"pip install {package}", needed)


_PACKAGES = {
    "treadle": "version to tell",
    "cloudpickle": "lambdas and local classes in queues",
    "rich": "tables and bars in colour",
    "numpy": "arrays without a copy",
    "uvloop": "faster event loop",
    "joblib": "backend for scikit-learn",
}


# ---- The machine


def _kernel(subject: str) -> Iterator[Finding]:
    found = f"Linux {platform.release()} on {platform.machine()}"
    if platform.machine() == "x86_64":
        yield Finding(subject, "ok", found)
    else:
        yield Finding(subject, "limited", f"{found}, where treadle has not been run yet")


def _cores(subject: str) -> Iterator[Finding]:
    granted, there = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    found = f"{granted} of {there}"
    if granted > 1:
        yield Finding(subject, "ok", found)
    else:
        yield Finding(subject, "limited", f"{found}: who waits sleeps at once, which costs latency")


def _memory(subject: str) -> Iterator[Finding]:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    groups = Path("/proc/self/cgroup").read_text().splitlines()
    group = next((line[3:] for line in groups if line.startswith("0::")), "/")
    limits = (Path(f"/sys/fs/cgroup{group}/memory.max"), Path("/sys/fs/cgroup/memory.max"))
    texts = [path.read_text().strip() for path in limits if path.exists()]
    granted = min([int(text) for text in texts if text != "max"], default=None)
    if granted is None or granted >= machine:
        yield Finding(subject, "ok", f"{_size(machine)}, no limit of a control group")
    else:
        found = f"{_size(machine)}, of which the control group grants {_size(granted)}"
        yield Finding(subject, "ok", found)


def _huge_pages(subject: str) -> Iterator[Finding]:
    path = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    chosen = path.read_text().partition("[")[2].partition("]")[0] if path.exists() else "never"
    if chosen == "never":
        advice = f"echo madvise > {path}"
        found = "off: large items are copied out of queues more slowly"
        yield Finding(subject, "limited", found, advice)
    else:
        yield Finding(subject, "ok", f"{chosen}: for copies of large items")


# ---- Limits


def _address_space(subject: str) -> Iterator[Finding]:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        yield Finding(subject, "ok", "no limit")
    elif limit < _ADDRESSES + 4 * _GIB:
        found = f"limited to {_size(limit)}, and an arena reserves {_size(_ADDRESSES)} (no memory)"
        yield Finding(subject, "off", found, "ulimit -v unlimited")
    elif limit < 2 * _ADDRESSES + 4 * _GIB:
        found = f"limited to {_size(limit)}: room for one arena, not for that of the names as well"
        yield Finding(subject, "limited", found, "ulimit -v unlimited")
    else:
        yield Finding(subject, "ok", f"limited to {_size(limit)}")


def _file_size(subject: str) -> Iterator[Finding]:
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit == resource.RLIM_INFINITY or limit >= _ADDRESSES:
        yield Finding(subject, "ok", "no limit that matters")
    else:
        found = (
            f"limited to {_size(limit)}, and an arena's file is {_size(_ADDRESSES)} long (empty)"
        )
        yield Finding(subject, "off", found, "ulimit -f unlimited")


def _descriptors(subject: str) -> Iterator[Finding]:
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{len(os.listdir('/proc/self/fd'))} of {limit} in use here"
    if limit < 256:
        advice = f"ulimit -n {min(1024, most)}"
        if limit == most:
            advice = "ulimit -n 1024, where this limit was set: it cannot be raised from here"
        yield Finding(subject, "limited", found, advice)
    else:
        yield Finding(subject, "ok", found)


# ---- Shared memory


def _arena(subject: str) -> Iterator[Finding]:
    try:
        limit = treadle.arena_statistics().limit
        treadle.Lock().acquire()
    except (treadle.TreadleError, ValueError) as error:
        yield Finding(subject, "off", str(error))
        return
    by = " (TREADLE_ARENA_LIMIT)" if "TREADLE_ARENA_LIMIT" in os.environ else ""
    found = f"can be made, and take up to {_size(limit)}{by}"
    if limit < 1 << 26:
        advice = "set TREADLE_ARENA_LIMIT, or call treadle.set_arena_limit()"
        yield Finding(subject, "limited", found, advice)
    else:
        yield Finding(subject, "ok", found)


def _dev_shm(subject: str) -> Iterator[Finding]:
    if not os.path.isdir("/dev/shm"):
        found = "not there: named objects lie in /tmp, perhaps on a disk"
        yield Finding(subject, "limited", found, "mount a tmpfs there", False)
        return
    there = os.statvfs("/dev/shm")
    size, free = there.f_blocks * there.f_frsize, there.f_bavail * there.f_frsize
    found = f"{_size(size)}, {_size(free)} free; only names and SharedMemory need it"
    if not os.access("/dev/shm", os.W_OK | os.X_OK, effective_ids=True):
        found = "not writable: named objects lie in /tmp, perhaps on a disk"
        yield Finding(subject, "limited", found, "chmod 1777 /dev/shm", False)
    elif free < 1 << 26:
        yield Finding(subject, "limited", found, "remount it larger (--shm-size for a container)")
    else:
        yield Finding(subject, "ok", found)


def _shared_memory(subject: str) -> Iterator[Finding]:
    try:
        told = _segments.can_be_asked_after()
    except OSError as error:
        if error.errno == errno.EMFILE:
            raise
        found = f"treadle.SharedMemory cannot be made: {error.strerror}"
        yield Finding(subject, "off", found, "mount a tmpfs at /dev/shm", False)
        return
    if told:
        yield Finding(subject, "ok", "the kernel tells who has a segment")
    else:
        found = "the kernel refuses leases: names stay until they are unlinked"
        yield Finding(subject, "limited", found, "unlink what the killed left, in /dev/shm")


def _names(subject: str) -> Iterator[Finding]:
    try:
        path = names_path()
        use = names_in_use()
    except (treadle.TreadleError, ValueError) as error:
        yield Finding(subject, "off", str(error), needed=False)
        return
    if use is None:
        yield Finding(subject, "ok", f"nothing has a name; the file would be {path}")
    else:
        count, kept, others = use
        found = f"{path}: {count} names, {kept} of them persistent, {others} other processes"
        yield Finding(subject, "ok", found)


# ---- What processes may know of each other


def _namespace(subject: str) -> Iterator[Finding]:
    if os.readlink("/proc/self") != str(os.getpid()):
        found = "/proc is of another pid namespace: nobody can tell here who lives"
        yield Finding(subject, "off", found, "mount the container's own /proc")
        return
    inode = os.stat("/proc/self/ns/pid").st_ino
    found = f"pid:[{inode}]: processes of other ones (containers) cannot be met"
    yield Finding(subject, "ok", found)


def _proc(subject: str) -> Iterator[Finding]:
    options = next(
        line.split()[3].split(",")
        for line in Path("/proc/self/mounts").read_text().splitlines()
        if line.split()[1] == "/proc"
    )
    hiding = next((each for each in options if each.startswith("hidepid=")), "")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as other:
        try:
            os.stat(f"/proc/{other.pid}/fd/0")
            seen = True
        except OSError:
            seen = False
        finally:
            assert other.stdin is not None
            other.stdin.close()
    found = f"this user's processes are seen{f' ({hiding} hides the others)' if hiding else ''}"
    if seen:
        yield Finding(subject, "ok", found)
    else:
        found = (
            "this user's processes may not look into each other: handles in pickles reach nothing"
        )
        yield Finding(subject, "off", found, "allow ptrace among them; fork and names still work")


def _randomised(subject: str) -> Iterator[Finding]:
    if Path("/proc/sys/kernel/randomize_va_space").read_text().strip() == "0":
        found = "off: what a process held is not given back when it execs another program"
        yield Finding(subject, "limited", found, "sysctl kernel.randomize_va_space=2")
    else:
        yield Finding(subject, "ok", "on: a program that execs another one is known to have ended")


def _size(size: int) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 10_240:
            return f"{size} {unit}"
        size //= 1024
    return f"{size} GiB"


_CHECKS: dict[str, Callable[[str], Iterator[Finding]]] = {
    "Python": _python,
    "global lock (GIL)": _gil,
    "packages": _packages,
    "kernel": _kernel,
    "cores": _cores,
    "memory": _memory,
    "huge pages": _huge_pages,
    "addresses": _address_space,
    "file size": _file_size,
    "descriptors": _descriptors,
    "shared arena": _arena,
    "/dev/shm": _dev_shm,
    "SharedMemory": _shared_memory,
    "names": _names,
    "pid namespace": _namespace,
    "/proc": _proc,
    "address layout": _randomised,
}
