"""Small inputs that loaded something else than was meant, or stopped without need: what is right, by the whole program.

Each is an example of a kind; the kinds have tests of their own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from messages import record, schema, state

from target_klar.contract.streams import CONTRACTS
from target_klar.sandbox import Sandbox

if TYPE_CHECKING:
    from pathlib import Path


Message = dict[str, Any]
TIME, SECONDS = "2026-05-04T09:30:00Z", 1_777_887_000
GONE = "2026-05-06T10:00:00Z"
ONE_LINE = {"line_item_id": 1, "refunded_quantity": 1}
REFUND = {"id": "1", "createdAt": SECONDS, "lineItems": [{"lineItemId": "1", "refundedQuantity": 1}]}
ORDER = {"id": "1", "createdAt": SECONDS, "currencyCodeIso3Letter": "EUR"}
SOLD = {"id": "a", "quantity": 1, "totalAmountBeforeTaxesAndDiscounts": 11.9, "totalAmountAfterTaxesAndDiscounts": 10}


@dataclass(frozen=True)
class Case:
    """What comes in, and what is right."""

    lines: list[Message]
    holds: dict[str, list[Message]] = field(default_factory=dict)
    """What Klar holds in the end, by stream."""
    warnings: tuple[str, ...] = ()
    """The beginnings of the warnings, in their order."""
    error: str = ""
    """The beginning of the error that ends the run; without one the run ends with 0 and the STATE is written."""
    settings: dict[str, Any] = field(default_factory=dict)


def tap_refund(key: str, *, quantity: object = 1, **fields: object) -> Message:
    return record("refunds", **REFUND | {"id": key, "lineItems": [ONE_LINE | {"refunded_quantity": quantity}]} | fields)


def map_of(source: str, stream: str, **expressions: str) -> dict[str, Any]:
    return {"stream_maps": {source: {"__alias__": stream} | expressions}}


def sale(positions: list[Message] | None, deleted_at: str | None) -> Message:
    own = {"id": 5, "created_at": TIME, "currency_code_iso3_letter": "EUR"}
    return record("sales", **own, positions=positions, _sdc_deleted_at=deleted_at)


SALES = map_of(
    "sales",
    "orders",
    lineItems="[{'id': line['id'], 'quantity': line['qty'], 'totalAmountBeforeTaxesAndDiscounts': 11.9, "
    "'totalAmountAfterTaxesAndDiscounts': 10} for line in record.get('positions') or []]",
)
WITHOUT_LINES = "orders: 1 deleted record skipped: they came without lines, and would have replaced the orders"
DELETED_ELSEWHERE = record("refunds", id=1, created_at=TIME, line_items=[ONE_LINE], _sdc_lsn_deleted_at=GONE)
OMITTED = "refunds: fields that Klar does not know were omitted: _sdc_lsn_deleted_at"
MARK_MAP = {"refunds": {"_sdc_deleted_at": "record.get('_sdc_deleted_at') or record.get('_sdc_lsn_deleted_at')"}}
OTHER_MARK = (
    "refunds: 1 record of refunds with _sdc_lsn_deleted_at set, which looks like a mark of deletion, did not count as "
    f"deleted. If it is one, add it to the stream's map: {json.dumps(MARK_MAP)}"
)

CASES = {
    "a renamed column that a map reads by `get` stops the run, and cancels nothing": Case(
        [schema("shop-refunds")]
        + [record("shop-refunds", id=1, created_at=TIME, refund_lines_v2=[{"line_item_id": 1, "quantity": 1}])] * 3,
        error="The stream map of shop-refunds reads `refund_lines` (did you mean `refund_lines_v2`?) for",
        settings=map_of(
            "shop-refunds",
            "refunds",
            __filter__="bool(record.get('_sdc_deleted_at') or record.get('refund_lines'))",
            lineItems="[{'lineItemId': line['line_item_id'], 'refundedQuantity': line['quantity']} "
            "for line in record.get('refund_lines') or []]",
        )
        | {"hard_delete": True},
    ),
    "a deletion that brings no lines leaves the order as it is": Case(
        [schema("sales"), sale([{"id": 1, "qty": 2}], None), sale(None, GONE)],
        {"orders": [ORDER | {"id": "5", "lineItems": [SOLD | {"id": "1", "quantity": 2}]}]},
        (WITHOUT_LINES,),
        settings=SALES | {"hard_delete": True, "batch_size_rows": 1},
    ),
    "a deletion with the key and nulls is skipped": Case(
        [schema("orders"), record("orders", id=5, created_at=None, line_items=None, _sdc_deleted_at=GONE)],
        warnings=(WITHOUT_LINES,),
        settings={"hard_delete": True},
    ),
    "an empty optional field is omitted": Case(
        [schema("cogs", "order_id"), record("cogs", order_id=1, line_item_id="L1", sku="", product_cogs="2.50")],
        {"cogs": [{"orderId": "1", "lineItemId": "L1", "productCogs": 2.5}]},
    ),
    "a field that a later version knows is rejected with the setting": Case(
        [schema("orders"), record("orders", **ORDER, lineItems=[SOLD | {"bundledProducts": [SOLD]}])],
        error="target-klar rejected orders 1: lineItems[0].bundledProducts is known to Klar from version 07.2025 "
        "on; set `orders_api_versi",
    ),
    "a tax rate in percent is warned of": Case(
        [schema("orders"), record("orders", **ORDER, lineItems=[SOLD | {"taxes": [{"taxRate": 19}]}])],
        {"orders": [ORDER | {"lineItems": [SOLD | {"taxes": [{"taxRate": 19}]}]}]},
        ("orders: 1 of 1 records (100 %) with a tax rate above 1, such as 1 [tax_rate_above_1]",),
    ),
    "parcels that the tap tells apart are parts, with equal amounts too": Case(
        [schema("logistics_costs", "parcel", orderId={}, totalLogisticsCosts={})]
        + [record("logistics_costs", parcel=each, orderId="1", totalLogisticsCosts=4.9) for each in (1, 2)],
        {"logistics_costs": [{"orderId": "1", "totalLogisticsCosts": 4.9}]},
        (
            "logistics_costs: fields that Klar does not know were omitted: parcel",
            "logistics_costs: 1 key (orderId) came again with different values of the tap's own key (parcel), and Klar",
        ),
    ),
    "of two spellings of a field the one that holds something counts": Case(
        [schema("orders"), record("orders", **ORDER, lineItems=[SOLD], cancelledAt=None, cancelled_at=GONE)],
        {"orders": [ORDER | {"lineItems": [SOLD], "cancelledAt": 1_778_061_600}]},
    ),
    "a column that is nearly the one that cancels an order is told": Case(
        [schema("orders"), record("orders", **ORDER, lineItems=[SOLD], canceled_at=GONE, note="")],
        {"orders": [ORDER | {"lineItems": [SOLD]}]},
        ("orders: fields that Klar does not know were omitted: canceled_at (did you mean `cancelledAt`?), note. ",),
    ),
    "an id that went through a float is rejected": Case(
        [schema("transaction_costs", "order_id")]
        + [record("transaction_costs", order_id=7.205759406317978e17, transaction_costs=each) for each in (1.5, 2.5)],
        error="target-klar rejected transaction_costs (no key, record 1 of the run): orderId must be text that is not "
        "empty (found number 7.205759406317978E+17, which went through a float",
    ),
    "another mark of deletion is named with the map": Case(
        [schema("refunds"), DELETED_ELSEWHERE], {"refunds": [REFUND]}, (OMITTED, OTHER_MARK)
    ),
    "another mark of deletion is named with the map, where deletions cancel too": Case(
        [schema("refunds"), DELETED_ELSEWHERE],
        {"refunds": [REFUND]},
        (OMITTED, OTHER_MARK),
        settings={"hard_delete": True},
    ),
    "that map cancels it": Case(
        [schema("refunds"), DELETED_ELSEWHERE],
        {"refunds": [REFUND | {"lineItems": []}]},
        settings={"stream_maps": MARK_MAP, "hard_delete": True},
    ),
    "a filter that drops everything is told": Case(
        [schema("returns", state={}), *(record("returns", **REFUND, state="refunded") for _ in range(2))],
        warnings=(
            "The stream map of returns compares text with the same in other letters, which it never equals: `state == ",
            "The `__filter__` in the stream map of returns dropped all 2 records, so nothing of it was loaded.",
        ),
        settings=map_of("returns", "refunds", __filter__="state == 'Refunded'"),
    ),
}


def held(klar: Sandbox) -> dict[str, list[Message]]:
    objects = {stream: json.loads(json.dumps([*klar.held(stream).values()], default=float)) for stream in CONTRACTS}
    return {stream: each for stream, each in objects.items() if each}


def begin(texts: list[str], beginnings: tuple[str, ...]) -> bool:
    return len(texts) == len(beginnings) and all(map(str.startswith, texts, beginnings))


@pytest.mark.parametrize("name", CASES)
def test_an_input_that_once_went_wrong_loads_what_is_meant_or_stops(klar: Sandbox, name: str) -> None:
    case = CASES[name]
    ended = run(klar, [*case.lines, state(1)], **case.settings)
    assert (ended.code, ended.states) == ((1, []) if case.error else (0, [1]))
    assert begin(ended.errors, (case.error,) * bool(case.error)), ended.errors
    assert begin(ended.warnings, case.warnings), ended.warnings
    assert held(klar) == case.holds


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.error])
def test_a_dry_run_of_an_input_that_once_went_wrong_says_the_same_and_loads_nothing(klar: Sandbox, name: str) -> None:
    case = CASES[name]
    ended = run(klar, [*case.lines, state(1)], **case.settings, validate_only=True)
    assert (ended.code, ended.errors, ended.states, held(klar)) == (0, [], [], {})
    assert begin(ended.warnings, case.warnings), ended.warnings


def test_what_klar_rejects_of_a_renamed_stream_is_in_the_file_under_the_taps_own_name(tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    texts = [json.dumps(record("order_refunds", **REFUND | {"id": each})) for each in "012"]
    with Sandbox(refuse=lambda sent: sent.get("id") == "1") as klar:
        ended = run(
            klar,
            [schema("order_refunds"), *texts, state(1)],
            rejects_path=str(rejects),
            **map_of("order_refunds", "refunds"),
        )
        assert (ended.code, ended.states, set(klar.refunds)) == (0, [1], {"0", "2"})
    written = json.loads(rejects.read_text().splitlines()[1])
    assert (written["stream"], written["record"], written["source"]) == ("order_refunds", REFUND, "klar")
    assert json.dumps(REFUND) in rejects.read_text(), "with the bytes that the tap wrote"


def test_the_rejects_file_sent_again_never_puts_an_older_version_over_a_newer_one(
    klar: Sandbox, tmp_path: Path
) -> None:
    rejects, again = tmp_path / "rejects.jsonl", tmp_path / "again.jsonl"
    costs = [record("transaction_costs", order_id="A-1", transaction_costs=each) for each in ("1,10", "2.20")]
    head = schema("transaction_costs", "order_id", transaction_costs={})
    assert run(klar, [head, *costs, state(1)], rejects_path=str(rejects)).code == 0
    rejects.rename(again)
    fixed = {"transaction_costs": {"transaction_costs": "str(transaction_costs).replace(',', '.')"}}
    ended = run(klar, again, stream_maps=fixed)
    assert (ended.code, ended.errors) == (0, [])
    assert held(klar) == {"transaction_costs": [{"orderId": "A-1", "transactionCosts": 2.2}]}
