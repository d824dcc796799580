"""Bytes through a named pipe, with real shells at the other end."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

import treadle


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "fifo")


def _shell(command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE)


def test_a_shell_writes(path: str) -> None:
    with treadle.Fifo(path, "r", raw=True) as reader:
        with _shell(f"echo hi > {path}"):
            assert reader.read() == b"hi\n"
        assert reader.read() == b"", "it stays at the end until somebody writes again"
    with treadle.Fifo(path, "r", raw=True) as reader, _shell(f"echo again > {path}"):
        assert reader.read(2) == b"ag"
        assert reader.read(100) == b"ain\n"
        assert reader.read(100) == b""


def test_a_shell_reads(path: str) -> None:
    with _shell(f"mkfifo -m 600 {path} && cat {path}") as shell:
        while not Path(path).exists():
            pass
        with treadle.Fifo(path, "w", raw=True) as writer:
            assert writer.write(b"hello\n") == 6
        assert shell.communicate()[0] == b"hello\n"


@pytest.mark.slow
def test_more_than_a_pipe_holds_goes_both_ways(path: str) -> None:
    with (
        treadle.Fifo(path, "r", raw=True) as reader,
        _shell(f"head -c 1000000 /dev/zero > {path}"),
    ):
        assert reader.read() == bytes(1_000_000)
    with _shell(f"mkfifo -m 600 {path} && wc -c < {path}") as shell:
        while not Path(path).exists():
            pass
        with treadle.Fifo(path, "w", raw=True) as writer:
            assert writer.write(bytes(1_000_000)) == 1_000_000
        assert int(shell.communicate()[0]) == 1_000_000


def test_lines_of_a_shell(path: str) -> None:
    with treadle.Fifo(path, "r", raw=True) as reader, _shell(f"seq 1000 > {path}"):
        with reader.makefile() as file:
            assert [int(line) for line in file] == list(range(1, 1001))
        assert not reader.closed


def test_a_file_to_write_to(path: str) -> None:
    with _shell(f"mkfifo -m 600 {path} && cat {path}") as shell:
        while not Path(path).exists():
            pass
        with treadle.Fifo(path, "w", raw=True) as writer:
            with writer.makefile(encoding="utf-8") as text:
                print("Grüße", file=text)
            with writer.makefile(binary=True) as file:
                file.write(b"bytes")
        assert shell.communicate()[0] == "Grüße\nbytes".encode()


def test_reading_may_time_out_and_go_on(path: str) -> None:
    with treadle.Fifo(path, "r", raw=True) as reader:
        assert not reader.poll(0.001)
        with treadle.Fifo(path, "w", raw=True) as writer:
            writer.write(b"begin ")
            assert reader.poll()
            with pytest.raises(TimeoutError, match="nothing came through"):
                reader.read(timeout=0.001)
            writer.write(b"end")
        assert reader.read() == b"begin end"


def test_writing_may_time_out(path: str) -> None:
    with (
        treadle.Fifo(path, "r", raw=True),
        treadle.Fifo(path, "w", raw=True) as writer,
        pytest.raises(TimeoutError, match="is full"),
    ):
        writer.write(bytes(1_000_000), timeout=0.001)


def test_messages_do_not_go_raw(path: str) -> None:
    with treadle.Fifo(path, "r", raw=True) as reader, pytest.raises(OSError, match="with raw=True"):
        reader.recv()


def test_an_event_loop_may_wait_for_it(path: str) -> None:
    async def listen() -> list[int]:
        heard: list[int] = []
        done = asyncio.Event()
        with treadle.Fifo(path, "r") as reader, treadle.Fifo(path, "w") as writer:

            def receive() -> None:
                heard.append(reader.recv())
                if len(heard) == 3:
                    done.set()

            loop = asyncio.get_running_loop()
            loop.add_reader(reader.fileno(), receive)
            for number in range(3):
                writer.send(number)
            await done.wait()
            loop.remove_reader(reader.fileno())
        return heard

    assert asyncio.run(listen()) == [0, 1, 2]
