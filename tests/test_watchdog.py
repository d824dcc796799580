"""The watchdog of conftest.py ends a hang of any kind, and shows who hangs where."""

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

_HANGS = {
    "thread": """
        import pytest, threading
        def wait_for_ever():
            threading.Event().wait()
        @pytest.mark.watchdog(4)
        def test_hangs():
            thread = threading.Thread(target=wait_for_ever)
            thread.start()
            thread.join()
    """,
    "forked": """
        import os, pytest, signal
        def wait_for_ever():
            signal.pause()
        @pytest.mark.watchdog(4)
        def test_hangs():
            pid = os.fork()
            if not pid:
                wait_for_ever()
            os.waitpid(pid, 0)
    """,
    "spawned": """
        import pytest, subprocess, sys
        @pytest.mark.watchdog(4)
        def test_hangs():
            code = "import signal\\ndef wait_for_ever(): signal.pause()\\nwait_for_ever()"
            subprocess.run([sys.executable, "-c", code])
    """,
    "grandchild": """
        import os, pytest, signal
        def wait_for_ever():
            signal.pause()
        @pytest.mark.watchdog(4)
        def test_hangs():
            for _ in range(2):
                pid = os.fork()
                if pid:
                    os.waitpid(pid, 0)
                    os._exit(0)
            wait_for_ever()
    """,
    "holding the GIL": """
        import ctypes, pytest
        def wait_for_ever():
            ctypes.PyDLL(None).pause()
        @pytest.mark.watchdog(4)
        def test_hangs():
            wait_for_ever()
    """,
    "at exit": """
        import atexit, signal
        def wait_for_ever():
            signal.pause()
        def test_hangs():
            atexit.register(wait_for_ever)
    """,
    "ignoring abort": """
        import os, pytest, signal
        def wait_for_ever():
            os.waitpid(-1, 0)
        @pytest.mark.watchdog(4)
        def test_hangs():
            if not os.fork():
                signal.signal(signal.SIGABRT, signal.SIG_IGN)
                signal.pause()
            wait_for_ever()
    """,
    "collection": """
        import signal
        def wait_for_ever():
            signal.pause()
        wait_for_ever()
    """,
}


Run = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Run]]]:
    """A test run for each hang, all at once, since each waits for its watchdog."""
    with ThreadPoolExecutor(len(_HANGS)) as threads:
        yield {
            kind: threads.submit(run_pytest, tmp_path_factory.mktemp("run"), source, "--watchdog=6")
            for kind, source in _HANGS.items()
        }


@pytest.mark.parametrize("kind", _HANGS)
def test_a_hang_ends_the_run_and_shows_the_stack(kind: str, runs: dict[str, Future[Run]]) -> None:
    done = runs[kind].result()
    assert done.returncode not in (0, 1), done.stdout
    assert "in wait_for_ever" in done.stderr
    if kind == "collection":
        assert "the collection of the tests did not end within 6 s" in done.stderr
    elif kind == "at exit":
        assert "the end of the test run did not end within 6 s" in done.stderr
    else:
        assert "test_hanging.py::test_hangs did not end within 4 s" in done.stderr
        assert "in test_hangs" in done.stderr
    assert ("printed no stacks and is killed" in done.stderr) == (kind == "ignoring abort")


def test_tests_in_time_do_not_meet_it(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "def test_ends():\n    pass\n", "--watchdog=60")
    assert done.returncode == 0, done.stdout
    assert "watchdog" not in done.stderr


def test_soak_tests_run_only_when_asked_for(tmp_path: Path) -> None:
    source = """
        import pytest
        @pytest.mark.soak
        def test_long():
            pass
        def test_short():
            pass
    """
    assert "1 passed, 1 deselected" in run_pytest(tmp_path, source).stdout
    assert "1 passed, 1 deselected" in run_pytest(tmp_path, source, "-m", "soak").stdout
    assert "2 passed" in run_pytest(tmp_path, source, "-m", "soak or not soak").stdout


def run_pytest(folder: Path, source: str, *options: str) -> Run:
    """Run a test file of that source under a copy of our conftest.py."""
    for name in ("conftest.py", "watchdog.py"):
        shutil.copy(Path(__file__).with_name(name), folder)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  soak\n  watchdog(seconds)\n")
    (folder / "test_hanging.py").write_text(textwrap.dedent(source))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
