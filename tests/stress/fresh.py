"""Runs a function in a Python process of its own: small, single-threaded, with its own arena.

python -m tests.stress.fresh MODULE FUNCTION [JSON]
"""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def run(function: Callable[..., None], *arguments: object) -> str:
    """Runs a function of a module's top level; returns what it printed. Fails as an assertion."""
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            __name__,
            function.__module__,
            function.__name__,
            json.dumps(arguments),
        ],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    print(ended.stdout)
    assert ended.returncode == 0, f"{function.__name__} ended with exit code {ended.returncode}"
    return ended.stdout


def main() -> None:
    module, function, arguments = sys.argv[1:]
    getattr(importlib.import_module(module), function)(*json.loads(arguments))


if __name__ == "__main__":
    main()
