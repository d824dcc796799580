"""Trees of files for the tests."""

import random
from pathlib import Path

LARGE = 200_000


def plant(root: Path, *, files: int = 40, large: int = 4) -> list[str]:
    """Make ``files`` small files and ``large`` larger ones under ``root``; return their paths."""
    generator = random.Random(7)
    paths = [root / f"{n % 5}" / f"small-{n}" for n in range(files)]
    paths += [root / f"{n % 5}" / f"large-{n}" for n in range(large)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        size = LARGE if path.name.startswith("large") else generator.randrange(3000)
        path.write_bytes(generator.randbytes(size // 2) + bytes(size - size // 2))
    return sorted(str(path) for path in paths)
