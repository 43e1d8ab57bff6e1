"""One round of the search that `chaos.py` makes by the hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from chaos import play

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_whatever_comes_together_nothing_is_lost_and_nothing_stale_is_left(tmp_path: Path) -> None:
    played = play(20261123, tmp_path)

    assert played.breaches == []
    assert played.runs.total() > 3
