"""What orders cost, as Klar's Transaction Costs page describes it. Amounts are in the currency of the order."""

from __future__ import annotations

from typing import Final

from target_klar.contract.schema import closed, key, number

TRANSACTION_COSTS: Final = closed(
    "What the merchant paid the payment providers for one order.",
    ["orderId", "transactionCosts"],
    orderId=key("the order's id, on Shopify not its name; sent again, the costs replace those that Klar has"),
    transactionCosts=number("all of it, in major units: 3.50"),
)
