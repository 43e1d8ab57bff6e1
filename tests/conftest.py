from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from target_klar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.insert(0, str(Path(__file__).parent))  # the suite's own modules, such as program.py


@pytest.fixture
def klar() -> Iterator[Sandbox]:
    """A local Klar of the test's own."""
    with Sandbox() as sandbox:
        yield sandbox
