"""Unrelated programs that do as they are told, line by line."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]

_CODE = """
import gc, os, pickle, sys, threading, time
import treadle
space = dict(globals())
for line in sys.stdin:
    code = eval(line)
    try:
        try:
            answer = eval(compile(code, "<told>", "eval"), space)
        except SyntaxError:
            answer = exec(code, space)
    except SystemExit:
        raise
    except BaseException as error:
        answer = f"{type(error).__name__}: {error}"
    print(ascii(answer), flush=True)
"""


class Program:
    """Evaluates an expression or executes a statement; an error is answered as text."""

    def __init__(self, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
            **options,
        )
        self.pid = self.process.pid

    def begin(self, code: str) -> None:
        """Tell it, without waiting for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{code!a}\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the program ended early"
        return ast.literal_eval(line)

    def tell(self, code: str) -> Any:
        self.begin(code)
        return self.answer()

    def end(self) -> None:
        """Let it end as programs do."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait() == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def dispose(self) -> None:
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
