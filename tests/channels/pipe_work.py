"""What processes that tests start do with an end of a pipe: importable by name."""

from __future__ import annotations

import treadle


def echo(end: treadle.Connection) -> None:
    """Send back what comes, until the end."""
    try:
        while True:
            end.send(end.recv())
    except EOFError:
        end.close()


def relay(inbox: treadle.Connection) -> None:
    """Receive an end, and say hello through it."""
    end = inbox.recv()
    end.send("hello from afar")
    end.close()
