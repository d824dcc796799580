"""The native tests: built with CMake, plain and under the sanitizers; one test a program.

A program of native/tests exits with 0 on success, prints one line `N checks`, and has a long
form, `--soak`. What is built stays in build/native-<variant>, so that the next run builds only
what has changed.
"""

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.native import ahead
from tests.native.conftest import CRASH_POINTS

# A cold build under a sanitizer takes minutes on a small machine.
pytestmark = pytest.mark.watchdog(1200)

_ROOT = Path(__file__).parents[2]
_SOURCES = _ROOT / "native" / "tests"
_PROGRAMS = sorted(
    "_".join(path.relative_to(_SOURCES).with_suffix("").parts)
    for path in _SOURCES.rglob("*_test.cpp")
)


class Variant(NamedTuple):
    sanitize: str = ""
    # What the sanitizer could not say anything about: never built.
    pointless: str = "$^"
    # What takes longer to build than all the rest of the variant: only in the long run.
    lengthy: str = "$^"


_VARIANTS = {
    "plain": Variant(),
    # Schedules run on fibers of one thread and on model atomics; the kill harness has no threads.
    "tsan": Variant("thread", pointless="schedule|^crash_"),
    # The kill harness's own self-tests are about instructions.
    "asan-ubsan": Variant(
        "address,undefined",
        pointless="schedule|^crash_(single_step|step_kill_selftest)",
        lengthy="^crash_",
    ),
}
_LONG_CASES = [
    (name, program)
    for name, variant in _VARIANTS.items()
    for program in _PROGRAMS
    if not re.search(variant.pointless, program)
]
_CASES = [
    (name, program)
    for name, program in _LONG_CASES
    if not re.search(_VARIANTS[name].lengthy, program)
]
_SANITIZER_OPTIONS = {
    "TSAN_OPTIONS": "halt_on_error=1",
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:handle_sigill=1",
}

Build = Callable[[str, str], Path]
Record = Callable[[str, object], None]


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "program"), _CASES)
def test_program(variant: str, program: str, build: Build, record_property: Record) -> None:
    run_program(variant, build(variant, program) / program, record_property)


@pytest.mark.soak
@pytest.mark.watchdog(3600)
@pytest.mark.parametrize(("variant", "program"), _LONG_CASES)
def test_program_at_length(
    variant: str, program: str, build: Build, record_property: Record
) -> None:
    run_program(variant, build(variant, program) / program, record_property, "--soak")


@pytest.mark.slow
def test_every_header_compiles_alone_without_warnings_exceptions_and_rtti(build: Build) -> None:
    build("plain", "headers_alone")


@pytest.fixture(scope="session")
def build() -> Build:
    """Returns a function that builds a target of a variant, and says in which folder it is.

    The first target of a variant builds all its others too, since that uses every core. Those
    that fail do so again, by name and with the compiler's words, in their own test.
    """

    @functools.cache
    def build_variant(variant: str) -> Path:
        ahead.wait()
        return build_all([variant])

    def build_target(variant: str, target: str) -> Path:
        folder = build_variant(variant)
        cmake("--build", str(folder), "--target", target)
        return folder

    return build_target


def build_all(variants: list[str]) -> Path:
    """Build what is run of each, also where some of it fails; returns the folder of the last."""
    for variant in variants:
        folder = _ROOT / "build" / f"native-{variant}"
        sanitize = f"-DTREADLE_SANITIZE={_VARIANTS[variant].sanitize}"
        cmake("-G", "Ninja", "-S", str(_SOURCES), "-B", str(folder), sanitize)
        targets = [program for v, program in _CASES if v == variant]
        cmake("--build", str(folder), "--target", *targets, "--", "-k", "0", check=False)
    return folder


def cmake(*arguments: str, check: bool = True) -> None:
    # The tools of the environment come before those of the system.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    program = shutil.which("cmake", path=path)
    assert program, "no cmake; `make test` installs it"
    done = run([program, *arguments], {"PATH": path})
    if check:
        assert done.returncode == 0, done.stdout


def run_program(variant: str, program: Path, record: Record, *arguments: str) -> None:
    prefix = unrandomized() if variant == "tsan" else []
    done = run([*prefix, str(program), *arguments], _SANITIZER_OPTIONS)
    print(done.stdout)
    assert done.returncode == 0, f"{program.name} ended with {done.returncode}:\n{done.stdout}"
    checks = re.findall(r"^(\d+) checks$", done.stdout, re.MULTILINE)
    assert len(checks) == 1 and int(checks[0]) > 0, f"no line `N checks` in:\n{done.stdout}"
    for points in re.findall(r"^total: (\d+) crash points", done.stdout, re.MULTILINE):
        record(CRASH_POINTS, int(points))  # conftest.py says at the end how many there were


@functools.cache
def unrandomized() -> list[str]:
    """What to put before a command so that its addresses are where ThreadSanitizer expects them.

    Nothing where the tool is missing or forbidden: most kernels need no such thing.
    """
    prefix = ["setarch", "--addr-no-randomize"]
    if shutil.which(prefix[0]) and run([*prefix, "true"], {}).returncode == 0:
        return prefix
    return []


def run(command: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
