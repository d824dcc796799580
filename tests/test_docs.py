"""What is written holds: every public name is documented, every example in a docstring shows what
it says, and the commands, files and links that the pages name exist."""

from __future__ import annotations

import contextlib
import doctest
import inspect
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

import treadle
import treadle.aio
from treadle.cli import main

_ROOT = Path(__file__).parent.parent
_PAGES = [_ROOT / "README.md", _ROOT / "CONTRIBUTING.md", *sorted(_ROOT.glob("docs/**/*.md"))]
_MEMBERS = (
    types.FunctionType,
    types.MethodDescriptorType,
    types.GetSetDescriptorType,
    classmethod,
    staticmethod,
    property,
)


def _documented() -> Iterator[tuple[str, object]]:
    """Every public name of the package that treadle documents, and every public member of it."""
    yield "treadle", treadle
    for name in treadle.__all__:
        subject = getattr(treadle, name)
        if subject.__module__.partition(".")[0] != "treadle":
            continue  # the standard library's own: Empty, Full, BrokenBarrierError
        yield f"treadle.{name}", subject
        if isinstance(subject, type):
            for member, value in vars(subject).items():
                if not member.startswith("_") and isinstance(value, _MEMBERS):
                    yield f"treadle.{name}.{member}", value


_DOCUMENTED = dict(_documented())


@pytest.fixture(autouse=True)
def _arena_limit() -> Iterator[None]:
    """What an example does to the arena's limit must not reach the tests that follow."""
    limit = treadle.arena_statistics().limit
    yield
    treadle.set_arena_limit(limit)


# ---- Docstrings


def test_the_search_finds_members_of_every_kind() -> None:
    assert _DOCUMENTED.keys() >= {
        "treadle",
        "treadle.Barrier.parties",  # a property
        "treadle.Condition.wait_for",  # a function
        "treadle.Holder",
        "treadle.Lock.acquire",  # a method of the extension
        "treadle.Lock.owner",  # a property of the extension
        "treadle.OwnerDiedError",
        "treadle.sweep",
    }
    assert not [name for name in _DOCUMENTED if "._" in name]


@pytest.mark.parametrize("name", _DOCUMENTED)
def test_a_docstring_has_a_summary_and_an_example(name: str) -> None:
    text = inspect.getdoc(_DOCUMENTED[name])
    assert text, f"{name} has no docstring"
    summary = text.partition("\n\n")[0]
    assert summary.endswith("."), f"{name}: the docstring must begin with a sentence of its own"
    assert ">>> " in text, f"{name}: the docstring shows no example"


@pytest.mark.parametrize("name", _DOCUMENTED)
def test_an_example_shows_what_it_says(name: str) -> None:
    _run_the_example(name, _DOCUMENTED[name])


@pytest.mark.parametrize("name", treadle.aio.__all__)
def test_an_example_of_a_view_shows_what_it_says(name: str) -> None:
    view = getattr(treadle.aio, name)
    assert ">>> " in inspect.getdoc(view)
    _run_the_example(f"treadle.aio.{name}", view)


def _run_the_example(name: str, subject: object) -> None:
    text = inspect.getdoc(subject) or ""
    test = doctest.DocTestParser().get_doctest(text, {"__name__": "example"}, name, None, None)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)


def _called_by_users(subject: object) -> bool:
    of_our_making = (
        BaseException,
        treadle.Connection,
        treadle.Lease,
    )  # raised or returned by treadle
    return callable(subject) and not (
        isinstance(subject, type) and issubclass(subject, of_our_making)
    )


# What it takes goes on to a function, or is what a dict takes by keyword.
_GOES_ON = {"function", "fn", "iterables", "items", "attributes", "typecode_or_type"}


@pytest.mark.parametrize(
    "name", [name for name, subject in _DOCUMENTED.items() if _called_by_users(subject)]
)
def test_help_shows_a_signature(name: str) -> None:
    if name == "treadle.Dict.pop":
        return  # its default is no value that could be written down, as that of dict.pop
    parameters = inspect.signature(_DOCUMENTED[name]).parameters.values()
    if any(parameter.name in _GOES_ON for parameter in parameters):
        return
    open_ended = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    assert not [parameter for parameter in parameters if parameter.kind in open_ended]


# ---- Pages


def _code(page: Path) -> str:
    """What a page shows as code: spans, indented and fenced blocks, a line each."""
    text = page.read_text()
    fenced = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", text)
    indented = re.findall(r"^    (.+)$", text, re.MULTILINE)
    return "\n".join([*fenced, *spans, *indented])


def test_the_make_targets_that_the_pages_name_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (_ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in _PAGES for name in re.findall(r"\bmake ([a-z]+)\b", _code(page))}
    assert named >= {"demo", "test", "lint", "soak"}, "the search for make targets has lost some"
    assert named <= targets


def test_the_commands_that_the_pages_name_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):
        main(["--help"])
    commands = set(re.findall(r"^ +([a-z]+)  ", capsys.readouterr().out, re.MULTILINE))
    named = {
        name
        for page in _PAGES
        for name in re.findall(r"^(?:\$ )?treadle ([a-z]+)", _code(page), re.M)
    }
    assert named >= {"demo", "bench"}, "the search for commands has lost some"
    assert named <= commands


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.relative_to(_ROOT).as_posix())
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_places_that_contributing_lists_exist() -> None:
    text = (_ROOT / "CONTRIBUTING.md").read_text()
    listed = re.search(r"^## Where things are\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert listed
    places = re.findall(r"^    (\S+)", listed[1], re.MULTILINE)
    assert "src/treadle/" in places
    assert [place for place in places if not (_ROOT / place).exists()] == []


@pytest.mark.slow
def test_the_program_in_the_readme_runs(tmp_path: Path) -> None:
    blocks = re.findall(
        r"^```python\n(.*?)^```$", (_ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert blocks
    for number, block in enumerate(blocks):
        program = tmp_path / f"program_{number}.py"
        program.write_text(block)
        done = subprocess.run(
            [sys.executable, "-W", "error", program], capture_output=True, text=True, cwd=tmp_path
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout
