"""Ctrl-C put off for as long as the steps take that must not be left half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put Ctrl-C off to the end of the block, where this is the main thread (others never see it).

    However often it is pressed meanwhile, it comes once. It is forgotten when the block raises:
    what the block says is the news then.

    >>> with undisturbed():
    ...     signal.raise_signal(signal.SIGINT)
    ...     print("done")
    Traceback (most recent call last):
    KeyboardInterrupt
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = False

    def remember(*_: object) -> None:
        nonlocal pressed
        pressed = True

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        signal.raise_signal(signal.SIGINT)
