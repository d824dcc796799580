"""What the tests of groups run, by ``with`` and by ``async with``."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import treadle

Group = treadle.Group


async def with_(body: Callable[[Group], Any]) -> None:
    with Group() as group:
        body(group)


async def async_with(body: Callable[[Group], Any]) -> None:
    async with Group() as group:
        body(group)


both = pytest.mark.parametrize("use", [with_, async_with], ids=["with", "async with"])
Use = Callable[[Callable[[Group], Any]], Awaitable[None]]


def fail(what: str = "no") -> None:
    raise ValueError(what)


def work_in_python() -> None:
    while True:
        time.sleep(0.001)


def ignore_terminate(ready: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.set()
    while True:
        signal.pause()


def caught_by(use: Use, body: Callable[[Group], Any]) -> list[BaseException]:
    """What the block raised, as a group."""
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(use(body))
    return list(caught.value.exceptions)
