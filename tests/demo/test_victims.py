"""Who is to be killed: as many as asked for, whatever the tree, and in the middle of a file."""

import os
import random
from itertools import pairwise
from pathlib import Path

import pytest

from treadle.demo import victims
from treadle.demo.messages import Begun, Message, Task
from treadle.demo.victims import WORTH_KILLING_FOR, tasks_for, work_until_killed
from treadle.demo.walk import Found


@pytest.mark.parametrize("kills", [0, 1, 3, 50])
@pytest.mark.parametrize("files", [1, 2, 17, 400])
def test_the_marks_add_up_to_the_kills_and_every_file_is_a_task(files: int, kills: int) -> None:
    generator = random.Random(files * 1000 + kills)
    found = [Found(str(n), generator.choice([0, 10, WORTH_KILLING_FOR])) for n in range(files)]
    tasks = list(tasks_for(found, kills))
    assert [task.path for task in tasks] == [each.path for each in found]
    assert sum(task.kills for task in tasks) == kills


def test_no_file_no_victim() -> None:
    assert list(tasks_for([], 5)) == []


def test_the_marks_go_to_large_files_some_way_apart() -> None:
    found = [Found(str(n), WORTH_KILLING_FOR if n % 5 == 0 else 1) for n in range(200)]
    marked = [int(task.path) for task in tasks_for(found, 3) if task.kills]
    assert all(n % 5 == 0 for n in marked)
    assert all(later - earlier > 15 for earlier, later in pairwise(marked))
    assert len(marked) == 3


def test_the_last_file_takes_the_marks_that_found_no_place() -> None:
    assert [task.kills for task in tasks_for([Found("a", 1), Found("b", 1)], 2)] == [0, 2]


def test_a_victim_announces_itself_and_works_until_its_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    path = str(tmp_path / "file")
    read: list[str] = []
    clock = iter(range(100))

    def reading(path: str) -> None:
        read.append(path)

    monkeypatch.setattr(victims, "SECONDS_TO_LIVE", 3)
    monkeypatch.setattr(victims, "read_content", reading)
    monkeypatch.setattr(victims.time, "process_time", lambda: next(clock))
    sent: list[Message] = []
    work_until_killed(Task(path, 1), sent.append)
    assert sent == [Begun(path, os.getpid())]
    assert read == [path, path]


def test_a_victim_whose_file_is_gone_still_waits_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(victims, "SECONDS_TO_LIVE", 3)
    monkeypatch.setattr(victims.time, "process_time", lambda: next(clock))
    work_until_killed(Task(str(tmp_path / "gone"), 1), lambda message: None)
    assert next(clock) == 4  # it has looked at the clock until its time was over
