"""One file's work: a file is hashed and compressed; what is none is said, never waited for."""

import hashlib
import os
import re
import socket
import zlib
from pathlib import Path

import pytest

from treadle.demo import content
from treadle.demo.content import Unreadable, read_content


def refusal(path: Path | str) -> str:
    with pytest.raises(Unreadable) as refused:
        read_content(str(path))
    return str(refused.value)


@pytest.mark.parametrize("size", [0, 1, content.CHUNK - 1, content.CHUNK, 3 * content.CHUNK + 7])
def test_size_digest_and_compressed_size(tmp_path: Path, size: int) -> None:
    data = (b"treadle %d\n" * (size // 10 + 1))[:size]
    (tmp_path / "file").write_bytes(data)
    done = read_content(str(tmp_path / "file"))
    assert (done.size, done.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert done.compressed == len(zlib.compress(data, content.COMPRESSION_LEVEL))


def test_times_and_inode_are_those_before_the_first_byte(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    before = path.stat()
    done = read_content(str(path))
    assert (done.inode, done.mtime_ns, done.ctime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )


def test_a_large_file_is_announced_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "CHUNK", 10)
    monkeypatch.setattr(content, "BEAT_BYTES", 25)
    (tmp_path / "file").write_bytes(bytes(100))
    beats: list[int] = []
    read_content(str(tmp_path / "file"), beats.append)
    assert beats == [30, 60, 90]


def test_a_file_that_grows_meanwhile_is_read_to_its_first_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "CHUNK", 10)
    monkeypatch.setattr(content, "BEAT_BYTES", 10)
    path = tmp_path / "log"
    path.write_bytes(bytes(40))

    def grow(_read: int) -> None:
        with path.open("ab") as file:
            file.write(bytes(1000))

    assert read_content(str(path), grow).size == 40


def test_a_file_that_shrinks_meanwhile_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "CHUNK", 10)
    monkeypatch.setattr(content, "BEAT_BYTES", 10)
    path = tmp_path / "log"
    path.write_bytes(bytes(40))
    assert read_content(str(path), lambda _read: os.truncate(path, 20)).size == 20


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert refusal(tmp_path / "fifo") == "it is a FIFO, not a file"


def test_a_fifo_put_in_place_of_a_file_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is looked at, then opened; what was opened is looked at once more."""
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    of_a_file = os.stat(tmp_path / "file")
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", lambda path: of_a_file)
        why = refusal(tmp_path / "fifo")
    assert why == "it is a FIFO, not a file"


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is limited to 107 bytes
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert refusal("socket") == "it is a socket, not a file"


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero", "/dev/tty"])
def test_a_device_is_refused_unopened(device: str) -> None:
    assert refusal(device) == "it is a character device, not a file"


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "it is a directory, not a file"


def test_a_file_that_vanished(tmp_path: Path) -> None:
    assert refusal(tmp_path / "gone") == "it is gone; it was there when the tree was walked"


def test_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    assert refusal(tmp_path / "link") == "it is a link to something that is not there"


def test_a_loop_of_links(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    assert re.fullmatch(r"it cannot be read \(.*symbolic links\)", refusal(tmp_path / "link"))


def test_an_error_while_reading() -> None:
    """The first page of a process is not mapped: reading it fails with EIO, even for root."""
    assert refusal("/proc/self/mem") == "it cannot be read (Input/output error)"


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read anything, so the kernel's answer is put in its mouth."""
    (tmp_path / "file").touch()

    def deny(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", deny)
        why = refusal(tmp_path / "file")
    assert why == "it cannot be read (Permission denied)"


def test_a_file_that_claims_to_be_empty_is_read() -> None:
    done = read_content("/proc/self/status")
    assert done.size > 0 == os.path.getsize("/proc/self/status")


def test_a_file_that_claims_to_be_empty_and_does_not_end_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(content, "LARGEST_OF_NO_SIZE", 16)
    assert refusal("/proc/self/status").startswith("it claims to be empty and goes on past")


def test_shared_memory_under_a_link_of_proc_is_refused() -> None:
    """It may be a thousand times larger than the machine, and all of it holes."""
    descriptor = os.memfd_create("huge")
    try:
        os.ftruncate(descriptor, 1 << 50)
        why = refusal(f"/proc/self/fd/{descriptor}")
        assert why == "it is a link of /proc to shared memory or to a deleted file"
    finally:
        os.close(descriptor)


def test_a_file_under_a_link_of_proc_is_read_while_it_has_a_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"treadle")
    with open(tmp_path / "file") as file:
        assert read_content(f"/proc/self/fd/{file.fileno()}").size == 7
