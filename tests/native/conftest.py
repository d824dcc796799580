"""Says at the end of a run how many crash points the kill harness has tried."""

import pytest

CRASH_POINTS = "crash points"
"""The property under which a test records its own."""


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
