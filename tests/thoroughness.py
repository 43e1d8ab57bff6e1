"""How long the tests that search may look: a little every day, longer where `TARGET_KLAR_TESTS=thorough` is set."""

from __future__ import annotations

import os


def size(quick: int, thorough: int) -> int:
    """Return how many cases to try."""
    return thorough if os.environ.get("TARGET_KLAR_TESTS") == "thorough" else quick
