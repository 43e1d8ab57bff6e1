"""What the benchmark measures beside target-klar delivers the same as target-klar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from forked import run
from measured import Case, load
from sources import KLAR_COSTS, KLAR_REFUNDS, ORDER_ROWS, ROWS, SHOPIFY

from target_klar.contract.streams import CONTRACTS
from target_klar.sandbox import Sandbox

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

IN_KLARS_FORM = [Case(source=source, rows=4) for source in (KLAR_REFUNDS, KLAR_COSTS)]
OF_OTHER_FORM = [Case(source=source, rows=4) for source in (*ROWS, ORDER_ROWS, SHOPIFY)]


@pytest.mark.parametrize(
    "beside",
    [each for case in IN_KLARS_FORM for each in (case.bare, case.plain)] + [case.script for case in OF_OTHER_FORM],
    ids=lambda case: f"{case.source.name} by {case.command[1].rpartition('/')[2]}",
)
def test_what_is_measured_beside_target_klar_delivers_the_same_objects_and_state(tmp_path: Path, beside: Case) -> None:
    with Sandbox() as klar, Sandbox() as other:
        lines = [line.encode().rstrip() for line in beside.source.lines(beside.rows)]
        ours = run(klar, lines, stream_maps=beside.source.stream_maps or None)
        _, state = load(beside, {"api_url": other.url, "api_token": other.token}, tmp_path)

        assert sum(map(klar.count, CONTRACTS)) == beside.rows, ours.err
        assert all(other.held(stream) == klar.held(stream) for stream in CONTRACTS)
        assert state == ours.states[-1] == {"rows": beside.rows}
