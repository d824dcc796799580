"""Handles messages of a queue that outlives its programs, each at least once.

    python consumer.py jobs

Start as many as you like, on one machine. Each message is on lease while it is handled: it is gone
once the block below has ended well. If the block raises, or the program is killed in it, whoever
waits gets the message again, with its count of deliveries raised; so what is done in the block must
bear to be done twice.
"""

import sys

import treadle


def main(name: str) -> None:
    """Handle messages until Ctrl-C: print each, after the number of its deliveries."""
    queue: treadle.Queue[tuple[int, str]] = treadle.Queue(maxsize=1000, name=name, persist=True)
    while True:
        with queue.lease() as lease:
            number, text = lease.item
            print(lease.deliveries, number, text, flush=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
