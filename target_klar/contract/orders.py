"""An order, as Klar's Orders page and its pages on the objects describe it; [M] is what Klar's Magento module adds.

Which fields are required is our reading: those without which the object says nothing. Amounts are in major units (3.50)
and in the currency of the order. A line's totals are for the whole line, everything else in it is for one piece.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from target_klar.contract.id_rules import UNMATCHABLE_ID, not_a_placeholder
from target_klar.contract.order_rules import (
    CANCELLED_STATUS,
    CURRENCY,
    DUPLICATE_LINE_IDS,
    FRACTIONAL_QUANTITIES,
    IN_CENTS,
    MALFORMED_CURRENCY,
    MISSING_CURRENCY,
    MIXED_UNITS,
    MOSTLY_CANCELLED,
    NEGATIVE_DISCOUNT,
    NET_ABOVE_GROSS,
    NO_AMOUNTS,
    NO_LINES,
    NO_PIECES,
    REFUND_OF_OTHER_LINE,
    TAX_RATE_ABOVE_1,
    ZERO_AMOUNTS,
    ZERO_COGS,
)
from target_klar.contract.quality import HUGE_QUANTITY, IMPLAUSIBLE_TIME, amount, cost, with_rules
from target_klar.contract.refunds import REFUNDED_LINE_ITEM
from target_klar.contract.schema import array, boolean, closed, key, number, personal, since, text, time

DISCOUNT: Final = closed(
    "A discount on one line, or on the shipping.",
    [],
    title=text("as the customer sees it"),
    descriptor=text("what it is known by in the shop"),
    target=text("deprecated by Klar"),
    voucherCode=text("the code that was used"),
    voucherType=text("the kind of voucher"),
    isVoucher=boolean("whether a voucher gave it"),
    discountAmount=with_rules(amount(number("for one piece, positive")), NEGATIVE_DISCOUNT),
)

TAX: Final = closed(
    "A tax on one line, or on the shipping.",
    [],
    title=text("such as VAT"),
    descriptor=text("what it is known by in the shop"),
    taxRate=with_rules(number("a fraction: 0.19 for 19 %"), TAX_RATE_ABOVE_1),
    taxAmount=amount(number("for one piece, after discounts")),
)

_LINE_ITEM_FIELDS: Final = {
    "id": with_rules(key("unique in the order"), UNMATCHABLE_ID),
    "productName": text("as the customer sees it"),
    "productId": text("in the shop"),
    "productVariantName": text("as the customer sees it"),
    "productVariantId": text("in the shop"),
    "productBrand": text("the maker"),
    "productCollection": text("a group of products"),
    "sku": text("the article number"),
    "productCogs": cost(number("landed cost of one piece, without VAT")),
    "productGmv": amount(number("list price of one piece, with tax [M]")),
    "productShippingWeightInGrams": number("of one piece"),
    "quantity": with_rules(number("pieces"), NO_PIECES, HUGE_QUANTITY),
    "productTags": array(text("a tag"), "tags of the product"),
    "discounts": array(DISCOUNT, "discounts on the line"),
    "taxes": array(TAX, "taxes on the line"),
    "totalAmountBeforeTaxesAndDiscounts": amount(number("the whole line, gross: 2 x 3.50 = 7.00 (the page's example)")),
    "totalAmountAfterTaxesAndDiscounts": amount(
        number(
            "the whole line, without discounts and tax, 0 or more [M]: 2 x (3.50 - 0.98) / 1.07 = 4.71 (its example)",
            least=0,
        )
    ),
    "totalLogisticsCosts": cost(number("what it cost to ship the whole line")),
}
_LINE_ITEM_REQUIRED: Final = ["id", "quantity"]
BUNDLED_PRODUCT: Final = with_rules(
    closed("One product of a bundle.", _LINE_ITEM_REQUIRED, **_LINE_ITEM_FIELDS), NET_ABOVE_GROSS
)
LINE_ITEM: Final = with_rules(
    closed(
        "One line of an order.",
        _LINE_ITEM_REQUIRED,
        **_LINE_ITEM_FIELDS,
        bundledProducts=since("07.2025", array(BUNDLED_PRODUCT, "what the bundle holds [M]")),
    ),
    NET_ABOVE_GROSS,
)


SHIPPING: Final = closed(
    "Where the order goes to, and what its shipping costs the customer.",
    [],
    city=personal(text("of the address")),
    provinceOrState=personal(text("of the address")),
    countryCodeIso3Letter=personal(text("such as DEU")),
    countryCodeIso2Letter=personal(text("such as DE")),
    currencyCodeIso3Letter=with_rules(text("ISO 4217, such as EUR"), MALFORMED_CURRENCY),
    zipOrPostalCode=personal(text("of the address")),
    providerDescriptor=text("who ships it"),
    # Spelled "Tax" here and "Taxes" in a line item.
    shippingTotalAmountBeforeTaxAndDiscounts=amount(number("gross")),
    shippingTotalAmountAfterTaxAndDiscounts=amount(number("without discounts and tax")),
    totalLogisticsCosts=cost(number("what it cost the merchant, without tax [M]")),
    discounts=array(DISCOUNT, "discounts on the shipping"),
    taxes=array(TAX, "taxes on the shipping"),
)

CUSTOMER: Final = closed(
    "Who ordered.",
    [],
    id=text("in the shop"),
    email=text("the address"),
    emailHash=text("in its place"),
    isNewsletterSubscriberAtTimeOfCheckout=boolean("whether they had subscribed"),
    tags=array(text("a tag"), "tags of the customer"),
)

OPTIONAL_IDENTIFIERS: Final = closed(
    "Where the order came from [M].",
    [],
    googleAnalyticsTransactionId=text("of the order"),
    orderSourceName=text("such as web"),
    orderChannelName=text("the sales channel"),
    orderPlatformName=text("the shop system"),
    utmSource=text("of the visit"),
    utmMedium=text("of the visit"),
    utmCampaign=text("of the visit"),
    utmTerm=text("of the visit"),
    utmContent=text("of the visit"),
    landingPage=text("of the visit"),
    isSubscriptionOrder=boolean("whether a subscription made it"),
    isFirstSubscriptionOrder=boolean("whether it is the first of the subscription"),
)

ORDER: Final = with_rules(
    closed(
        "What one customer ordered at one time.",
        ["id", "createdAt", "lineItems"],
        id=with_rules(
            not_a_placeholder(key("unique; sent again, the order replaces the one that Klar has")), UNMATCHABLE_ID
        ),
        createdAt=with_rules(time("when it was placed"), IMPLAUSIBLE_TIME),
        updatedAt=with_rules(time("when it was changed last"), IMPLAUSIBLE_TIME),
        processedAt=time("when it was fulfilled"),
        closedAt=time("when it was closed"),
        cancelledAt=with_rules(time("when it was cancelled"), IMPLAUSIBLE_TIME, MOSTLY_CANCELLED),
        currencyCodeIso3Letter=with_rules(text("ISO 4217, such as EUR"), MALFORMED_CURRENCY),
        financialStatus=text("such as paid, partially_refunded"),
        shipmentStatus=text("such as shipped, not_shipped"),
        paymentGatewayName=text("who handled the payment"),
        paymentMethodName=text("how it was paid"),
        orderName=text("such as #1001 [M]"),
        orderNumber=text("such as 1001 [M]"),
        tags=text("tags of the order [M]"),
        lineItems=with_rules(
            array(LINE_ITEM, "its lines"),
            DUPLICATE_LINE_IDS,
            NO_AMOUNTS,
            ZERO_AMOUNTS,
            ZERO_COGS,
            MIXED_UNITS,
            FRACTIONAL_QUANTITIES,
        ),
        refundedLineItems=array(REFUNDED_LINE_ITEM, "what of them was refunded"),
        shipping=SHIPPING,
        customer=personal(CUSTOMER),
        optionalIdentifiers=OPTIONAL_IDENTIFIERS,
    ),
    NO_LINES,
    CANCELLED_STATUS,
    MISSING_CURRENCY,
    IN_CENTS,
    REFUND_OF_OTHER_LINE,
)


def pieces_and_net_of(order: Any) -> tuple[tuple[str, float], ...]:
    """Return how many pieces were ordered, and for how much after taxes and discounts, under the currency's name."""
    pieces = net = 0.0
    for line in order.lineItems:
        pieces += line.quantity
        net += line.totalAmountAfterTaxesAndDiscounts or 0
    return ("pieces", pieces), (_net_in(order.currencyCodeIso3Letter or ""), net)


@lru_cache(maxsize=64)
def _net_in(currency: str) -> str:
    """Return what the net amounts in a currency are called; a run has few, and each order of a batch keeps the name."""
    return f"net {currency}" if CURRENCY.fullmatch(currency) else "net"
