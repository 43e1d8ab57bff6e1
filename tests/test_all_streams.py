"""Klar's five streams, over the whole program: rows of a database, and each object that Klar then holds."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from forked import run
from messages import record, schema, state

from target_klar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOON = 1_704_110_400  # 2024-01-01T12:00:00Z
ADDRESS = "anna@customer.example"


def row(number: int) -> dict[str, Any]:
    """An order of `number` lines as a database writes it: snake case, JSON text, numeric text, SQL times, 0 and 1."""
    lines = [
        {
            "id": number * 1000 + each,
            "sku": f"SKU-{each}",
            "quantity": "2",
            "total_amount_before_taxes_and_discounts": "7.00",
            "total_amount_after_taxes_and_discounts": "4.710000000000000019",
            "taxes": [{"title": "VAT", "tax_rate": "0.07", "tax_amount": "0.17"}],
            "discounts": json.dumps([{"is_voucher": 1, "voucher_code": "TEN", "discount_amount": 0.98}]),
            "warehouse": "B",
        }
        for each in range(number)
    ]
    return {
        "id": number,
        "created_at": "2024-01-01 12:00:00",
        "cancelled_at": None,
        "currency_code_iso3_letter": "EUR",
        "line_items": json.dumps(lines),
        "shipping": json.dumps({"city": "Hof", "total_logistics_costs": "4.90", "taxes": []}),
        "customer": {"id": number, "email": ADDRESS, "is_newsletter_subscriber_at_time_of_checkout": "false"},
        "optional_identifiers": {"is_subscription_order": 0, "utm_source": None},
    }


def held_order(number: int) -> dict[str, Any]:
    """What Klar holds of it."""
    lines = [
        {
            "id": str(number * 1000 + each),
            "sku": f"SKU-{each}",
            "quantity": 2,
            "totalAmountBeforeTaxesAndDiscounts": Decimal("7.00"),
            "totalAmountAfterTaxesAndDiscounts": Decimal("4.710000000000000019"),
            "taxes": [{"title": "VAT", "taxRate": Decimal("0.07"), "taxAmount": Decimal("0.17")}],
            "discounts": [{"isVoucher": True, "voucherCode": "TEN", "discountAmount": Decimal("0.98")}],
        }
        for each in range(number)
    ]
    return {
        "id": str(number),
        "createdAt": NOON,
        "currencyCodeIso3Letter": "EUR",
        "lineItems": lines,
        "shipping": {"city": "Hof", "totalLogisticsCosts": Decimal("4.90"), "taxes": []},
        "customer": {"id": str(number), "email": ADDRESS, "isNewsletterSubscriberAtTimeOfCheckout": False},
        "optionalIdentifiers": {"isSubscriptionOrder": False},
    }


def orders(count: int) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """The first orders as rows, and what Klar holds of them."""
    numbers = range(1, count + 1)
    return [row(number) for number in numbers], {str(number): held_order(number) for number in numbers}


# For each stream rows of a database, and what Klar holds of them by what tells them apart.
ROWS: dict[str, tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]] = {
    "refunds": (
        [{"id": 1, "created_at": "2024-01-01T12:00:00Z", "line_items": '[{"line_item_id":5,"refunded_quantity":"1"}]'}],
        {"1": {"id": "1", "createdAt": NOON, "lineItems": [{"lineItemId": "5", "refundedQuantity": 1}]}},
    ),
    "transaction_costs": (
        [{"order_id": 1, "transaction_costs": "1.10"}],
        {"1": {"orderId": "1", "transactionCosts": Decimal("1.10")}},
    ),
    "logistics_costs": (
        [{"order_id": 1, "total_logistics_costs": "0"}, {"ORDERID": 2, "TOTALLOGISTICSCOSTS": 4.90}],
        {"1": {"orderId": "1", "totalLogisticsCosts": 0}, "2": {"orderId": "2", "totalLogisticsCosts": Decimal("4.9")}},
    ),
    "cogs": (
        [
            {"order_id": 1, "sku": "A", "line_item_id": None, "product_cogs": "2.345"},
            {"order_id": 1, "sku": "B", "product_cogs": 1},
            {"order_id": 1, "line_item_id": 7, "product_cogs": 3},
            {"order_id": 1, "sku": "A", "product_cogs": "2.346"},
        ],
        {
            "1 sku=B": {"orderId": "1", "sku": "B", "productCogs": 1},
            "1 lineItemId=7": {"orderId": "1", "lineItemId": "7", "productCogs": 3},
            "1 sku=A": {"orderId": "1", "sku": "A", "productCogs": Decimal("2.346")},
        },
    ),
    "orders": orders(5),
}
ORDERS_SCHEMA = schema("orders")


def messages(stream: str, rows: list[dict[str, Any]]) -> Iterator[Any]:
    yield schema(stream, "id" if stream in ("refunds", "orders") else "order_id")
    yield from (record(stream, **each) for each in rows)


def test_five_streams_arrive_in_one_run_digit_for_digit(klar: Sandbox) -> None:
    streams = ROWS | {"orders": orders(200)}
    lines = [each for stream, (rows, _) in streams.items() for each in messages(stream, rows)]
    ended = run(klar, [*lines, state(1)])
    assert (ended.code, ended.states) == (0, [1])
    for stream, (_, expected) in streams.items():
        assert klar.held(stream) == expected, stream
    assert ADDRESS not in ended.err


@pytest.mark.parametrize("stream", ROWS)
def test_a_dry_run_asks_klar_where_klar_has_a_dry_run_and_loads_nothing(klar: Sandbox, stream: str) -> None:
    ended = run(klar, [*messages(stream, ROWS[stream][0]), state(1)], validate_only=True)
    assert (ended.code, ended.states) == (0, [])
    assert klar.held(stream) == {}
    asked = {request.path.rpartition("/")[2] for request in klar.requests if request.method == "POST"}
    assert asked == (set() if stream == "transaction_costs" else {"validate"})


@pytest.mark.parametrize("style", ["index", "tree", "ids", "opaque", "207"])
@pytest.mark.parametrize("stream", ROWS)
def test_one_object_that_klar_refuses_does_not_hold_back_the_others(
    klar: Sandbox, tmp_path: Path, stream: str, style: Any
) -> None:
    objects = list(ROWS[stream][1].values())
    unwanted = objects.pop()
    klar.refuse, klar.refuse_style = (lambda sent: sent == unwanted), style
    rejects = tmp_path / "rejects.jsonl"
    ended = run(klar, [*messages(stream, ROWS[stream][0]), state(1)], rejects_path=str(rejects))
    assert (ended.code, ended.states) == (0, [1])
    assert list(klar.held(stream).values()) == objects
    assert len([line for line in rejects.read_text().splitlines() if '"type":"RECORD"' in line]) == 1
    assert ADDRESS not in ended.err


def test_a_first_request_that_klar_took_in_part_is_not_taken_for_the_one_that_is_counted(tmp_path: Path) -> None:
    """Klar names the order of a refused object, and several have it, so each is sent anew while the status lags."""
    costs = [record("cogs", orderId="1", sku=sku, productCogs=2.5) for sku in "ABCD"]
    with Sandbox(
        latency=0.5, status_lag=1, refuse=lambda sent: sent["sku"] == "D" and "no", refuse_style="207"
    ) as klar:
        lines = [schema("cogs"), *costs, state(1)]
        ended = run(klar, lines, rejects_path=str(tmp_path / "rejects.jsonl"), checkpoint_interval_seconds=0)
        assert (ended.code, ended.states, len(klar.held("cogs"))) == (0, [1], 3), ended.err


def test_a_rate_in_the_wrong_place_of_an_order_is_told_by_its_path_in_klars_words_too(klar: Sandbox) -> None:
    bad = row(4) | {"line_items": [{"id": 1, "quantity": 1, "taxes": [{"tax_rate": "17%"}]}]}
    ended = run(klar, [ORDERS_SCHEMA, record("orders", **bad)])
    assert ended.code == 1
    assert (
        'target-klar rejected orders 4: lineItems[0].taxes[0].taxRate must be a number (found text "17%")'
        in ended.errors[0]
    )

    ended = run(klar, [ORDERS_SCHEMA, record("orders", **bad)], validate_records=False)
    assert ended.code == 1
    assert "Klar rejected orders 4: lineItems[0].taxes[0].taxRate must be a number" in ended.errors[0]
    assert "target-klar rejected" not in ended.errors[0]


def test_cogs_without_their_whole_key_are_rejected_and_do_not_replace_each_other_also_without_validation(
    klar: Sandbox, tmp_path: Path
) -> None:
    rejects = tmp_path / "rejects.jsonl"
    rows: list[dict[str, Any]] = [
        {"ean": "a"},
        {"ean": "b"},
        {"sku": ""},
        {"sku": [1]},
        {"lineItemId": 1.5, "sku": "A"},
        {"sku": "A"},
    ]
    lines = [schema("cogs", "orderId"), *(record("cogs", orderId="1", productCogs=5, **each) for each in rows)]
    ended = run(klar, [*lines, state(1)], validate_records=False, rejects_path=str(rejects))
    assert (ended.code, ended.states, len(klar.held("cogs"))) == (0, [1], 1), ended.err
    assert {"read": 6, "stored": 1, "merged": 0, "rejected": 5}.items() <= ended.counts("cogs").items()


def test_cogs_need_a_line_item_or_a_sku(klar: Sandbox) -> None:
    ended = run(klar, [schema("cogs", "order_id"), record("cogs", order_id=1, product_cogs=2)])
    assert ended.code == 1
    assert "target-klar rejected cogs 1: lineItemId or sku is required." in ended.errors[0]


PERSONAL = {
    "customer": {"email": [ADDRESS], "id": "x"},
    "shipping": {"city": [ADDRESS], "zip_or_postal_code": 95028.5},
}


@pytest.mark.parametrize("name", PERSONAL)
@pytest.mark.parametrize("validate", [True, False])
def test_no_message_shows_what_stands_below_a_customer_or_an_address(
    klar: Sandbox, tmp_path: Path, name: str, *, validate: bool
) -> None:
    bad = row(1) | {name: PERSONAL[name]}
    ended = run(
        klar,
        [ORDERS_SCHEMA, record("orders", **bad), record("orders", **row(2))],
        validate_records=validate,
        rejects_path=str(tmp_path / "rejects"),
    )
    assert ended.code == 0
    assert f"{'target-klar' if validate else 'Klar'} rejected orders 1: {name}." in ended.err
    assert "customer.example" not in ended.err
    assert "95028" not in ended.err
    assert set(klar.orders) == {"2"}


def test_bundled_products_need_a_version_that_knows_them(klar: Sandbox) -> None:
    bundle = row(1) | {"line_items": [{"id": 1, "quantity": 1, "bundled_products": [{"id": 2, "quantity": 3}]}]}
    lines = [ORDERS_SCHEMA, record("orders", **bundle)]
    ended = run(klar, lines)
    assert ended.code == 1
    why = "lineItems[0].bundledProducts is known to Klar from version 07.2025 on; set `orders_api_version`"
    assert why in ended.errors[0]

    assert run(klar, lines, orders_api_version="07.2025").code == 0
    assert klar.orders["1"]["lineItems"][0]["bundledProducts"] == [{"id": "2", "quantity": 3}]


def test_a_deleted_order_is_cancelled_if_it_came_whole_and_else_skipped(klar: Sandbox) -> None:
    gone = {"_sdc_deleted_at": "2024-01-01T12:00:00Z"}
    lines = [ORDERS_SCHEMA, *(record("orders", **row(number)) for number in (1, 2, 3))]
    lines += [record("orders", **row(1) | gone), record("orders", id=2, **gone)]
    ended = run(klar, lines, hard_delete=True)
    assert ended.code == 0
    assert klar.orders == {"1": held_order(1) | {"cancelledAt": NOON}, "3": held_order(3)}, (
        "2 is deleted before it is sent"
    )
    assert ended.said("1 deleted record skipped")


def test_amounts_that_look_like_a_mistake_are_counted(klar: Sandbox) -> None:
    lines = [ORDERS_SCHEMA]
    for number, wrong in enumerate([{"taxes": [{"taxRate": 19}]}, {"taxes": [{"taxRate": 7}]}, {}]):
        amounts = {"totalAmountAfterTaxesAndDiscounts": 8 + number, "totalAmountBeforeTaxesAndDiscounts": 9}
        item = {"id": "1", "quantity": 1} | amounts | wrong
        lines.append(record("orders", id=str(number), createdAt=NOON, lineItems=[item]))
    ended = run(klar, lines)
    assert ended.code == 0
    assert ended.said(
        "orders: 2 of 3 records (66.7 %) with a tax rate above 1, such as 0 [tax_rate_above_1]. Klar wants"
    )
    assert ended.said("orders: 1 of 3 records (33.3 %) with a line whose total after taxes and discounts is above its")
