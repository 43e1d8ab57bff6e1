"""The recipes that need no server: a tap's lines or a file in, and what Klar then holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from forked import run
from messages import record, schema, state
from pipelines import recipe

if TYPE_CHECKING:
    from target_klar.sandbox import Sandbox


DAY = 1_777_852_800  # 2026-05-04T00:00:00Z


def settings(heading: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(recipe(heading, "yaml"))
    return found


def test_shopifys_rest_refunds_arrive_and_one_without_lines_cancels_nothing(klar: Sandbox) -> None:
    lines = [{"id": 104689539, "line_item_id": 703073504, "quantity": 2, "subtotal": 195.66}]
    ended = run(
        klar,
        [
            schema("order_refunds"),
            record("order_refunds", id=1, created_at="2026-05-04T02:00:00+02:00", refund_line_items=lines),
            record("order_refunds", id=2, created_at="2026-05-04T02:00:00+02:00", refund_line_items=[]),
            state(1),
        ],
        **settings("Shopify's REST shape"),
    )

    assert (ended.code, ended.said("WARNING"), ended.states) == (0, [], [1])
    assert klar.refunds == {
        "1": {
            "id": "1",
            "createdAt": DAY,
            "lineItems": [{"id": "104689539", "lineItemId": "703073504", "refundedQuantity": 2}],
        }
    }


def test_a_row_deleted_in_the_log_is_cancelled_at_klar(klar: Sandbox) -> None:
    lines = [{"line_item_id": 7, "quantity": 1}]
    ended = run(
        klar,
        [
            schema("public-refunds"),
            record("public-refunds", id=1, created_at="2026-05-04", refund_lines=lines, _sdc_deleted_at=None),
            record("public-refunds", id=2, created_at="2026-05-04", refund_lines=lines, _sdc_deleted_at=None),
            record("public-refunds", id=2, _sdc_deleted_at="2026-05-05T00:00:00+00:00"),
            state(1),
        ],
        batch_size_rows=1,
        **settings("A log-based source with deletions"),
    )

    assert (ended.code, ended.errors, ended.states) == (0, [], [1])
    assert {key: held["lineItems"] for key, held in klar.refunds.items()} == {
        "1": [{"lineItemId": "7", "refundedQuantity": 1}],
        "2": [],
    }


def test_the_batch_configuration_is_one_that_taps_of_the_sdk_take() -> None:
    config = settings("BATCH files")["batch_config"]

    assert (config["encoding"], config["storage"]["root"].partition(":")[0]) == (
        {"format": "jsonl", "compression": "gzip"},
        "file",
    )


def test_what_went_into_the_wrong_data_source_is_undone_as_far_as_klar_can(klar: Sandbox) -> None:
    lines = [
        schema("refunds"),
        record("refunds", id="r", createdAt=DAY, lineItems=[{"lineItemId": "1", "refundedQuantity": 2}]),
        schema("orders"),
        record("orders", id="o", createdAt=DAY, lineItems=[{"id": "1", "quantity": 2}]),
        schema("transaction_costs"),
        record("transaction_costs", orderId="o", transactionCosts="1.10"),
        schema("logistics_costs", "orderId"),
        record("logistics_costs", orderId="o", totalLogisticsCosts="4.90"),
        schema("cogs", "orderId"),
        record("cogs", orderId="o", sku="a", productCogs="7.00"),
    ]

    assert run(klar, lines).code == 0
    assert klar.transaction_costs["o"]["transactionCosts"] != 0

    undone = run(klar, lines, **settings("A load went into the wrong data source"))

    assert (undone.code, undone.errors) == (0, [])
    assert klar.refunds["r"]["lineItems"] == []
    assert "cancelledAt" in klar.orders["o"]
    assert klar.orders["o"]["lineItems"] == [{"id": "1", "quantity": 2}]
    assert klar.transaction_costs["o"]["transactionCosts"] == 0
    assert [held["totalLogisticsCosts"] for held in klar.held("logistics_costs").values()] == [0]
    assert [held["productCogs"] for held in klar.held("cogs").values()] == [0]
