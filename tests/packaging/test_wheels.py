"""The sdist builds a wheel that installs clean and works, on every interpreter on the machine."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conformance.dropins import SUITES
from tests.conformance.executor_suites import selected

# A cold pip cache fetches the build tools once for each interpreter.
pytestmark = [pytest.mark.slow, pytest.mark.watchdog(600)]

_ROOT = Path(__file__).parents[2]
_VERSIONS = ["3.11", "3.12", "3.13"]
_THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
_PLAIN = "TREADLE_OPTIMIZATION=-O0"

# Told by the interpreter itself; a launcher of that name may lead nowhere.
_DESCRIBE = """
import json, os, platform, sys, sysconfig
print(json.dumps({
    "version": "%d.%d" % sys.version_info[:2],
    "cpython": platform.python_implementation() == "CPython",
    "headers": os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")),
    "gil": not sysconfig.get_config_var("Py_GIL_DISABLED"),
}))
"""

_USE = """
import treadle
lock = treadle.Lock()
with lock:
    assert lock.locked()
queue = treadle.Queue()
queue.put(("a", 1))
assert queue.get() == ("a", 1)
print(treadle.__version__, treadle.__file__)
"""


def test_sdist_holds_sources_and_nothing_that_was_built(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {
        "CMakeLists.txt",
        "LICENSE",
        "README.md",
        "pyproject.toml",
        "src/treadle/__init__.py",
        "src/treadle/_core.pyi",
        "src/treadle/_core/_core.pyx",
        "src/treadle/py.typed",
        "tests/packaging/test_wheels.py",
    }
    assert any(name.startswith("native/include/treadle/") for name in names)
    built = [name for name in names if name.endswith((".so", ".pyc")) or name.startswith("build/")]
    assert not built


@pytest.mark.parametrize("version", _VERSIONS)
def test_wheel_holds_the_package_and_no_sources(
    version: str, wheels: dict[str, Future[Path]]
) -> None:
    with zipfile.ZipFile(wheel_for(version, wheels)) as archive:
        names = set(archive.namelist())
    assert names >= {"treadle/__init__.py", "treadle/_core.pyi", "treadle/py.typed"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    tag = version.replace(".", "")
    assert [name for name in names if name.startswith(f"treadle/_core.cpython-{tag}")]
    strays = [
        name
        for name in names
        if not name.startswith(("treadle/", "treadle-"))
        or name.endswith((".pyx", ".pxi", ".pxd", ".cpp", ".hpp"))
    ]
    assert not strays


@pytest.mark.parametrize("version", _VERSIONS)
def test_extension_needs_no_cpp_runtime(
    version: str, wheels: dict[str, Future[Path]], tmp_path: Path
) -> None:
    with zipfile.ZipFile(wheel_for(version, wheels)) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".so")]
        extension = archive.extract(name, tmp_path)
    dynamic = run(["readelf", "--dynamic", "--wide", extension])
    needed = [line for line in dynamic.splitlines() if "(NEEDED)" in line]
    assert needed, dynamic
    assert not [line for line in needed if "c++" in line]


@pytest.mark.parametrize("version", _VERSIONS)
def test_wheel_installs_clean_and_works(
    version: str, wheels: dict[str, Future[Path]], tmp_path: Path
) -> None:
    wheel = wheel_for(version, wheels)
    venv = tmp_path / "venv"
    run([interpreters()[version], "-m", "venv", "--without-pip", str(venv)])
    python = str(venv / "bin" / "python")
    run([*pip(python), "install", str(wheel)])
    run([*pip(python), "check"])
    installed, file = run([python, "-I", "-W", "error", "-c", _USE]).split()
    assert file.startswith(str(venv))
    assert f"treadle-{installed}-" in wheel.name
    assert run([str(venv / "bin" / "treadle"), "--version"]) == f"treadle {installed}\n"


@pytest.mark.parametrize("version", _VERSIONS)
def test_the_interpreters_own_tests_pass_on_the_dropins(
    version: str, wheels: dict[str, Future[Path]], tmp_path: Path
) -> None:
    python = python_with_treadle(version, wheels, tmp_path)
    commands = [
        [python, "-m", "tests.dropins.exports"],
        [python, "-m", "tests.conformance.suites"],
        [python, "-m", "tests.conformance.shared_suites", "fork"],
        *([python, "-m", "tests.conformance.dropins", suite] for suite in SUITES),
    ]
    with ThreadPoolExecutor(len(commands)) as threads:  # they sleep most of the time
        list(threads.map(run, commands))


@pytest.mark.soak
@pytest.mark.parametrize("version", _VERSIONS)
def test_the_interpreters_own_tests_pass_on_pools(
    version: str, wheels: dict[str, Future[Path]], tmp_path: Path
) -> None:
    python = python_with_treadle(version, wheels, tmp_path)
    commands = [
        [python, "-m", "tests.conformance.pool_suites", kind] for kind in ("thread", "fork")
    ]
    asked = [python, "-c", "import test.test_concurrent_futures"]
    if subprocess.run(asked, check=False, capture_output=True).returncode == 0:
        executors = [python, "-m", "tests.conformance.executor_suites"]
        commands += [[*executors, kind, *selected(kind)] for kind in ("thread", "fork")]
    with ThreadPoolExecutor(len(commands)) as threads:
        list(threads.map(run, commands))


def python_with_treadle(version: str, wheels: dict[str, Future[Path]], tmp_path: Path) -> str:
    """An interpreter that comes with its own tests, in an environment that has the wheel."""
    wheel = wheel_for(version, wheels)
    if version == _THIS:
        pytest.skip("tests/conformance runs these")
    venv = tmp_path / "venv"
    run([interpreters()[version], "-m", "venv", "--without-pip", str(venv)])
    python = str(venv / "bin" / "python")
    run([*pip(python), "install", str(wheel)])
    if subprocess.run([python, "-c", "import test.test_asyncio"], check=False).returncode != 0:
        pytest.skip(f"CPython {version} comes without its own tests (the package `test`)")
    return python


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    code = "import sys, scikit_build_core.build as b; b.build_sdist(sys.argv[1])"
    run([sys.executable, "-c", code, str(folder)])
    (archive,) = folder.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheels(
    sdist: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Path]]]:
    """The wheels of all interpreters, built from the sdist, as many at a time as there are cores.

    pip builds each in an environment of its own that holds what pyproject.toml asks for. Only this
    interpreter's is optimised, as users get it: that takes four times as long.
    """

    def build(version: str, python: str) -> Path:
        folder = tmp_path_factory.mktemp("wheel")
        options = [] if version == _THIS else [f"--config-settings=cmake.define.{_PLAIN}"]
        command = [*pip(python), "wheel", "--no-deps", *options]
        run([*command, "--wheel-dir", str(folder), str(sdist)])
        (wheel,) = folder.glob("*.whl")
        return wheel

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        yield {
            version: threads.submit(build, version, path)
            for version, path in interpreters().items()
        }


def wheel_for(version: str, wheels: dict[str, Future[Path]]) -> Path:
    if version not in wheels:
        pytest.skip(f"no CPython {version} with its headers on this machine")
    return wheels[version].result()


def interpreters() -> dict[str, str]:
    """A path for each version that is on the machine, from PATH, pyenv, or this very process."""
    found: dict[str, str] = {}
    for version in _VERSIONS:
        name = f"python{version}"
        pyenv = Path.home() / ".pyenv" / "versions"
        candidates = [
            *(str(path) for path in sorted(pyenv.glob(f"{version}.*/bin/{name}"))),
            *(shutil.which(name, path=folder) for folder in os.get_exec_path()),
            str(Path(sys.base_prefix) / "bin" / name),
        ]
        for path in candidates:
            if path and is_usable(path, version):
                found[version] = path
                break
    return found


def is_usable(path: str, version: str) -> bool:
    done = subprocess.run(
        [path, "-I", "-c", _DESCRIBE], capture_output=True, text=True, check=False
    )
    try:
        told = json.loads(done.stdout)
    except ValueError:
        return False
    return bool(told == {"version": version, "cpython": True, "headers": True, "gil": True})


def pip(python: str) -> list[str]:
    """This environment's pip, working for another interpreter, which needs none then."""
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]


def run(command: list[str]) -> str:
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}"
    return done.stdout
