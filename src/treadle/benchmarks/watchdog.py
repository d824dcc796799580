"""The watchdog of every process that measures.

At the deadline it prints all stacks and ends the process, whatever that is doing: it is the
kernel's interval timer with its default action, death, after `faulthandler` has written the stacks.
So it needs no thread (a second thread would change what is measured, and how fork behaves) and no
interpreter that still answers. A forked child has no timer until it arms its own.
"""

from __future__ import annotations

import faulthandler
import signal
import time

_deadline: float | None = None


def start(seconds: float) -> None:
    """Give this process, and the workers that it will fork, `seconds` from now; arm its timer."""
    global _deadline
    _deadline = time.monotonic() + seconds
    arm()


def arm() -> None:
    """Arm the timer of this process for the deadline that it inherited; without one, do nothing."""
    if _deadline is None:
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    faulthandler.register(signal.SIGALRM, file=2, all_threads=True, chain=True)
    signal.setitimer(signal.ITIMER_REAL, max(_deadline - time.monotonic(), 0.001))
