"""The data quality rules of a refund and its lines: what Klar would take and no shop can mean."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from target_klar.contract.quality import SMALLEST, Rule, fractional_quantities, not_empty, with_field_limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_klar.contract.quality import Values

_FEW: Final = 3
"""How many refunds have to be there before something that may be chance in one of them is warned of."""

# The id of a line

_ORDER_NAME: Final = re.compile(r"#[A-Za-z]*\d+", re.ASCII)

ORDER_NAME: Final = Rule(
    "order_name",
    "an order's name (`#1001`) as `lineItemId`",
    "Klar matches refunds by the id of the order's line: map the column that has it.",
    lambda ids: [each for each in ids if _ORDER_NAME.fullmatch(each)],
    clean=lambda ids: "#" not in "".join(ids),
    least=_FEW,
    share=0.5,
)

# All lines


def _several(refunds: Values) -> list[Any]:
    return [lines for lines in refunds if len(lines) > 1]


def _none_is_alike(refunds: Values) -> bool:
    return sum(map(len, refunds)) == len({line.lineItemId for lines in refunds for line in lines})


def _alike(refunds: Values) -> list[Any]:
    """Return the lines of those refunds in which two have one `lineItemId`."""
    return [lines for lines in refunds if len(lines) > len({line.lineItemId for line in lines})]


def _has_repeated(lines: Sequence[Any]) -> bool:
    return len(lines) > len({(line.lineItemId, line.id) for line in lines})


REPEATED_LINE_ITEM_ID: Final = Rule(
    "repeated_line_item_id",
    "two lines of one `lineItemId` that no `id` tells apart",
    "No page of Klar's says whether it adds them up. If it is the id of the order, map that of its line; if not, give "
    "each line an `id`, or add up their pieces.",
    lambda refunds: [lines for lines in _alike(refunds) if _has_repeated(lines)],
    among=_several,
    clean=_none_is_alike,
)
SAME_LINE_ITEM_ID: Final = Rule(
    "same_line_item_id",
    "the same `lineItemId` on each of several lines",
    "It looks like the id of the order: map that of its line.",
    lambda refunds: [
        lines for lines in _alike(refunds) if len({line.lineItemId for line in lines}) == 1 and not _has_repeated(lines)
    ],
    among=_several,
    counts_among=True,
    clean=_none_is_alike,
    least=_FEW,
    share=0.5,
)


MOSTLY_CANCELLED: Final = Rule(
    "mostly_cancelled",
    "empty `lineItems`, which cancel the refund",
    "Check the column of `lineItems`, and what the expression of a stream map leaves out of it. Ignore this if they "
    "were taken back.",
    lambda refunds: [lines for lines in refunds if not lines],
    narrowed=lambda node: node | {"minItems": 1},
    least=20,
    share=0.9,
)
ZERO_QUANTITIES: Final = Rule(
    "zero_quantities",
    "no refunded piece on any line",
    "Goodwill refunds have no pieces, but hardly half of all refunds are goodwill: check the column of "
    "`refundedQuantity`.",
    lambda refunds: [lines for lines in refunds if not any(line.refundedQuantity for line in lines)],
    narrowed=lambda node: (
        node | {"minItems": 1, "items": with_field_limits(node["items"], "refundedQuantity", minimum=SMALLEST)}
    ),
    among=not_empty,
    counts_among=True,
    share=0.5,
    or_equal=True,
)


FRACTIONAL_QUANTITIES: Final = fractional_quantities("refundedQuantity")

FEW_LINE_ITEM_IDS: Final = Rule(
    "few_line_item_ids",
    "a `lineItemId` that other refunds have as well, five of them or more on average",
    "A refund names no order, so Klar finds the line by this id alone: map the id of the order's line, not that of a "
    "product, a size or a position.",
    lambda refunds: refunds,
    among=lambda refunds: [each for each in refunds if each.lineItems],
    counts_among=True,
    alike=lambda refunds: (
        {line.lineItemId for refund in refunds for line in refund.lineItems},
        {refund.id for refund in refunds},
    ),
    least=20,
    share=1,
    or_equal=True,
)

# The whole refund

OWN_ID: Final = Rule(
    "line_item_id_is_own_id",
    "the `id` of the refund, or that of its line, as `lineItemId`",
    "Klar matches refunds by the id of the order's line: map the column that has it. If it is that, leave out the "
    "line's `id`.",
    lambda refunds: [
        each for each in refunds if each.lineItems and (line := each.lineItems[0]).lineItemId in (each.id, line.id)
    ],
    least=_FEW,
    share=0.5,
)
