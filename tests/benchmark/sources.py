"""Streams as taps write them, generated for the benchmark: in Klar's own form, rows of a database, Shopify's refunds.

Plain arithmetic in place of chance, so that every run measures the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, eq=False)
class Source:
    """A stream of some tap, and the stream maps with which target-klar loads it."""

    name: str
    """What the tables call it; no two have the same."""
    stream: str
    """Its name in the tap's messages."""
    key: str
    properties: dict[str, Any] = field(repr=False)
    """Of the tap's JSON Schema."""
    record: Callable[[int], dict[str, Any]] = field(repr=False)
    """Makes the record of a position."""
    script: str = ""
    """Which part of `hand_written.py` is for it."""
    stream_maps: dict[str, Any] = field(default_factory=dict, repr=False)

    def lines(self, rows: int) -> Iterator[str]:
        """Yield the stream as a tap writes it, with a STATE after every thousand records."""
        schema = {"type": "object", "properties": self.properties, "required": [self.key]}
        yield _line(type="SCHEMA", stream=self.stream, schema=schema, key_properties=[self.key])
        for position in range(1, rows + 1):
            yield _line(type="RECORD", stream=self.stream, record=self.record(position))
            if position % 1000 == 0 or position == rows:
                yield _line(type="STATE", value={"rows": position})


def _line(**message: Any) -> str:
    return json.dumps(message) + "\n"


# In Klar's own form

_START = 1_700_000_000


def _refund(position: int) -> dict[str, Any]:
    created = _START + position
    items = [
        {
            "id": f"RL{position}-{each}",
            "lineItemId": f"L{position}-{each}",
            "refundedQuantity": each,
            "reasonDescriptor": "too small",
            "createdAt": created,
            "processedAt": created + 60,
        }
        for each in range(1, 2 + position % 2)
    ]
    return {"id": f"R{position}", "createdAt": created, "updatedAt": created + 60, "lineItems": items}


def _cost(position: int) -> dict[str, Any]:
    return {"orderId": str(5_300_000_000 + position), "transactionCosts": _cents(position) / 100}


def _cents(position: int) -> int:
    return 35 + position * 7919 % 1200


# As the SDK's `singer_sdk.typing` writes them for a tap.
_TEXT, _WHOLE, _NUMBER = ({"type": [name, "null"]} for name in ("string", "integer", "number"))
_TIME = {"type": ["string", "null"], "format": "date-time"}

KLAR_REFUNDS = Source(
    "refunds",
    stream="refunds",
    key="id",
    properties={
        "id": {"type": "string"},
        "createdAt": {"type": "integer"},
        "updatedAt": _WHOLE,
        "lineItems": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": _TEXT,
                    "lineItemId": {"type": "string"},
                    "refundedQuantity": {"type": "number"},
                    "reasonDescriptor": _TEXT,
                    "createdAt": _WHOLE,
                    "processedAt": _WHOLE,
                },
                "required": ["lineItemId", "refundedQuantity"],
            },
        },
    },
    record=_refund,
)
KLAR_COSTS = Source(
    "costs",
    stream="transaction_costs",
    key="orderId",
    properties={"orderId": {"type": "string"}, "transactionCosts": _NUMBER},
    record=_cost,
)


# Rows of a database

_ZONES = (UTC, None, timezone(timedelta(hours=2)))


