"""How long a test that searches goes on: a little every day, more when `TARGET_KLAR_TESTS=thorough` is set."""

from __future__ import annotations

import os


def size(quick: int, thorough: int) -> int:
    """Return the number of cases for this run."""
    return thorough if os.environ.get("TARGET_KLAR_TESTS") == "thorough" else quick
