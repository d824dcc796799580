"""A program that may not have the arena's address space."""

import resource
import subprocess
import sys

import pytest

_PROGRAM = "import treadle; treadle.Lock(shared=False); treadle.Lock()"


@pytest.mark.slow
def test_the_error_says_what_may_be_missing() -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (32 << 30, 32 << 30))

    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], preexec_fn=limit, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "ArenaFullError: the shared arena cannot be made: it takes 64 GiB" in done.stderr
