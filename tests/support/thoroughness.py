"""How much the tests that search look through: a little every day, more where `TARGET_KLAR_TESTS=thorough` is set."""

from __future__ import annotations

import os

THOROUGH = os.environ.get("TARGET_KLAR_TESTS") == "thorough"


def size(quick: int, thorough: int) -> int:
    """Return how many cases to look through."""
    return thorough if THOROUGH else quick
