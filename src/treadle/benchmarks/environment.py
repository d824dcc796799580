"""What a figure was measured on, without which it says nothing."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

_PACKAGES = (
    "treadle",
    "faster-fifo",
    "janus",
    "culsans",
    "loky",
    "mpire",
    "joblib",
    "numpy",
)


@dataclass(frozen=True)
class Environment:
    """Machine, system, versions, date and command of one run; `load` is from before it began."""

    machine: str
    processors: int
    kernel: str
    python: str
    packages: dict[str, str]
    load: float
    date: str
    command: str

    def lines(self) -> list[str]:
        """For the head of the table."""
        packages = ", ".join(f"{name} {version}" for name, version in self.packages.items())
        return [
            f"machine   {self.machine}, {self.processors} processors, load {self.load:.2f} before",
            f"kernel    {self.kernel}",
            f"python    {self.python}",
            f"packages  {packages}",
            f"date      {self.date}",
            f"command   {self.command}",
        ]


def this_environment(command: str) -> Environment:
    """The environment of this process, now."""
    return Environment(
        machine=f"{_processor()} ({platform.machine()})",
        processors=len(os.sched_getaffinity(0)),
        kernel=f"{platform.system()} {platform.release()}",
        python=_python(),
        packages={name: _version(name) for name in _PACKAGES},
        load=os.getloadavg()[0],
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
    )


def _processor() -> str:
    """The name in /proc/cpuinfo, which x86 has and Arm mostly has not."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown processor"
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"


def _python() -> str:
    gil_enabled = getattr(sys, "_is_gil_enabled", lambda: True)()
    version = f"{platform.python_implementation()} {platform.python_version()}"
    return version if gil_enabled else f"{version}, without the GIL"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"
