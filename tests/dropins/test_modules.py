"""The drop-ins as modules: what they hand on of the standard ones, and what not."""

from __future__ import annotations

import importlib
import inspect
import sys
from types import ModuleType

import pytest

from treadle import asyncio, queue, threading

drop_ins = pytest.mark.parametrize(
    "module", [asyncio, queue, threading], ids=lambda module: module.__name__
)


@pytest.mark.parametrize("name", ["queues", "exceptions", "locks", "tasks"])
def test_no_module_of_asyncio_is_imported_a_second_time(name: str) -> None:
    """Its CancelledError would be another than the one that loops raise."""
    with pytest.raises(ModuleNotFoundError, match=r"'treadle\.asyncio' is not a package"):
        importlib.import_module(f"treadle.asyncio.{name}")
    assert f"treadle.asyncio.{name}" not in sys.modules
    assert getattr(asyncio, name) is sys.modules[f"asyncio.{name}"]


@drop_ins
def test_a_drop_in_says_of_itself_what_it_is(module: ModuleType) -> None:
    standard = sys.modules[module.__name__.removeprefix("treadle.")]
    for name in ("__path__", "__cached__", "__file__", "__loader__", "__spec__", "__doc__"):
        here = getattr(module, name, None)
        assert here is None or here != getattr(standard, name, None)
    assert "__path__" not in dir(module)
    assert inspect.getsourcefile(module) == module.__file__
    with pytest.raises(AttributeError, match=rf"'{module.__name__}' has no attribute '__path__'"):
        _ = module.__path__


def test_the_first_hook_of_threading_is_there() -> None:
    assert threading.__excepthook__ is sys.modules["threading"].__excepthook__  # type: ignore[attr-defined]
