"""The last lines of a run: what became of each stream, and that the counts add up."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from klar_objects import REFUND_TIME
from messages import COSTS_SCHEMA, REFUNDS_SCHEMA, cost_record, record, refund_record, schema, state

from target_klar.delivery.stream import COUNTS

if TYPE_CHECKING:
    from pathlib import Path

    from target_klar.sandbox import Sandbox


def test_the_summary_tells_what_became_of_each_stream(klar: Sandbox, tmp_path: Path) -> None:
    klar.misbehave("transaction_costs/503@1")
    lines = [
        REFUNDS_SCHEMA,
        COSTS_SCHEMA,
        refund_record("a"),
        refund_record("a", 2),
        refund_record("b", createdAt="soon"),
        cost_record("c", 1),
        cost_record("c", 2),
    ]
    lines += [cost_record("d", 1), cost_record("d", 1), cost_record("c", 3), state(1)]
    rejects = tmp_path / "rejects.jsonl"
    ended = run(klar, lines, rejects_path=str(rejects))
    assert (ended.code, ended.states) == (0, [1])
    zero = {"cancelled": 0, "deleted": 0, "filtered": 0}
    one = {"stored": 1, "read": 3, "merged": 1, "rejected": 1, "requests": 1, "retries": 0} | zero
    two = {"stored": 2, "read": 5, "merged": 3, "rejected": 0, "requests": 2, "retries": 1} | zero
    assert one.items() <= ended.counts("refunds").items()
    assert two.items() <= ended.counts("transaction_costs").items()
    ends = [text for text in ended.told("INFO") if " read, " in text]
    submitted = [re.search(r"Klar's total: (\d) \(as of \d\d:\d\d:\d\d UTC\)$", line) for line in ends]
    assert [found and found[1] for found in submitted] == ["1", "2"]
    assert (
        "transaction_costs: 1 key (orderId) came again with other transactionCosts, and Klar keeps the last record of "
        "a key. If rows are parts of one, aggregate them before target-klar. Ignore this if they are updates."
    ) in ended.warnings
    assert ended.warnings[-1] == (
        f"Records rejected: 1, see {rejects}. Most often: 1 x createdAt must be a time, as Unix seconds or as a date"
    )
    metrics = [json.loads(text.partition("METRIC: ")[2]) for text in ended.said("rejected_records")]
    assert {(each["tags"]["stream"], each["value"]) for each in metrics} == {("refunds", 1), ("transaction_costs", 0)}


GONE = "2026-05-06T10:00:00Z"


def tap_refund(key: str, *, quantity: object = 1, **fields: object) -> dict[str, Any]:
    """A refund as a tap writes it, in snake case."""
    line = {"line_item_id": 1, "refunded_quantity": quantity}
    return record("refunds", **{"id": key, "createdAt": REFUND_TIME, "lineItems": [line]} | fields)


EVERYTHING = [
    schema("refunds", status={}),
    *(tap_refund(f"A{number}", quantity=number) for number in (1, 2, 3)),
    tap_refund("A3", quantity=0.25),
    tap_refund("C", lineItems=[]),
    tap_refund("D", _sdc_deleted_at=GONE),
    tap_refund("F", status="draft"),
    tap_refund("R", quantity="two"),
]


@pytest.mark.parametrize("dry_run", [False, True], ids=["load", "dry run"])
def test_the_summary_adds_up_and_the_metrics_bear_its_words(klar: Sandbox, tmp_path: Path, *, dry_run: bool) -> None:
    ended = run(
        klar,
        EVERYTHING,
        rejects_path=str(tmp_path / "rejects.jsonl"),
        stream_maps={"refunds": {"__filter__": "record.get('status') != 'draft'"}},
        validate_only=dry_run,
    )
    (line,) = ended.said("| refunds: 8 read, ")
    words = "8 read, 4 stored, 1 merged, 1 deleted, 1 filtered, 1 rejected, 1 cancelled, "
    assert words.replace("stored", "valid" if dry_run else "stored") in line
    assert ", pieces 3.25, " in line, "what was merged, deleted, filtered or rejected is in no control total"

    metrics = [json.loads(text.partition("METRIC: ")[2]) for text in ended.said('_records"')]
    counts = {each["metric"].removesuffix("_records"): each["value"] for each in metrics}
    assert counts == {"read": 8, "stored": 4, "merged": 1, "deleted": 1, "filtered": 1, "rejected": 1, "open": 0}
    assert tuple(counts) == COUNTS
    assert counts["read"] == sum(counts.values()) - counts["read"]


def test_what_was_not_settled_when_the_run_ended_is_open(klar: Sandbox) -> None:
    ended = run(klar, [schema("refunds"), tap_refund("A"), tap_refund("R", quantity="two"), tap_refund("B")])
    assert ended.code == 1
    (line,) = ended.said("| refunds: 2 read, ")
    assert "2 read, 1 stored, 0 merged, 0 deleted, 0 filtered, 0 rejected, 1 open, 0 cancelled" in line


@pytest.mark.parametrize("validate", [True, False])
def test_an_order_that_comes_cancelled_is_counted_and_amounts_are_added_up_by_currency(
    klar: Sandbox, *, validate: bool
) -> None:
    sold = {"id": "1", "quantity": 2, "totalAmountAfterTaxesAndDiscounts": 9.5}
    cases: list[tuple[str, dict[str, Any]]] = [
        ("EUR", {}),
        ("EUR", {"cancelledAt": REFUND_TIME}),
        ("CHF", {}),
        ("EUR", {"cancelled_at": None}),
    ]
    common = {"createdAt": REFUND_TIME, "lineItems": [sold]}
    orders = [
        common | {"id": f"{number}", "currencyCodeIso3Letter": currency} | more
        for number, (currency, more) in enumerate(cases)
    ]
    lines = [schema("orders"), *(record("orders", **order) for order in orders)]
    ended = run(klar, lines, validate_records=validate)
    assert (ended.code, len(klar.orders)) == (0, 4)
    assert ended.counts("orders")["cancelled"] == 1
    assert ended.said("pieces 8, net EUR 28.5, net CHF 9.5")


def test_what_klar_is_left_to_judge_is_added_up_with_the_extra_fields_that_it_has(klar: Sandbox) -> None:
    klar.extra_fields = ("note",)
    with_note = record("transaction_costs", orderId="b", transactionCosts=5, note="x")
    lines = [COSTS_SCHEMA, cost_record("a", 1.25), with_note, state(1)]
    ended = run(klar, lines, validate_records=False, extra_fields=["note"])
    assert (ended.code, len(klar.transaction_costs)) == (0, 2)
    assert ended.said("2 stored")
    assert ended.said("amount 6.25")


def test_a_rejects_file_that_holds_fewer_records_than_were_rejected_or_also_earlier_ones_is_told_with_both_numbers(
    klar: Sandbox, rejects: Path
) -> None:
    first = [COSTS_SCHEMA, cost_record("a", "1,10"), cost_record("b", "1,20"), cost_record("a", 1.1), state(1)]
    ended = run(klar, first, rejects_path=str(rejects), fail_on_rejects=True)
    assert (ended.code, rejects.read_bytes().count(b'"RECORD"')) == (1, 1)
    assert ended.said(f"Records rejected: 2, see {rejects}, which holds 1. Most often: ")
    assert ended.said(f"fail_on_rejects: 2 records rejected, see {rejects}, which holds 1; everything else is loaded ")
    ended = run(klar, [COSTS_SCHEMA, cost_record("c", "1,30"), state(2)], rejects_path=str(rejects))
    assert rejects.read_bytes().count(b'"RECORD"') == 2
    assert ended.said(f"Records rejected: 1, see {rejects}, which holds 2. Most often: ")
    ended = run(klar, [COSTS_SCHEMA, cost_record("c", "1,30"), cost_record("b", "1,20")], rejects_path=str(rejects))
    assert ended.said(f"Records rejected: 2, see {rejects}. Most often: ")


@pytest.mark.parametrize("fail", [False, True])
def test_rejected_records_that_a_newer_version_has_replaced_are_not_looked_for_in_the_file(
    klar: Sandbox, rejects: Path, *, fail: bool
) -> None:
    lines = [COSTS_SCHEMA, cost_record("a", "1,10"), cost_record("a", 1.1), state(1)]
    ended = run(klar, lines, rejects_path=str(rejects), fail_on_rejects=fail)
    assert (ended.code, ended.states, rejects.read_bytes()) == (int(fail), [1], b"")
    assert ended.said(f"Records rejected: 1, none in {rejects}: a newer version of each was accepted or deleted.")
    assert not ended.said("move the file away")
