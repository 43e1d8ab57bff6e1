"""The dry run, `validate_only`: everything is checked, nothing is loaded, and no STATE is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forked import run
from klar_objects import REFUND_TIME
from messages import COSTS_SCHEMA, REFUNDS_SCHEMA, cost_record, refund_record, state
from rejects_file import records

if TYPE_CHECKING:
    from pathlib import Path

    from target_klar.sandbox import Sandbox


def test_a_dry_run_checks_everything_loads_nothing_and_writes_no_state(klar: Sandbox, tmp_path: Path) -> None:
    good = [REFUNDS_SCHEMA, COSTS_SCHEMA, refund_record("a"), cost_record("c"), state(1)]
    ended = run(klar, good, validate_only=True)
    assert (ended.code, ended.out) == (0, "")
    assert [(seen.path, seen.count) for seen in klar.requests] == [("/12.2022/refunds/validate", 1)]
    assert (klar.refunds, klar.transaction_costs) == ({}, {})

    klar.refuse = lambda sent: sent.get("id") == "unwanted"
    rejects, dry_run = tmp_path / "rejects.jsonl", tmp_path / "rejects.jsonl.dry-run"
    bad = [
        refund_record("unwanted"),
        refund_record("b", createdAt="soon"),
        cost_record("d", "many"),
        refund_record("e"),
    ]
    ended = run(klar, [*good, *bad, state(2)], validate_only=True, rejects_path=str(rejects))
    assert (ended.code, ended.out) == (1, "")
    assert ended.errors == [
        (
            "validate_only: 3 of 6 records rejected. The warnings above name field and reason: correct the "
            "mapping or the source."
        )
    ]
    assert sorted((each["source"], *each["record"].values())[:2] for each in records(dry_run)) == [
        ("contract", "b"),
        ("contract", "d"),
        ("klar", "unwanted"),
    ]
    assert {seen.path for seen in klar.requests} == {"/12.2022/refunds/validate"}
    assert (klar.refunds, klar.transaction_costs) == ({}, {})


def test_a_dry_run_goes_on_to_the_end_and_logs_the_first_20_refusals(klar: Sandbox, tmp_path: Path) -> None:
    klar.refuse = lambda sent: int(sent["id"]) < 60
    rejects, dry_run = tmp_path / "rejects.jsonl", tmp_path / "rejects.jsonl.dry-run"
    lines = [refund_record(str(number), createdAt="soon" if number % 2 else REFUND_TIME) for number in range(100)]
    ended = run(
        klar,
        [REFUNDS_SCHEMA, *lines, state(1)],
        validate_only=True,
        rejects_path=str(rejects),
        rejects_limit=5,
        batch_size_rows=10,
    )
    assert (ended.code, ended.out) == (1, "")
    assert ended.errors == [
        (
            "validate_only: 80 of 100 records rejected. The warnings above name field and reason: correct the "
            "mapping or the source."
        )
    ]
    assert len(records(dry_run)) == 80
    assert len([text for text in ended.warnings if " Written to " in text]) == 20
