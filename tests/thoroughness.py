"""How much a test that searches looks at: little every day, much where `TARGET_KLAR_TESTS` is `thorough`."""

from __future__ import annotations

import os


def size(quick: int, thorough: int) -> int:
    """Return how many cases to try."""
    return thorough if os.environ.get("TARGET_KLAR_TESTS") == "thorough" else quick
