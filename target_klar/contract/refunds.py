"""A refund, as Klar's Refunds page and its page on the objects Refund and RefundedLineItem describe it.

Which fields are required is our reading: those without which the object says nothing. A refund has quantities and no
amounts.
"""

from __future__ import annotations

from typing import Final

from target_klar.contract.schema import array, closed, key, number, text, time

REFUNDED_LINE_ITEM: Final = closed(
    "What was refunded of one line of an order.",
    ["lineItemId", "refundedQuantity"],
    id=text("of this refunded line"),
    lineItemId=text("the `id` of the line item in the order"),
    refundedQuantity=number("pieces"),
    reasonDescriptor=text("why, in any words"),
    createdAt=time("when the line was refunded"),
    processedAt=time("when the refund of the line was carried out"),
)

REFUND: Final = closed(
    "What was refunded of one order at one time.",
    ["id", "createdAt", "lineItems"],
    id=key("unique; sent again, the refund replaces the one that Klar has"),
    createdAt=time("when the refund was made"),
    updatedAt=time("when it was changed last"),
    lineItems=array(REFUNDED_LINE_ITEM, "the refunded lines; none of them cancels the refund"),
)
