"""A refund, as Klar's Refunds page and its page on the objects Refund and RefundedLineItem describe it.

Which fields are required is our reading: those without which the object says nothing. A refund has quantities and no
amounts.
"""

from __future__ import annotations

from typing import Any, Final

from target_klar.contract.id_rules import UNMATCHABLE_ID, not_a_placeholder
from target_klar.contract.quality import HUGE_QUANTITY, IMPLAUSIBLE_TIME, limited, with_rules
from target_klar.contract.refund_rules import (
    FEW_LINE_ITEM_IDS,
    FRACTIONAL_QUANTITIES,
    MOSTLY_CANCELLED,
    ORDER_NAME,
    OWN_ID,
    REPEATED_LINE_ITEM_ID,
    SAME_LINE_ITEM_ID,
    ZERO_QUANTITIES,
)
from target_klar.contract.schema import array, closed, key, number, text, time

_EMPTY_LINE_ITEM_ID: Final = "it is the id of no line: leave such lines out, or map the column that has it"
_NEGATIVE_QUANTITY: Final = (
    "if the source writes all of them negative, as WooCommerce does, negate them in a stream map (`-quantity`)"
)

REFUNDED_LINE_ITEM: Final = closed(
    "What was refunded of one line of an order.",
    ["lineItemId", "refundedQuantity"],
    id=text("of this refunded line"),
    lineItemId=with_rules(
        limited(text("the `id` of the line item in the order"), "empty_line_item_id", _EMPTY_LINE_ITEM_ID, minLength=1),
        UNMATCHABLE_ID,
        ORDER_NAME,
    ),
    refundedQuantity=with_rules(
        limited(number("pieces"), "negative_quantity", _NEGATIVE_QUANTITY, minimum=0), HUGE_QUANTITY
    ),
    reasonDescriptor=text("why, in any words"),
    createdAt=time("when the line was refunded"),
    processedAt=time("when the refund of the line was carried out"),
)

REFUND: Final = with_rules(
    closed(
        "What was refunded of one order at one time, in pieces: Klar takes no amounts.",
        ["id", "createdAt", "lineItems"],
        id=not_a_placeholder(key("unique; sent again, the refund replaces the one that Klar has")),
        createdAt=with_rules(time("when the refund was made"), IMPLAUSIBLE_TIME),
        updatedAt=with_rules(time("when it was changed last"), IMPLAUSIBLE_TIME),
        lineItems=with_rules(
            array(REFUNDED_LINE_ITEM, "the refunded lines; an empty array cancels the refund"),
            MOSTLY_CANCELLED,
            ZERO_QUANTITIES,
            REPEATED_LINE_ITEM_ID,
            SAME_LINE_ITEM_ID,
            FRACTIONAL_QUANTITIES,
        ),
    ),
    OWN_ID,
    FEW_LINE_ITEM_IDS,
)


def pieces_of(refund: Any) -> float:
    """Return how many pieces were refunded."""
    pieces = 0.0
    for line in refund.lineItems:
        pieces += line.refundedQuantity
    return pieces
