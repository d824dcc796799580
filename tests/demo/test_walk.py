"""The walk: everything that is not a directory, in an order two walks share, and an end to it."""

import os
import shutil
from pathlib import Path

from treadle.demo.walk import find_files


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def names(root: Path, **options: object) -> list[str]:
    found = find_files(str(root), **options)  # type: ignore[arg-type]
    return [os.path.relpath(each.path, root) for each in found]


def test_finds_every_file_sorted_and_depth_first(tmp_path: Path) -> None:
    make(tmp_path, "b/2", "b/1", "a", "b/c/3", "c")
    assert names(tmp_path) == ["a", "c", "b/1", "b/2", "b/c/3"]


def test_two_walks_have_one_order(tmp_path: Path) -> None:
    make(tmp_path, *(f"{n % 7}/{n % 3}/{n}" for n in range(100)))
    assert names(tmp_path) == names(tmp_path)
    assert len(set(names(tmp_path))) == 100


def test_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "ten").write_bytes(bytes(10))
    assert [found.size for found in find_files(str(tmp_path))] == [10]


def test_a_file_is_a_tree_of_one(tmp_path: Path) -> None:
    make(tmp_path, "only")
    root = str(tmp_path / "only")
    assert [found.path for found in find_files(root)] == [root]


def test_an_empty_directory_has_no_files(tmp_path: Path) -> None:
    (tmp_path / "empty" / "too").mkdir(parents=True)
    assert names(tmp_path) == []


def test_named_directories_are_left_out_at_every_depth(tmp_path: Path) -> None:
    make(tmp_path, "keep", "out/x", "in/out/y", "in/z", "in/out.txt")
    assert names(tmp_path, leave_out={"out"}) == ["keep", "in/out.txt", "in/z"]


def test_one_file_can_be_excluded_under_any_of_its_names(tmp_path: Path) -> None:
    make(tmp_path, "report", "other")
    (tmp_path / "link").symlink_to("report")
    status = os.stat(tmp_path / "report")
    assert names(tmp_path, exclude=(status.st_dev, status.st_ino)) == ["other"]


def test_links_to_directories_are_not_followed(tmp_path: Path) -> None:
    make(tmp_path, "real/file")
    (tmp_path / "real" / "up").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to("real")
    assert names(tmp_path) == ["real/file"]


def test_links_to_files_are_files(tmp_path: Path) -> None:
    make(tmp_path, "real")
    (tmp_path / "link").symlink_to("real")
    assert names(tmp_path) == ["link", "real"]


def test_what_is_no_file_is_left_to_its_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    assert names(tmp_path) == ["dangling", "fifo", "loop"]


def test_names_that_are_not_utf8_come_back_as_they_are(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9"
    with open(name, "w"):
        pass
    assert [os.fsencode(found.path) for found in find_files(str(tmp_path))] == [name]


def test_a_directory_that_vanishes_in_mid_walk_is_told_and_the_rest_is_found(
    tmp_path: Path,
) -> None:
    make(tmp_path, "first", "gone/x", "left/y")
    told: list[tuple[str, str]] = []
    walk = find_files(str(tmp_path), on_problem=lambda path, why: told.append((path, why)))
    found = [next(walk).path]
    shutil.rmtree(tmp_path / "gone")
    found += [each.path for each in walk]
    assert found == [str(tmp_path / "first"), str(tmp_path / "left" / "y")]
    assert told == [
        (
            str(tmp_path / "gone"),
            "it cannot be listed (No such file or directory); what it holds is left out",
        )
    ]
