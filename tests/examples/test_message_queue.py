"""The recipe of a message queue that outlives its programs, each of them killed by SIGKILL."""

from __future__ import annotations

import fcntl
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_RECIPE = Path(__file__).parents[2] / "examples/message_queue"
_LINES = 3000


@contextmanager
def running(
    program: str, *arguments: str, stdout: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(_RECIPE / program), *arguments]
    with subprocess.Popen(command, stdout=stdout, text=True) as process:
        if process.stdout is not None:
            # It holds little: a program that prints cannot run far ahead of who reads.
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        try:
            yield process
        finally:
            process.kill()


def _lines(process: subprocess.Popen[str], count: int) -> list[str]:
    """That many lines of what it prints, or what there is of them until its end."""
    assert process.stdout is not None
    found = []
    for line in process.stdout:
        found.append(line.rstrip("\n"))
        if len(found) == count:
            break
    return found


def _killed(process: subprocess.Popen[str]) -> list[str]:
    """Kills it; returns what it had printed besides. Its last line may be half of one."""
    assert process.stdout is not None
    process.kill()
    return process.stdout.read().splitlines()


class _Handled:
    """What consumers have printed: deliveries, number, text."""

    def __init__(self) -> None:
        self.seen: dict[int, list[int]] = {}
        self.at_risk: set[int] = set()

    def add(self, lines: list[str]) -> None:
        for line in lines:
            found = re.fullmatch(r"(\d+) (\d+) line (\d+)\.", line)
            assert found and found[2] == found[3], line
            self.seen.setdefault(int(found[2]), []).append(int(found[1]))

    def add_of_the_killed(self, lines: list[str]) -> None:
        """Its last line may be of a message that it had not acknowledged, or half of one."""
        whole = [line for line in lines if line.endswith(".")]
        self.add(whole)
        last = int(whole[-1].split()[1])
        self.at_risk |= {last, last + 1}


@pytest.mark.slow
def test_every_message_is_handled_whoever_is_killed(tmp_path: Path) -> None:
    text = tmp_path / "lines.txt"
    text.write_text("".join(f"line {number}.\n" for number in range(1, _LINES + 1)))
    name = "a message queue"
    handled = _Handled()
    sent = 0

    # Nobody takes anything yet.
    for _ in range(2):
        with running("producer.py", name, str(text)) as producer:
            put = [int(line) for line in (*_lines(producer, 20), *_killed(producer)[:-1])]
            assert put == list(range(put[0], put[0] + len(put))), "in order, none left out"
            assert put[0] <= sent + 3 and (sent := put[-1]) < _LINES

    # From here on it is killed with every round, too, and so is the consumer.
    for _ in range(5):
        with (
            running("producer.py", name, str(text)) as producer,
            running("consumer.py", name) as consumer,
        ):
            lines = _lines(consumer, 150)
            _killed(producer)
            handled.add_of_the_killed(lines + _killed(consumer))

    with running("consumer.py", name) as consumer:
        with running("producer.py", name, str(text), stdout=subprocess.DEVNULL):
            while len(handled.seen) < _LINES:
                handled.add(_lines(consumer, 1))
                assert consumer.poll() is None
        _killed(consumer)

    assert sorted(handled.seen) == list(range(1, _LINES + 1)), "none is lost"
    again = {number for number, counts in handled.seen.items() if max(counts) > 1}
    assert len(again) <= 5, "one at most for each consumer that was killed"
    assert again <= handled.at_risk, "only what the dead held is delivered again"
    for number in again:
        assert max(handled.seen[number]) <= 2

    gone = subprocess.run(
        [sys.executable, "-m", "treadle", "gc", name], capture_output=True, text=True, check=True
    )
    assert gone.stdout.startswith(f"{name}: gone\n")
