"""Puts the lines of a file into a message queue that outlives its programs.

    python producer.py jobs lines.txt

The queue is found by its name and persists: it and what is in it stay when no program uses it,
until `treadle gc jobs` or the machine's end. How far this program has come is kept beside the file,
so that it goes on from there after a `kill -9`. A put happens entirely or not at all; a program
killed between a put and its note puts that one line again: every line arrives at least once.
"""

import sys
from pathlib import Path

import treadle


def main(name: str, path: str) -> None:
    """Put what is left of the file, and print the number of each line that is in the queue."""
    queue: treadle.Queue[tuple[int, str]] = treadle.Queue(maxsize=1000, name=name, persist=True)
    note = Path(f"{path}.sent")
    sent = int(note.read_text()) if note.exists() else 0
    with open(path) as lines:
        for number, line in enumerate(lines, 1):
            if number <= sent:
                continue
            queue.put((number, line.rstrip("\n")))  # waits while the queue is full
            _write(note, str(number))
            print(number, flush=True)


def _write(note: Path, text: str) -> None:
    # Another file takes the note's place at once: no kill leaves half of it.
    fresh = note.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(note)


if __name__ == "__main__":
    main(*sys.argv[1:])
