"""What orders cost: transaction costs, logistics costs, and COGS (the cost of goods sold).

From Klar's pages Transaction Costs, Logistics Costs and COGS, and the objects named there. Amounts are in major units
(3.50) and in the currency of the order. Which fields are required is our reading: those without which nothing is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from target_klar.contract.id_rules import ORDER_NAME, PAYMENT_ID, UNMATCHABLE_ID, UNMATCHABLE_SKU, not_a_placeholder
from target_klar.contract.quality import only_cost, with_rules
from target_klar.contract.schema import at_least_one, closed, key, number

if TYPE_CHECKING:
    from target_klar.contract.quality import Rule
    from target_klar.contract.schema import Node


def _order_id(description: str, *rules: Rule) -> Node:
    return with_rules(not_a_placeholder(key(description)), UNMATCHABLE_ID, *rules)


TRANSACTION_COST: Final = closed(
    "What the merchant paid the payment providers for one order.",
    ["orderId", "transactionCosts"],
    orderId=_order_id(
        "the order's id, on Shopify not its name; sent again, the costs replace those that Klar has",
        ORDER_NAME,
        PAYMENT_ID,
    ),
    transactionCosts=only_cost(number("all fees of the order, as one amount"), usual_cents=20),
)

LOGISTICS_COST: Final = closed(
    "What the merchant paid to ship one order.",
    ["orderId", "totalLogisticsCosts"],
    orderId=_order_id("the order's id at Klar; sent again, the costs replace those that Klar has"),
    totalLogisticsCosts=only_cost(
        number("all shipping costs of the order, without tax; 0 is allowed (the page's example)")
    ),
)

# That `orderId` with `lineItemId` or `sku` is the key, and that both may be there, is our reading.
COGS: Final = at_least_one(
    ["lineItemId", "sku"],
    closed(
        "What one product in one order cost the merchant.",
        ["orderId", "productCogs"],
        orderId=_order_id("the order's id at Klar"),
        lineItemId=with_rules(not_a_placeholder(key("the line item in the order, by its `id`")), UNMATCHABLE_ID),
        sku=with_rules(not_a_placeholder(key("the product, where there is no line item to name")), UNMATCHABLE_SKU),
        productCogs=only_cost(number("landed cost of one piece, without VAT")),
    ),
)
