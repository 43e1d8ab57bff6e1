"""What an engineer writes by hand to load one source into Klar.

A process that runs `python tests/benchmark/hand_written.py SOURCE --config FILE`.

`SOURCE` is one of the functions below that make Klar's object of a row. Nothing is checked but the status
of each answer, and nothing is tried again. The file gives `api_url` and `api_token`.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 1000
REFUNDS_PATH = "12.2022/refunds/json"
COSTS_PATH = "06.2024/transaction-costs/json"
ORDERS_PATH = "12.2022/orders/json"


def seconds(text: str) -> int:
    """Return Unix seconds; a time without a zone is UTC."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return int(time.timestamp())


def refund_rows(row: dict[str, Any]) -> dict[str, Any]:
    """Make a refund of a database's row."""
    return {
        "id": str(row["id"]),
        "createdAt": seconds(row["created_at"]),
        "updatedAt": seconds(row["updated_at"]),
        "lineItems": [
            {
                "id": str(line["id"]),
                "lineItemId": line["line_item_id"],
                "refundedQuantity": float(line["refunded_quantity"]),
                "reasonDescriptor": line["reason_descriptor"],
            }
            for line in json.loads(row["line_items"])
        ],
    }


def cost_rows(row: dict[str, Any]) -> dict[str, Any]:
    """Make a cost of a database's row."""
    return {"orderId": str(row["order_id"]), "transactionCosts": float(row["transaction_costs"])}


def order_rows(row: dict[str, Any]) -> dict[str, Any]:
    """Make an order of a database's row."""
    shipping = json.loads(row["shipping"])
    return {
        "id": str(row["id"]),
        "createdAt": seconds(row["created_at"]),
        "updatedAt": seconds(row["updated_at"]),
        "currencyCodeIso3Letter": row["currency_code_iso3_letter"],
        "financialStatus": row["financial_status"],
        "lineItems": [
            {
                "id": str(line["id"]),
                "sku": line["sku"],
                "productName": line["product_name"],
                "productCogs": float(line["product_cogs"]),
                "quantity": float(line["quantity"]),
                "totalAmountBeforeTaxesAndDiscounts": float(line["total_amount_before_taxes_and_discounts"]),
                "totalAmountAfterTaxesAndDiscounts": float(line["total_amount_after_taxes_and_discounts"]),
                "taxes": [
                    {
                        "title": tax["title"],
                        "taxRate": float(tax["tax_rate"]),
                        "taxAmount": float(tax["tax_amount"]),
                    }
                    for tax in line["taxes"]
                ],
            }
            for line in json.loads(row["line_items"])
        ],
        "shipping": {
            "city": shipping["city"],
            "countryCodeIso2Letter": shipping["country_code_iso2_letter"],
            "totalLogisticsCosts": float(shipping["total_logistics_costs"]),
        },
        "customer": {"id": str(row["customer"]["id"]), "email": row["customer"]["email"]},
    }


def shopify_refunds(row: dict[str, Any]) -> dict[str, Any] | None:
    """Make a refund of what tap-shopify writes, if it has lines."""
    if not row["refundLineItems"]:
        return None
    return {
        "id": row["legacyResourceId"],
        "createdAt": seconds(row["createdAt"]),
        "updatedAt": seconds(row["updatedAt"]),
        "lineItems": [
            {
                "id": line["id"].split("/")[-1],
                "lineItemId": line["lineItem"]["id"].split("/")[-1],
                "refundedQuantity": line["quantity"],
            }
            for line in row["refundLineItems"]
        ],
    }


SOURCES: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any] | None], str]] = {
    "refund_rows": (refund_rows, REFUNDS_PATH),
    "cost_rows": (cost_rows, COSTS_PATH),
    "order_rows": (order_rows, ORDERS_PATH),
    "shopify_refunds": (shopify_refunds, REFUNDS_PATH),
}


def main() -> None:
    """Load the one stream on stdin, and print its last STATE."""
    make, path = SOURCES[sys.argv[1]]
    config = json.loads(Path(sys.argv[3]).read_text())
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {config['api_token']}"

    def send() -> None:
        body = {"items": batch} if path == COSTS_PATH else batch
        session.post(f"{config['api_url']}/{path}", json=body, timeout=60).raise_for_status()
        batch.clear()

    batch: list[dict[str, Any]] = []
    state = None
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "RECORD":
            made = make(message["record"])
            if made:
                batch.append(made)
            if len(batch) == BATCH:
                send()
        elif message["type"] == "STATE":
            state = message["value"]
    if batch:
        send()
    if state is not None:
        print(json.dumps(state))


if __name__ == "__main__":
    main()
