"""What holds for every test: a watchdog, and soak tests only when they are asked for."""

import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest

_DEFAULT_SECONDS = 120.0
_SHARED_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
_PREFIX = "treadle-tests-locked-"
_LATE = {"packaging": 1, "native": 2}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--watchdog",
        type=float,
        default=_DEFAULT_SECONDS,
        metavar="SECONDS",
        help="end the run with all stacks when a test without a watchdog marker takes longer; "
        "0: never end it (default: %(default)s)",
    )


def pytest_configure(config: pytest.Config) -> None:
    # A shell without job control starts what it runs in the background with Ctrl-C ignored.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Named objects of the tests, and of what they start, are kept from those of the user.
    _remove_folders_of_the_dead()
    folder, descriptor = _make_folder()
    os.environ["TREADLE_NAMES_DIR"] = folder
    config.add_cleanup(lambda: os.close(descriptor))
    config.add_cleanup(lambda: shutil.rmtree(folder))
    if config.option.watchdog > 0 and not config.option.usepdb and not config.option.collectonly:
        config.pluginmanager.register(_Watchdog(config), "treadle-watchdog")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Last come those for whom others compile meanwhile, and those that keep all cores busy.
    items.sort(key=lambda item: _LATE.get(item.path.parent.name, 0))
    if "soak" in config.option.markexpr:
        return
    soaking = [item for item in items if item.get_closest_marker("soak")]
    if soaking:
        config.hook.pytest_deselected(items=soaking)
        items[:] = [item for item in items if not item.get_closest_marker("soak")]


def _make_folder() -> tuple[str, int]:
    """A folder, and a descriptor that locks it for as long as this run lasts, however it ends."""
    while True:
        folder = tempfile.mkdtemp(prefix=_PREFIX, dir=_SHARED_MEMORY)
        with suppress(FileNotFoundError):  # another run took it for one that was left behind
            descriptor = os.open(folder, os.O_RDONLY)
            with suppress(BlockingIOError, FileNotFoundError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.stat(folder), os.fstat(descriptor)):
                    return folder, descriptor
            os.close(descriptor)


def _remove_folders_of_the_dead() -> None:
    """Runs that were killed have left theirs behind: those that nobody has locked."""
    for folder in Path(_SHARED_MEMORY or tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # somebody else's, or another run is at it
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(descriptor)


@pytest.fixture(autouse=True)
def nothing_in_transit() -> None:
    """What earlier tests pickled is let go now, and not a minute after, amid this one."""
    if core := sys.modules.get("treadle._core"):
        core.forget_pickled()


class _Watchdog:
    """Tells the process of watchdog.py which test runs, and how long it may take."""

    def __init__(self, config: pytest.Config) -> None:
        self._default: float = config.option.watchdog
        self._owner = os.getpid()
        # Processes that tests start print their stacks on SIGABRT too, and leave no core file.
        os.environ["PYTHONFAULTHANDLER"] = "1"
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        # It speaks on the terminal, not into the file where pytest captures the tests' output.
        with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            self._process = subprocess.Popen(
                [sys.executable, "-I", Path(__file__).with_name("watchdog.py"), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the tests
            )
        self._arm(self._default, "the collection of the tests")

    @pytest.hookimpl(wrapper=True)
    def pytest_collection_finish(self) -> Generator[None]:
        self._order("disarm")
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        marker = item.get_closest_marker("watchdog")
        self._arm(marker.args[0] if marker else self._default, item.nodeid)
        try:
            return (yield)
        finally:
            self._order("disarm")

    def pytest_unconfigure(self) -> None:
        # Not disarmed: what hangs while the interpreter ends is a failure too.
        self._arm(self._default, "the end of the test run")

    def _arm(self, seconds: float, name: str) -> None:
        self._order(f"arm {seconds:g} {ascii(name)[1:-1]}")

    def _order(self, order: str) -> None:
        # A forked child that strays into here must not speak for its parent.
        if os.getpid() == self._owner:
            assert self._process.stdin is not None
            self._process.stdin.write(f"{order}\n".encode())
            self._process.stdin.flush()
