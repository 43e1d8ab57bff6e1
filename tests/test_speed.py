"""Whole runs that are measured: requests overlap, as many as allowed, and memory stays flat."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cheap_klar import CheapKlar, Figures
from measured import KLAR, Run, timed
from sources import KLAR_COSTS, KLAR_REFUNDS, Source

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow  # whole runs that are measured


def load(folder: Path, source: Source, rows: int, latency: float, **settings: Any) -> tuple[Run, Figures]:
    """Run target-klar on a stream of its own, and tell what the run took and what arrived."""
    (folder / "stream.jsonl").write_text("".join(source.lines(rows)))
    with CheapKlar(latency) as klar:
        config = {"api_url": klar.url, "api_token": "speed", **settings}
        (folder / "config.json").write_text(json.dumps(config))
        run = timed([*KLAR, "--config", str(folder / "config.json")], folder, folder / "stream.jsonl")
        figures = klar.figures()
    assert figures.objects == rows
    assert json.loads((folder / "out").read_text().splitlines()[-1]) == {"rows": rows}
    return run, figures


@pytest.mark.parametrize("allowed", [1, 4, 8])
def test_as_many_requests_as_allowed_wait_at_the_same_time_and_no_more(tmp_path: Path, allowed: int) -> None:
    _, figures = load(tmp_path, KLAR_REFUNDS, 20 * allowed, 0.3, batch_size_rows=5, max_parallel_requests=allowed)
    assert figures.requests == 4 * allowed
    assert figures.peak_in_flight == allowed


def test_memory_stays_the_same_for_ten_times_the_records_though_klar_is_slower_than_the_tap(tmp_path: Path) -> None:
    few, many = (load(tmp_path, KLAR_COSTS, rows, 0.01)[0].peak for rows in (20_000, 200_000))
    assert many < 1.3 * few
