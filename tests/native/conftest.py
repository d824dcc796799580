"""Has the programs built while other tests run; says how many crash points were tried."""

import pytest

from tests.native import ahead

CRASH_POINTS = "crash points"
"""The property under which a test records its own."""


def pytest_collection_finish(session: pytest.Session) -> None:
    native = [item for item in session.items if item.path.parent.name == "native"]
    if len(native) < len(session.items) and not session.config.option.collectonly:
        wanted = [
            item.callspec.params
            for item in native
            if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        ]
        ahead.begin(list(dict.fromkeys(str(each["variant"]) for each in wanted)))


def pytest_unconfigure() -> None:
    ahead.end()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts = [
        count
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for name, count in report.user_properties
        if name == CRASH_POINTS
    ]
    if counts:
        terminalreporter.write_line(
            f"crash points tried: {sum(counts):,} by {len(counts)} programs of the kill harness"
        )
