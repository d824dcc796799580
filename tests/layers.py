"""Who may import whom: the layer table of the design, and what in a source tree breaks it.

Files are found, not listed: one that falls under no rule is a breach, and so is a rule that no file
falls under any more. A breach is a sentence that names the file, the line, and what to do.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NATIVE = {
    "platform": set[str](),
    "word": {"platform"},
    "local": {"word", "platform"},
    "tasks": {"arena", "word", "platform"},
    "arena": {"word", "platform"},
    "ring": {"arena", "word", "platform"},
    "map": {"arena", "word", "platform"},
    "ordered": {"ring", "arena", "word", "platform"},
    "channel": {"ring", "arena", "word", "platform"},
}
"""A folder of native/include/treadle, and the others that its headers may include."""

# Above platform/, a system header is a system call in the wrong place.
_PORTABLE = {
    "atomic",
    "bit",
    "cstddef",
    "cstdint",
    "cstdlib",
    "cstring",
    "utility",
    "new",
    "type_traits",
}
_PTHREAD = {"arena/mapping.hpp"}  # what fork and the end of a thread do to a process's arenas
_OF_THE_CORE = _PORTABLE | {"Python.h", "cstdio"}

_SYSTEM_CALLS = (
    "syscall|open|close|read|write|pread|pwrite|lseek|dup[23]?|pipe2?|fcntl|ioctl|flock|f?stat"
    "|ftruncate|fallocate|unlink|rename|mmap|munmap|mremap|mprotect|madvise|memfd_create|fork|vfork"
    "|execv[pe]*|waitpid|kill|tgkill|getpid|getppid|gettid|prctl|clock_\\w+|nanosleep|usleep|sleep"
    "|sched_\\w+|getrandom|poll|epoll_\\w+|eventfd|sigaction|signal|sysconf|getenv|fopen|printf"
)
_SYSTEM_CALL = re.compile(rf"(?<![\w.>:])(?:::)?({_SYSTEM_CALLS})\s*\(")
_INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
_CPP_COMMENT = re.compile(r"//.*|\"(?:\\.|[^\"\\])*\"")

_TABLED = re.compile(r'"(treadle\.[\w.]+)"')

ANYTHING = "anything"
PUBLIC = "public names"

PYTHON: dict[str, set[str]] = {
    "_errors": set(),
    "_records": set(),
    "_by_value": set(),
    "_core": {
        "_errors",
        "_records",
        "_by_value",
        "_values",
        "aio",
    },  # all but the first: when asked
    "_sync": {"_core", "_errors", "_records", "aio"},
    "_framing": {"_errors"},
    "_named_pipe": set(),
    "_fifo_file": set(),
    "_fifo": {"_by_value", "_core", "_errors", "_fifo_file", "_framing", "_named_pipe"},
    "_workers": set(),
    "_namespace": {"_core"},
    "_timers": {"_core", "_records", "_workers"},
    "_running": {"_by_value", "_core", "_errors", "_sync", "_timers", "aio"},
    "_pool": {"_core", "_errors", "_records", "_running", "_timers"},
    "_values": {"_core"},
    "_arrays": {"_core"},
    "_ndarray": {"_core", "_arrays"},
    "_segments": {"_errors"},
    "_shared_memory": {"_segments"},
    "_shareable_list": {"_shared_memory"},
    "__init__": {
        "_core",
        "_errors",
        "_fifo",
        "_namespace",
        "_ndarray",
        "_pool",
        "_records",
        "_running",
        "_shareable_list",
        "_shared_memory",
        "_sync",
        "_timers",
        "_values",
    },
    "aio": {"_core", "_errors", "_running", "_sync"},  # the latter two: types only
    "queue": {"_core", "_errors"},
    "joblib": {PUBLIC},
    "threading": {"_core", PUBLIC},
    "_inside": set(),
    "_asyncio_queues": {"_core", "_inside", PUBLIC},
    "asyncio": {"_asyncio_queues", "_core", "_inside", "aio", PUBLIC},
    "benchmarks": {PUBLIC, "asyncio", "queue", "threading"},
    "demo": {PUBLIC},
    "cli": {ANYTHING},
    "__main__": {"cli"},
}
"""A module or package of treadle, and what else of treadle it may import."""

_CYTHON_IMPORT = re.compile(r"^\s*(?:from|import)\s+treadle(?:\.(\w+))?")
_LAZY_IMPORT = re.compile(r"""import_lazily\(\s*["']treadle\.(\w+)""")
_IMPORTING_CALLS = {"import_lazily", "import_module", "__import__"}


# ---- Native


def native_breaches(root: Path) -> Iterator[str]:
    """What breaks the arrows between the headers under `root`, a checkout."""
    base = root / "native/include/treadle"
    headers = sorted(path for path in base.rglob("*") if path.is_file())
    for header in headers:
        layer = header.relative_to(base).parts[0]
        if layer not in NATIVE or header.parent != base / layer:
            yield (
                f"{header.relative_to(root)} lies in no layer: move it to one of {_listed(NATIVE)},"
                " or give its folder a line in NATIVE of tests/layers.py"
            )
            continue
        yield from _include_breaches(root, header, layer)
    for layer in NATIVE.keys() - {header.relative_to(base).parts[0] for header in headers}:
        yield f"native/include/treadle/{layer}/ is empty: take its line out of tests/layers.py"
    for header in sorted((root / "src/treadle/_core").glob("*.hpp")):
        yield from _system_breaches(root, header, _OF_THE_CORE)


def _include_breaches(root: Path, header: Path, layer: str) -> Iterator[str]:
    base = root / "native/include/treadle"
    for number, line in enumerate(header.read_text().splitlines(), 1):
        found = _INCLUDE.match(line)
        if not found or found[1] == "<":
            continue
        target = (header.parent / found[2]).resolve()
        where = f"{header.relative_to(root)}:{number}"
        if not target.is_relative_to(base.resolve()) or not target.exists():
            yield f'{where} includes "{found[2]}", which is no header of native/include/treadle'
        elif (other := target.relative_to(base.resolve()).parts[0]) not in {layer, *NATIVE[layer]}:
            yield f"{where} includes {other}/: {layer}/ may include {_listed(NATIVE[layer])}"
    if layer == "platform":
        if "Python.h" in header.read_text():
            yield f"{header.relative_to(root)} knows Python: only src/treadle/_core may"
    else:
        name = header.relative_to(base).as_posix()
        allowed = _PORTABLE | ({"pthread.h"} if name in _PTHREAD else set())
        yield from _system_breaches(root, header, allowed)


def _system_breaches(root: Path, header: Path, allowed: set[str]) -> Iterator[str]:
    for number, line in enumerate(header.read_text().splitlines(), 1):
        where = f"{header.relative_to(root)}:{number}"
        included = _INCLUDE.match(line)
        if included:
            if included[1] == "<" and included[2] not in allowed:
                yield (
                    f"{where} includes <{included[2]}>: system calls belong to platform/; a header "
                    "without any can be allowed in tests/layers.py"
                )
            continue
        for call in _SYSTEM_CALL.findall(_CPP_COMMENT.sub("", line)):
            yield f"{where} calls {call}(): give it a name in platform/ and call that"


# ---- Python


@dataclass(frozen=True, slots=True)
class _Import:
    """One arrow: from a place in a file to a module of treadle, or to a name of treadle itself."""

    where: str
    module: str  # "" for treadle itself
    name: str = ""


def python_breaches(root: Path) -> Iterator[str]:
    """What breaks the arrows between the modules under `root`/src/treadle."""
    base = root / "src/treadle"
    found: set[str] = set()
    for path in sorted(base.rglob("*")):
        if path.suffix not in {".py", ".pyi", ".pyx", ".pxi"}:
            continue
        unit = path.relative_to(base).parts[0].partition(".")[0]
        found.add(unit)
        if unit not in PYTHON:
            yield (
                f"{path.relative_to(root)} falls under no rule: give treadle.{unit} a line in"
                " PYTHON of tests/layers.py that says what it may import"
            )
            continue
        for arrow in _imports(root, path):
            yield from _import_breaches(base, unit, arrow)
    for unit in sorted(PYTHON.keys() - found):
        yield f"treadle.{unit} does not exist: take its line out of tests/layers.py"


def _import_breaches(base: Path, unit: str, arrow: _Import) -> Iterator[str]:
    allowed = PYTHON[unit]
    if ANYTHING in allowed or arrow.module == unit or arrow.module in allowed:
        return
    if arrow.module == "" and PUBLIC in allowed:
        if arrow.name and arrow.name not in _public_names(base):
            yield f"{arrow.where} uses treadle.{arrow.name}: {unit} may use public names only"
        return
    target = f"treadle.{arrow.module}" if arrow.module else "treadle"
    yield f"{arrow.where} imports {target}: {unit} may import {_listed(allowed)}"


def _imports(root: Path, path: Path) -> Iterator[_Import]:
    where = path.relative_to(root).as_posix()
    if path.suffix in {".pyx", ".pxi"}:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line.lstrip().startswith(">>>"):
                continue
            if found := _CYTHON_IMPORT.match(line):
                yield _Import(f"{where}:{number}", found[1] or "")
            for module in _LAZY_IMPORT.findall(line):
                yield _Import(f"{where}:{number}", module)
        return
    package = ("treadle", *path.relative_to(root / "src/treadle").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(), where)):
        line = f"{where}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _arrow(line, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            above = list(package[: len(package) - node.level + 1]) if node.level else []
            module = above + (node.module.split(".") if node.module else [])
            for alias in node.names:
                yield from _arrow(line, module, alias.name, root)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "treadle" and isinstance(node.ctx, ast.Load):
                yield from _arrow(line, ["treadle"], node.attr, root)
        elif isinstance(node, ast.Call) and _name(node.func) in _IMPORTING_CALLS and node.args:
            argument = node.args[0]
            if isinstance(argument, ast.Subscript):  # a table of modules: any of them
                for module in _TABLED.findall(path.read_text()):
                    yield from _arrow(line, module.split("."))
            elif not isinstance(argument, ast.Constant):
                yield _Import(line, "cli") if _is_of_cli(argument) else _Import(line, "?")
            elif isinstance(argument.value, str):
                yield from _arrow(line, argument.value.split("."))


def _arrow(
    where: str, module: list[str], name: str = "", root: Path | None = None
) -> Iterator[_Import]:
    if module[:1] != ["treadle"]:
        return
    if len(module) > 1:
        yield _Import(where, module[1])
    elif name and root is not None and _is_module(root / "src/treadle" / name):
        yield _Import(where, name)
    else:
        yield _Import(where, "", name)


def _is_module(path: Path) -> bool:
    return path.is_dir() or path.with_suffix(".py").exists()


def _is_of_cli(argument: ast.expr) -> bool:
    """Is it f"treadle.cli.{...}"?"""
    first = argument.values[0] if isinstance(argument, ast.JoinedStr) else None
    return isinstance(first, ast.Constant) and str(first.value).startswith("treadle.cli.")


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _public_names(base: Path) -> set[str]:
    for node in ast.parse((base / "__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and _name(node.targets[0]) == "__all__":
            return {"__version__", *ast.literal_eval(node.value)}
    raise AssertionError("treadle/__init__.py has no __all__")


def _listed(names: set[str] | dict[str, set[str]]) -> str:
    return ", ".join(sorted(names)) or "nothing of treadle"
