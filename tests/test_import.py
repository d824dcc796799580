"""``import treadle`` makes names and nothing else: no thread, process, descriptor, memory file."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

import treadle
from treadle import _records

# What treadle is allowed to import is imported first: whatever comes on top of that is reported.
_LOOK_AT_THE_IMPORT = """
import collections.abc, importlib.util, json, os, queue, sys, threading, time

importlib.util.find_spec("treadle")  # what finds an editable package is none of treadle's

def surroundings():
    with open("/proc/self/maps") as maps:
        files = {line.split(None, 5)[5].strip() for line in maps if len(line.split(None, 5)) == 6}
    children = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children") as file:
            children += file.read().split()
    return {
        "threads": os.listdir("/proc/self/task"),
        "children": children,
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "mapped files": sorted(file for file in files if not file.endswith(".so")),
    }

surroundings()
before, modules = surroundings(), set(sys.modules)
began = time.perf_counter()
import treadle
seconds = time.perf_counter() - began
print(json.dumps([seconds, sorted(set(sys.modules) - modules), before, surroundings()]))
"""


def _run(program: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", *options, "-c", program], capture_output=True, text=True
    )


def test_it_changes_nothing_but_the_modules(capsys: pytest.CaptureFixture[str]) -> None:
    done = _run(_LOOK_AT_THE_IMPORT, "-W", "error")
    assert done.returncode == 0, done.stderr
    seconds, imported, before, after = json.loads(done.stdout)
    assert after == before
    # Not among them: _records (dataclasses), pickle and cloudpickle, for those who need them.
    assert [name for name in imported if not name.startswith(("_cython_", "cython_runtime"))] == [
        "treadle",
        "treadle._core",
        "treadle._errors",
        "treadle._sync",
        "treadle._timers",
        "treadle._workers",
    ]
    with capsys.disabled():
        print(f"\nimport treadle: {seconds * 1e3:.1f} ms on top of threading and queue")


def test_the_first_shared_object_makes_the_memory_file() -> None:
    # Shows that the test above would see one.
    done = _run(_LOOK_AT_THE_IMPORT.replace("import treadle\n", "import treadle; treadle.Lock()\n"))
    _, _, before, after = json.loads(done.stdout)
    assert len(after["descriptors"]) == len(before["descriptors"]) + 1
    assert any("memfd:treadle" in file for file in after["mapped files"])


# ---- Names that are looked up late


def test_all_public_names_are_there() -> None:
    names: dict[str, object] = {}
    exec("from treadle import *", names)
    assert names.keys() >= set(treadle.__all__)
    assert set(dir(treadle)) >= set(treadle.__all__)


def test_the_records_are_public() -> None:
    for name in _records.__all__:
        assert getattr(treadle, name) is getattr(_records, name)
        assert name in treadle.__all__


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert treadle.__version__ == version("treadle")


def test_a_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(AttributeError, match=r"^module 'treadle' has no attribute 'Rlock'$"):
        treadle.Rlock  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'OtherStatistics'"):
        treadle.OtherStatistics  # type: ignore[attr-defined]  # noqa: B018


# ---- Modules that are imported late

_FORK_IN_AN_IMPORT = """
import os, sys, threading
from {package} import {function} as import_late

begun, go = threading.Event(), threading.Event()
sys.modules["begun_and_go"] = (begun, go)
importer = threading.Thread(target=import_late, args=("slow",))
importer.start()
begun.wait()
os.register_at_fork(before=go.set)  # the last to be registered is the first to be called
child = os.fork()
if child == 0:
    os._exit(import_late("slow").ANSWER)
importer.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
_SLOW_MODULE = """
import sys

begun, go = sys.modules["begun_and_go"]
begun.set()
go.wait()
sys.setswitchinterval(1e-6)  # from here on the fork has every chance to come too early
ANSWER = 42 if sum(range(1_000_000)) else 0
"""


@pytest.mark.slow
def test_no_fork_falls_into_a_late_import(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(_SLOW_MODULE)
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + _FORK_IN_AN_IMPORT.format(
        package="treadle._core", function="import_lazily"
    )
    done = _run(
        program, "-W", "ignore:This process:DeprecationWarning"
    )  # that it forks beside a thread
    assert (done.stdout, done.stderr) == ("42\n", "")


# ---- Where it cannot work


@pytest.mark.parametrize(
    ("pretence", "message"),
    [
        ("sys.platform = 'darwin'", "treadle runs on Linux only; this is darwin"),
        ("sys.version_info = (3, 10, 1)", "treadle needs Python 3.11 or later; this is "),
    ],
)
def test_it_says_where_it_does_not_run(pretence: str, message: str) -> None:
    spec = importlib.util.find_spec("treadle")
    assert spec is not None
    program = f"import sys; {pretence}\nexec(open({spec.origin!r}).read(), {{'__name__': 'x'}})"
    done = _run(program)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: {message}")