def _refund_row(position: int) -> dict[str, Any]:
    items = [
        {
            "id": position * 10 + each,
            "line_item_id": f"{4_100_000 + position * 10 + each}",
            "refunded_quantity": f"{each}.00",
            "reason_descriptor": "too small",
        }
        for each in (1, 2)
    ]
    return {
        "id": 880_000 + position,
        "created_at": _time(position, _ZONES[position % 3]),
        "updated_at": _time(position + 60, _ZONES[position // 3 % 3]),
        "line_items": json.dumps(items),
        "customer_note": "Left at the neighbour's, came back by post",
        "warehouse": "north",
    }


def _cost_row(position: int) -> dict[str, Any]:
    return {
        "order_id": 5_300_000_000 + position,
        "transaction_costs": f"{_cents(position) / 100:.2f}",
        "currency": "EUR",
        "updated_at": _time(position, _ZONES[position % 3]),
    }


def _time(second: int, zone: timezone | None = UTC) -> str:
    return datetime.fromtimestamp(_START + second, zone or UTC).replace(tzinfo=zone).isoformat()


REFUND_ROWS = Source(
    "refund rows",
    stream="refunds",
    key="id",
    properties={
        "id": {"type": "integer"},
        "created_at": _TIME,
        "updated_at": _TIME,
        "line_items": _TEXT,
        "customer_note": _TEXT,
        "warehouse": _TEXT,
    },
    record=_refund_row,
    script="refund_rows",
)
COST_ROWS = Source(
    "cost rows",
    stream="transaction_costs",
    key="order_id",
    properties={"order_id": {"type": "integer"}, "transaction_costs": _TEXT, "currency": _TEXT, "updated_at": _TIME},
    record=_cost_row,
    script="cost_rows",
)


def _with_maps(rows: Source, other_stream: str, removed: str) -> list[Source]:
    """Return rows without a map, under another name that a map takes back, and with a map that removes a column."""
    renamed = {other_stream: {"__alias__": rows.stream}}
    return [
        rows,
        replace(rows, name=f"{rows.name}, `__alias__`", stream=other_stream, stream_maps=renamed),
        replace(rows, name=f"{rows.name}, a column removed", stream_maps={rows.stream: {removed: "__NULL__"}}),
    ]


_LINES_OF_AN_ORDER = 50


def _order_row(position: int) -> dict[str, Any]:
    lines = [
        {
            "id": position * 100 + each,
            "sku": f"SKU-{each}",
            "product_name": f"A shirt in size {each}",
            "product_cogs": f"{_cents(each) / 100:.2f}",
            "quantity": "2",
            "total_amount_before_taxes_and_discounts": "7.00",
            "total_amount_after_taxes_and_discounts": f"{_cents(position + each) / 1000:.3f}",
            "taxes": [{"title": "VAT", "tax_rate": "0.07", "tax_amount": "0.17"}],
            "warehouse": "north",
        }
        for each in range(_LINES_OF_AN_ORDER)
    ]
    return {
        "id": 990_000 + position,
        "created_at": _time(position, _ZONES[position % 3]),
        "updated_at": _time(position + 60, _ZONES[position // 3 % 3]),
        "currency_code_iso3_letter": "EUR",
        "financial_status": "paid",
        "line_items": json.dumps(lines),
        "shipping": json.dumps({"city": "Hof", "country_code_iso2_letter": "DE", "total_logistics_costs": "4.90"}),
        "customer": {"id": position, "email": f"{position}@customer.example"},
        "note": "Please ring twice",
    }


ORDER_ROWS = Source(
    "order rows of 50 lines",
    stream="orders",
    key="id",
    properties={
        "id": {"type": "integer"},
        "created_at": _TIME,
        "updated_at": _TIME,
        "currency_code_iso3_letter": _TEXT,
        "financial_status": _TEXT,
        "line_items": _TEXT,
        "shipping": _TEXT,
        "customer": {"type": ["object", "null"]},
        "note": _TEXT,
    },
    record=_order_row,
    script="order_rows",
)


ROWS = _with_maps(REFUND_ROWS, "refund_rows", "customer_note") + _with_maps(COST_ROWS, "cost_rows", "currency")


# Shopify's refunds, with the stream map of the recipe for them


def _shopify_refund(position: int) -> dict[str, Any]:
    money = {"presentmentMoney": {"amount": "19.99", "currencyCode": "EUR"}}
    lines = [
        {
            "id": f"gid://shopify/RefundLineItem/{104_689_000 + position * 10 + each}",
            "quantity": each,
            "restockType": "RETURN",
            "priceSet": money,
            "lineItem": {"id": f"gid://shopify/LineItem/{703_073_000 + position * 10 + each}", "title": "A shirt"},
        }
        for each in (1, 2)
    ]
    return {
        "id": f"gid://shopify/Refund/{929_361_000 + position}",
        "legacyResourceId": str(929_361_000 + position),
        "createdAt": _time(position),
        "updatedAt": _time(position + 60),
        "refundLineItems": lines,
    }


SHOPIFY = Source(
    "Shopify refunds, a list expression",
    stream="order_refunds",
    key="id",
    properties={
        "id": {"type": "string"},
        "legacyResourceId": _TEXT,
        "createdAt": _TIME,
        "updatedAt": _TIME,
        "refundLineItems": {"type": ["array", "null"], "items": {"type": "object"}},
    },
    record=_shopify_refund,
    script="shopify_refunds",
    stream_maps={
        "order_refunds": {
            "__alias__": "refunds",
            "__filter__": "bool(refundLineItems)",
            "id": "legacyResourceId",
            "createdAt": "createdAt",
            "updatedAt": "updatedAt",
            "lineItems": (
                "[{'id': line['id'].split('/')[-1], 'lineItemId': line['lineItem']['id'].split('/')[-1], "
                "'refundedQuantity': line['quantity']} for line in refundLineItems]"
            ),
            "__else__": "__NULL__",
        }
    },
)
