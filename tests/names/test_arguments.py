"""Which names there can be, and that a name is opened as what it was made."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

import treadle
from tests.names.conftest import Start

# Each a valid way to make the object of a name, and no two the same.
_OPENED = [
    "Lock()",
    "RLock()",
    "Semaphore()",
    "Semaphore(2)",
    "Semaphore(reclaim=True)",
    "BoundedSemaphore()",
    "BoundedSemaphore(2)",
    "BoundedSemaphore(reclaim=False)",
    "Event()",
    "Condition()",
    "Barrier(2)",
    "Barrier(3)",
    "Queue()",
    "Queue(5)",
    "Queue(maxbytes=5)",
    "SimpleQueue()",
    "LifoQueue()",
    "PriorityQueue()",
    "PriorityQueue(5)",
    "RWLock()",
    "Latch(2)",
    "Latch(3)",
    "List()",
    "Dict()",
]


@pytest.mark.slow
def test_a_name_is_opened_as_what_it_is(start: Start) -> None:
    program = start()
    for made, asked in itertools.product(_OPENED, _OPENED):
        opens = [f"treadle.{call[:-1]}, name='x')".replace("(, ", "(") for call in (made, asked)]
        assert program.tell(f"it = {opens[0]}") is None
        answer = program.tell(f"other = {opens[1]}")
        if made == asked:
            assert answer is None
        else:
            kind_there, kind_asked = made.partition("(")[0], asked.partition("(")[0]
            assert answer.startswith(f"HandleError: name 'x' is that of {kind_there}("), answer
            assert f"and {kind_asked}(" in answer and answer.endswith("choose another name")
        program.tell("it = other = None")


@pytest.mark.slow
def test_what_does_not_belong_to_the_object_may_differ(start: Start) -> None:
    program = start()
    program.tell("a = treadle.Lock(name='lock')")
    assert (
        program.tell("treadle.Lock(name='lock', on_owner_death='recover', label='m').name")
        == "lock"
    )
    program.tell("b = treadle.Barrier(2, name='barrier')")
    assert program.tell("treadle.Barrier(2, print, 5.0, name='barrier').parties") == 2


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "take"), [("Lock", "acquire"), ("RWLock", "acquire_write")])
def test_what_follows_a_death_is_each_handle_s_own(start: Start, kind: str, take: str) -> None:
    """As the help says."""
    owner, program = start(), start()
    owner.tell(f"lock = treadle.{kind}(name='lock')")
    program.tell("import warnings; warnings.simplefilter('ignore', treadle.OwnerDiedWarning)")
    program.tell(f"plain = treadle.{kind}(name='lock')")
    program.tell(f"taking = treadle.{kind}(name='lock', on_owner_death='recover')")
    owner.tell(f"lock.{take}()")
    owner.kill()
    assert program.tell(f"plain.{take}()").startswith("OwnerDiedError")
    assert program.tell(f"taking.{take}()") is True
    told = " ".join((getattr(treadle, kind).__doc__ or "").split())
    assert "an option of the handle, and not of the lock" in told


@pytest.mark.slow
def test_a_condition_says_which_lock_it_is_of(start: Start) -> None:
    program = start()
    program.tell("it = treadle.Condition(treadle.Lock(name='door'), name='x')")
    assert "Condition(lock='door')" in program.tell("treadle.Condition(name='x')")
    wrong = program.tell("treadle.Condition(treadle.Lock(name='gate'), name='x')")
    assert "Condition(lock='door')" in wrong and "Condition(lock='gate')" in wrong
    nameless = program.tell("treadle.Condition(treadle.Lock(), name='y')")
    assert nameless.startswith("ValueError: a condition with a name needs a lock with a name")


_WRONG: list[tuple[object, type[Exception], str]] = [
    ("", ValueError, "must not be empty"),
    ("a/b", ValueError, "must not contain a slash"),
    ("/", ValueError, "must not contain a slash"),
    (".hidden", ValueError, "must not begin with a dot"),
    ("..", ValueError, "must not begin with a dot"),
    ("two\nlines", ValueError, "must not contain control characters"),
    ("nul\0", ValueError, "must not contain control characters"),
    ("del\x7f", ValueError, "must not contain control characters"),
    ("c1\x85", ValueError, "must not contain control characters"),
    ("x" * 201, ValueError, "at most 200 bytes of UTF-8, not 201"),
    ("é" * 101, ValueError, "at most 200 bytes of UTF-8, not 202"),
    ("\ud800", ValueError, "cannot be written in UTF-8"),
    (b"bytes", TypeError, "must be a str, not bytes"),
    (5, TypeError, "must be a str, not int"),
]
_CLASSES = [
    treadle.Lock,
    treadle.RLock,
    treadle.Semaphore,
    treadle.BoundedSemaphore,
    treadle.Event,
    treadle.Condition,
    lambda **options: treadle.Barrier(1, **options),
    lambda **options: treadle.Latch(1, **options),
    treadle.RWLock,
    treadle.Queue,
    treadle.LifoQueue,
    treadle.PriorityQueue,
    treadle.SimpleQueue,
]


@pytest.mark.parametrize(("name", "error", "words"), _WRONG)
def test_a_name_that_cannot_be_is_refused_in_a_sentence(
    name: object, error: type[Exception], words: str
) -> None:
    for make in _CLASSES:
        with pytest.raises(error, match=words):
            make(name=name)
    with pytest.raises(error, match=words):
        treadle.unlink(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["x", "x" * 200, "é" * 100, "a b", "a.b", "-", "~", "\\", "日本"])
def test_any_other_name_can_be(name: str) -> None:
    for make in _CLASSES:
        assert make(name=name).name == name


def test_a_named_object_is_shared_and_only_a_named_one_persists() -> None:
    for make in _CLASSES:
        with pytest.raises(ValueError, match="is shared"):
            make(name="x", shared=False)
        with pytest.raises(ValueError, match="needs a name"):
            make(persist=True)


def test_an_unknown_name_cannot_be_let_go_of() -> None:
    with pytest.raises(treadle.HandleError, match="nothing is named 'nobody'; treadle ls"):
        treadle.unlink("nobody")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("relative", "ValueError: TREADLE_NAMES_DIR must be an absolute path, not 'relative'"),
        ("/no/such", "HandleError: /no/such/treadle-"),
    ],
)
def test_a_folder_that_cannot_be_is_refused(folder: str, words: str, tmp_path: Path) -> None:
    code = "import treadle\ntry: treadle.Lock(name='x')\n"
    code += "except Exception as error: print(f'{type(error).__name__}: {error}')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"TREADLE_NAMES_DIR": folder},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(words)
