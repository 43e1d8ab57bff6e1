"""The data quality rules of an order, its lines, discounts and taxes: what Klar would take and no shop can mean."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from target_klar.contract.quality import (
    SMALLEST,
    Rule,
    amounts_in_cents,
    fractional_quantities,
    with_field_limits,
    zero_amounts,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_klar.contract.quality import Values

# One value

NEGATIVE_DISCOUNT: Final = Rule(
    "negative_discount",
    "a `discountAmount` below 0",
    "Klar wants discounts positive: in a stream map set `discountAmount` to `-column`.",
    lambda discounts: [each for each in discounts if each < 0],
    narrowed=lambda node: node | {"minimum": 0},
)
TAX_RATE_ABOVE_1: Final = Rule(
    "tax_rate_above_1",
    "a tax rate above 1",
    "Klar wants a fraction, 0.19 for 19 %: divide the rate by 100 in a stream map.",
    lambda rates: [each for each in rates if each > 1],
    narrowed=lambda node: node | {"maximum": 1},
)
NO_PIECES: Final = Rule(
    "no_pieces",
    "a line of 0 or fewer pieces",
    "Leave such lines out in a stream map, or check the column of `quantity`.",
    lambda pieces: [each for each in pieces if each <= 0],
    narrowed=lambda node: node | {"minimum": SMALLEST},
)

_LARGE_UNITS: Final = "AED, AUD, BGN, BRL, CAD, CHF, EUR, GBP, ILS, MYR, NZD, PLN, QAR, RON, SAR, SGD, USD"
"""Currencies with cents, of which a unit is worth so much that few lines cost a thousand; in any other, such as yen,
forints and crowns, whole amounts of that size are usual, and of prices such as 495 a tax of 25 % leaves whole ones. An
order without a currency may be in euros."""
_USUAL: Final = f"{_LARGE_UNITS}, CNY, CZK, DKK, HKD, HUF, ISK, JPY, KRW, MXN, NOK, SEK, TRY, UAH, ZAR".split(", ")
"""The currencies of most orders, which the decoder knows; any other is asked about, and may be as good."""
CURRENCY: Final = re.compile("[A-Z]{3}", re.ASCII)
MALFORMED_CURRENCY: Final = Rule(
    "malformed_currency",
    "a currency that is not three capitals",
    "Klar wants ISO 4217, such as EUR: use `upper()` in a stream map, or check the column.",
    lambda codes: [each for each in {*codes} if each and CURRENCY.fullmatch(each) is None],
    narrowed=lambda node: node | {"enum": _USUAL},
)

MOSTLY_CANCELLED: Final = Rule(
    "mostly_cancelled",
    "`cancelledAt`, which cancels the order",
    "Check its column, and the condition in a stream map: there the text `false` counts as true. Ignore this if they "
    "were cancelled.",
    lambda times: times,
    narrowed=lambda node: node | {"not": {}},
    least=20,
    share=0.9,
)

# A line

_ROUNDING: Final = 0.01
"""How far a net amount that was rounded may be above its gross."""


NET_ABOVE_GROSS: Final = Rule(
    "net_above_gross",
    "a line whose total after taxes and discounts is above its total before them",
    "Check which column is which; both amounts are for the whole line, not for a piece.",
    lambda lines: [
        line
        for line in lines
        if (net := line.totalAmountAfterTaxesAndDiscounts)
        and (gross := line.totalAmountBeforeTaxesAndDiscounts) is not UNSET
        and net > gross  # which is seldom, and told before the sum is made
        and net > gross + _ROUNDING
    ],
)

# All lines


_ids: Final = attrgetter("id")

DUPLICATE_LINE_IDS: Final = Rule(
    "duplicate_line_ids",
    "two lines of one `id`",
    "Refunds and COGS name a line by it: map the id of the line, not that of the product.",
    lambda orders: [lines for lines in orders if len(lines) > len({*map(_ids, lines)})],
    clean=lambda orders: sum(map(len, orders)) == len({line.id for lines in orders for line in lines}),
)


def _has_no_amount(line: Any) -> bool:
    return line.totalAmountBeforeTaxesAndDiscounts is UNSET and line.totalAmountAfterTaxesAndDiscounts is UNSET


NO_AMOUNTS: Final = Rule(
    "no_amounts",
    "no amount on any line",
    "Map `totalAmountBeforeTaxesAndDiscounts` and `totalAmountAfterTaxesAndDiscounts`; 0 is an amount.",
    # The first line mostly tells, without a call.
    lambda orders: [
        lines
        for lines in orders
        if lines and lines[0].totalAmountAfterTaxesAndDiscounts is UNSET and all(map(_has_no_amount, lines))
    ],
)


def _have_amounts(orders: Values) -> list[Any]:
    return [lines for lines in orders if not all(map(_has_no_amount, lines))]


def _has_price(line: Any) -> bool:
    return bool(line.totalAmountBeforeTaxesAndDiscounts or line.totalAmountAfterTaxesAndDiscounts)


ZERO_AMOUNTS: Final = replace(
    zero_amounts(
        "no amount but 0 on any line",
        lambda orders: any(map(_has_price, chain.from_iterable(orders))),
        lambda orders: [lines for lines in orders if not any(map(_has_price, lines))],
    ),
    among=_have_amounts,
    counts_among=True,
)

_HUNDREDFOLD: Final = 99, 260
"""How many times the net amount a gross one in cents is: from no tax, rounded, to a tax of 27 % and half price."""
_LEAST_NET: Final = 2
"""A lower net amount is that of a trial for 1, or of a gift for 0.01, whatever it cost before."""


def _in_mixed_units(lines: Values) -> bool:
    least, most = _HUNDREDFOLD
    priced = [line for line in lines if line.totalAmountAfterTaxesAndDiscounts]
    return bool(priced) and all(
        (net := line.totalAmountAfterTaxesAndDiscounts) >= _LEAST_NET
        and least * net <= (line.totalAmountBeforeTaxesAndDiscounts or 0) <= most * net
        for line in priced
    )


MIXED_UNITS: Final = Rule(
    "mixed_units",
    "about a hundred times as much before taxes and discounts as after them, on every line with a price",
    "The totals before them look like cents: divide them by 100 in a stream map.",
    # The first line mostly tells, without a call.
    lambda orders: [
        lines
        for lines in orders
        if lines
        and (lines[0].totalAmountBeforeTaxesAndDiscounts or 0)
        >= _HUNDREDFOLD[0] * (lines[0].totalAmountAfterTaxesAndDiscounts or 0)
        and _in_mixed_units(lines)
    ],
    least=20,
    share=0.5,
)

FRACTIONAL_QUANTITIES: Final = fractional_quantities("quantity")


def _cost_nothing(lines: Values) -> bool:
    costs = [line.productCogs for line in lines if line.productCogs is not UNSET]
    return bool(costs) and not any(costs)


ZERO_COGS: Final = Rule(
    "zero_cogs",
    "a `productCogs` of 0 on each line that has one",
    "A default of 0, as in `get('cogs', 0)`, hides a missing column: leave the field out where the cost is not known.",
    lambda orders: [lines for lines in orders if _cost_nothing(lines)],
    narrowed=lambda node: node | {"items": with_field_limits(node["items"], "productCogs", minimum=SMALLEST)},
    least=20,
    share=1,
    or_equal=True,
)

# The whole order

NO_LINES: Final = Rule(
    "no_lines",
    "no lines, though not cancelled",
    "Check the column of `lineItems`; `cancelledAt` cancels an order.",
    lambda orders: [order for order in orders if not order.lineItems and not order.cancelledAt],
    narrowed=lambda node: with_field_limits(node, "lineItems", minItems=1),
)
_CANCELLED: Final = frozenset(
    spelled
    for word in ("cancelled", "canceled", "wc-cancelled", "voided", "storniert")
    for spelled in (word, word.upper(), word.capitalize())
)
CANCELLED_STATUS: Final = Rule(
    "cancelled_status",
    "a `financialStatus` that says cancelled, and no `cancelledAt`",
    "Klar is told by `cancelledAt` that an order is cancelled: set it in a stream map, such as "
    "`updated_at if status == 'cancelled' else None`.",
    lambda orders: [order for order in orders if order.financialStatus in _CANCELLED and not order.cancelledAt],
)
MISSING_CURRENCY: Final = Rule(
    "missing_currency",
    "no currency",
    "Map `currencyCodeIso3Letter`, such as EUR.",
    lambda orders: [order for order in orders if not order.currencyCodeIso3Letter],
    narrowed=lambda node: (
        with_field_limits(node, "currencyCodeIso3Letter", minLength=1)
        | {"required": [*node["required"], "currencyCodeIso3Letter"]}
    ),
)


def _refunds_other_lines(order: Any) -> bool:
    known = {line.id for line in order.lineItems}
    refunded = {line.lineItemId for line in order.refundedLineItems}
    if not known or refunded <= known:  # of an order without any line `no_lines` tells
        return False
    return not refunded <= known | {each.id for line in order.lineItems for each in line.bundledProducts or ()}


REFUND_OF_OTHER_LINE: Final = Rule(
    "refund_of_other_line",
    "a refunded line whose `lineItemId` no line of the order has as `id`",
    "Map the id of the order's line to both fields, not that of a product or of the refund.",
    lambda orders: [order for order in orders if order.refundedLineItems and _refunds_other_lines(order)],
    clean=lambda orders: not any([order.refundedLineItems for order in orders]),  # noqa: C419  # a list is faster
)

_may_be_cents: Final = re.compile(f"(?i:{_LARGE_UNITS.replace(', ', '|')})?").fullmatch
_USUAL_CENTS: Final = 1000
"""What most lines cost, were they in cents; whole prices of 50 and more in major units are usual in many shops."""


def _amounts(order: Any) -> Iterator[float]:
    """Yield the amounts of an order; none where large whole ones are usual in its currency."""
    if not _may_be_cents(order.currencyCodeIso3Letter or ""):
        return
    for line in order.lineItems:
        yield line.totalAmountBeforeTaxesAndDiscounts or 0
        yield line.totalAmountAfterTaxesAndDiscounts or 0
    if shipping := order.shipping:
        yield shipping.shippingTotalAmountBeforeTaxAndDiscounts or 0
        yield shipping.shippingTotalAmountAfterTaxAndDiscounts or 0


def _any_fraction(orders: Values) -> bool:
    return any(each % 1 for each in chain.from_iterable(map(_amounts, orders)))


IN_CENTS: Final = replace(
    amounts_in_cents(lambda order: max(_amounts(order), default=0), _any_fraction, _USUAL_CENTS),
    asked_of=f"orders in {_LARGE_UNITS}, or without a currency",
)
