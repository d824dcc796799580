"""The `treadle` command: finds the sub-command, runs it, and words its errors.

Each sub-command is a module of this package with two functions:

- `add_arguments(parser)` declares its arguments on an `argparse.ArgumentParser`;
- `run(args) -> int` does the work and returns the exit code.

Only the module of the sub-command that was asked for is imported.
"""

import argparse
import importlib
import io
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

__all__ = ["CommandError", "main"]

_COMMANDS = {
    "demo": "hash and compress real files with processes of which one is killed",
    "bench": "measure treadle beside the libraries that it replaces",
    "ls": "list the objects that programs of this user find by name",
    "gc": "sweep up after the dead, and remove what nobody uses; with names, these",
    "doctor": "say what this machine and this Python offer, what is off, and why",
}

_NO_ESCAPES = ("strict", "surrogateescape")  # how Python opens it, unless the user says otherwise

_EXIT_ERROR = 2
_EXIT_PIPE_CLOSED = 128 + 13  # what a shell reports for a process that SIGPIPE ended
_EXIT_INTERRUPTED = 128 + 2  # and for one that Ctrl-C ended


class CommandError(Exception):
    """An error of the user's, worded for the user: one sentence, no traceback, exit code 2.

    Example:
        >>> raise CommandError("no file 'jobs.txt'; give a path that exists")
        Traceback (most recent call last):
        treadle.cli.CommandError: no file 'jobs.txt'; give a path that exists
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (`sys.argv[1:]` unless given) and return the exit code.

    0 is success, 1 what a sub-command returns when its own checks fail, 2 an error (one
    sentence on the standard error), 130 Ctrl-C, 141 a standard output that was closed.

    Example:
        >>> main(["demo", "no/such/folder"])
        2
    """
    if argv is not None:
        return _main(list(argv))
    _open_what_is_closed()
    _escape_what_cannot_be_written()
    try:
        return _main(sys.argv[1:])
    finally:
        # The process ends now. A second Ctrl-C, of a user in a hurry, has nothing left to stop and
        # would only put the traceback of some exit handler on the terminal.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _main(arguments: list[str]) -> int:
    command = next((word for word in arguments if not word.startswith("-")), None)
    prog = f"treadle {command}" if command in _COMMANDS else "treadle"
    try:
        code = _run(arguments, command)
        print(end="", flush=True)
        return code
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except BrokenPipeError as error:
        if _standard_output_is_closed():
            return _EXIT_PIPE_CLOSED
        return _fail(prog, str(error))
    except (CommandError, OSError) as error:
        return _fail(prog, str(error))
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        return _fail(prog, _unexpected(error))


def _run(arguments: list[str], command: str | None) -> int:
    parser = _Parser(
        prog="treadle",
        description="Concurrency primitives shared by threads and processes.",
    )
    parser.add_argument("--version", action=_PrintVersion)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    run: Callable[[argparse.Namespace], int] | None = None
    chosen = parser
    for name, summary in _COMMANDS.items():
        subparser = commands.add_parser(name, help=summary, description=_sentence(summary))
        if name == command:
            module = importlib.import_module(f"treadle.cli.{name}")
            module.add_arguments(subparser)
            run = module.run
            chosen = subparser
    try:
        args, unknown = parser.parse_known_args(arguments)
        if unknown:
            chosen.error(f"unrecognized arguments: {' '.join(unknown)}")
    except SystemExit as done:  # --help, --version, or an error that argparse has reported
        return int(done.code or 0)
    assert run is not None  # argparse has refused a command line without a known command
    return run(args)


class _Parser(argparse.ArgumentParser):
    """Reports an error as one sentence, without the usage lines."""

    def error(self, message: str) -> NoReturn:
        self.exit(_EXIT_ERROR, f"{self.prog}: {message}; see {self.prog} --help\n")


class _PrintVersion(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from treadle import __version__

        print(f"treadle {__version__}")
        parser.exit()


def _fail(prog: str, message: str) -> int:
    print(f"{prog}: {' '.join(message.split())}", file=sys.stderr)
    return _EXIT_ERROR


def _unexpected(error: Exception) -> str:
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"unexpected {what}; run python -X dev -m treadle to see where"


def _open_what_is_closed() -> None:
    """Put /dev/null where a standard stream is closed.

    Otherwise the next file that is opened would be taken for it: by a warning of the interpreter,
    or by a child.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, mode))


def _escape_what_cannot_be_written() -> None:
    """Names and paths may have letters that the standard output has not: print ``\\xe4`` then."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors in _NO_ESCAPES:
        sys.stdout.reconfigure(errors="backslashreplace")


def _standard_output_is_closed() -> bool:
    poller = select.poll()
    poller.register(1, 0)  # what is always reported: an error, and the end of the reader
    if not poller.poll(0):
        return False
    # What is still in the buffer would raise once more when the interpreter ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return True


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."
