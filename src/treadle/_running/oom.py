"""Whether the kernel's out-of-memory killer has been at work: it leaves no note with its victim."""

from __future__ import annotations

__all__ = ["oom_kills"]


def oom_kills() -> int:
    """How many processes of this machine it has killed since the system began; 0 if unknown."""
    try:
        with open("/proc/vmstat", "rb") as file:
            for line in file:
                if line.startswith(b"oom_kill "):
                    return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0
