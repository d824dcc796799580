"""The arrows between the layers hold; and the checker sees each kind of arrow that would not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import layers

_ROOT = Path(__file__).parent.parent
_HEADERS = "native/include/treadle"


def test_the_native_layers_only_point_down() -> None:
    assert list(layers.native_breaches(_ROOT)) == []


def test_the_modules_only_point_down() -> None:
    assert list(layers.python_breaches(_ROOT)) == []


# ---- The checker itself, on small trees


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout in which all is well."""
    for layer in layers.NATIVE:
        _write(tmp_path, f"{_HEADERS}/{layer}/some.hpp", "#include <cstdint>\n")
    for unit in layers.PYTHON:
        _write(tmp_path, f"src/treadle/{unit}.py", "import os\n")
    _write(tmp_path, "src/treadle/__init__.py", '__all__ = ["Lock"]\n')
    assert _breaches(tmp_path) == []
    return tmp_path


def _write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def _breaches(root: Path) -> list[str]:
    return [*layers.native_breaches(root), *layers.python_breaches(root)]


@pytest.mark.parametrize(
    ("path", "text", "breach"),
    [
        ("word/some.hpp", '#include "../arena/some.hpp"', "word/ may include platform"),
        ("arena/some.hpp", '#include "../ring/some.hpp"', "arena/ may include platform, word"),
        ("platform/some.hpp", '#include "../word/some.hpp"', "may include nothing"),
        ("word/some.hpp", '#include "../platform/none.hpp"', "which is no header"),
        ("word/some.hpp", '#include "../../../../elsewhere.hpp"', "which is no header"),
        ("word/some.hpp", "#include <unistd.h>", "system calls belong to platform/"),
        ("word/some.hpp", "#include <pthread.h>", "system calls belong to platform/"),
        ("ring/some.hpp", "  # include <sys/mman.h>", "system calls belong to platform/"),
        ("arena/some.hpp", "  close(fd);", "calls close()"),
        ("arena/some.hpp", "  if (::getpid() == pid)", "calls getpid()"),
        ("word/some.hpp", "#include <Python.h>", "includes <Python.h>"),
        ("platform/some.hpp", "#include <Python.h>", "knows Python"),
        ("extra/some.hpp", "", "lies in no layer"),
        ("stray.hpp", "", "lies in no layer"),
        ("word/deeper/some.hpp", "", "lies in no layer"),
        ("../../../src/treadle/_core/some.hpp", "sched_yield();", "calls sched_yield()"),
        ("../../../src/treadle/_core/some.hpp", "#include <sched.h>", "includes <sched.h>"),
    ],
)
def test_a_header_that_points_up_is_told(tree: Path, path: str, text: str, breach: str) -> None:
    _write(tree, f"{_HEADERS}/{path}", text + "\n")
    assert len(told := _breaches(tree)) == 1
    assert breach in told[0]


@pytest.mark.parametrize(
    "text",
    [
        '#include "../platform/some.hpp"',
        '#include "some.hpp"',
        "#include <atomic>",
        "  platform::close(fd);",
        "  queue.close(); ring->read(n); reopen(fd);",
        "  // read(2) and write(2) are interrupted",
    ],
)
def test_a_header_that_points_down_is_not_told(tree: Path, text: str) -> None:
    _write(tree, f"{_HEADERS}/word/other.hpp", text + "\n")
    assert _breaches(tree) == []


@pytest.mark.parametrize(
    ("path", "text", "breach"),
    [
        ("_errors.py", "from treadle import _records", "_errors may import nothing"),
        ("_errors.py", "from treadle._records import X", "_errors may import nothing"),
        ("_errors.py", "def f():\n    import treadle._core", "_errors may import nothing"),
        ("_errors.py", "from . import _core", "imports treadle._core"),
        ("_errors.py", "import treadle", "imports treadle:"),
        ("_sync.py", "from .cli import main", "imports treadle.cli"),
        ("_sync.py", 'import_lazily("treadle.demo")', "imports treadle.demo"),
        ("_sync.py", "import_lazily(name)", "imports treadle.?"),
        ("_core.pyi", "from treadle._sync import X", "imports treadle._sync"),
        ("_core/some.pxi", "from treadle._sync import X", "imports treadle._sync"),
        ("_core/some.pxi", '    import_lazily("treadle.cli").main()', "imports treadle.cli"),
        ("__init__.py", '__all__ = ["Lock"]\nimport treadle.demo', "imports treadle.demo"),
        ("__main__.py", "import treadle.demo", "imports treadle.demo"),
        ("demo/some.py", "from treadle._core import Lock", "imports treadle._core"),
        ("demo/some.py", "import treadle\ntreadle._core.Lock()", "imports treadle._core"),
        ("demo/some.py", "from treadle import call_site", "public names only"),
        ("demo/some.py", "import treadle\ntreadle.call_site()", "public names only"),
        ("demo/some.py", "from treadle.benchmarks import X", "imports treadle.benchmarks"),
        ("benchmarks/some.py", "from treadle.cli import main", "imports treadle.cli"),
        ("_some/some.py", "", "falls under no rule"),
        ("observe.py", "", "falls under no rule"),
    ],
)
def test_a_module_that_points_up_is_told(tree: Path, path: str, text: str, breach: str) -> None:
    _write(tree, f"src/treadle/{path}", text + "\n")
    assert len(told := _breaches(tree)) == 1
    assert breach in told[0]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("_core/some.pxi", "from treadle._errors import X\n    >>> import treadle"),
        ("_sync.py", 'from treadle._core import Lock\nimport_lazily("treadle._records").X'),
        ("demo/some.py", "import treadle\nfrom treadle.demo import x\ntreadle.Lock()"),
        ("demo/some.py", 'import importlib\nimportlib.import_module("rich.live")'),
        ("cli/some.py", "from treadle.demo import x\nfrom treadle.benchmarks import y"),
        ("_errors.py", "import queue, os.path\nfrom collections.abc import Callable"),
    ],
)
def test_a_module_that_points_down_is_not_told(tree: Path, path: str, text: str) -> None:
    _write(tree, f"src/treadle/{path}", text + "\n")
    assert _breaches(tree) == []


def test_a_rule_that_nothing_falls_under_is_told(tree: Path) -> None:
    (tree / "src/treadle/_sync.py").unlink()
    (tree / _HEADERS / "ring/some.hpp").unlink()
    assert len(told := _breaches(tree)) == 2
    assert "ring/ is empty" in told[0]
    assert "treadle._sync does not exist" in told[1]
