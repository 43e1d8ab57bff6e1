"""The objects of Klar's import API, field by field, as its pages list them; nothing of the target's contract is used.

What a field may hold is a rule that tells what a value breaks. Which fields are required is our reading, as are the
bounds of times and numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Json: TypeAlias = Any
"""A parsed JSON value; its fractional numbers are `Decimal` (`json_body.Number`), so that no digit is lost."""

LARGEST_NUMBER = Decimal("1.7976931348623157e308")
"""Klar reads numbers as JavaScript does, in which a larger one is infinite (our reading, undocumented)."""

FIRST_SECOND, LAST_SECOND = 100_000_000, 9_999_999_999
"""Times outside of these are dates written as numbers, or milliseconds (our reading, undocumented)."""

Broken: TypeAlias = tuple[str, str] | None
"""The rule that a value breaks, as class-validator calls it, and what it says after the field's name."""


@dataclass(frozen=True)
class Shape:
    """An object: its fields, those of them that have to be there, and those of which one has to be."""

    fields: Mapping[str, Rule]
    required: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    later: Mapping[str, tuple[str, Rule]] = field(default_factory=dict)
    """Fields that a later version of the endpoint knows, MM.YYYY, and what they hold."""

    def at(self, version: str) -> Shape:
        """Returns the shape as a version has it."""
        known = {name: rule for name, (first, rule) in self.later.items() if _month(version) >= _month(first)}
        fields = {name: _at(rule, version) for name, rule in {**self.fields, **known}.items()}
        return replace(self, fields=fields, later={})


class ListOf(NamedTuple):
    """An array of such values."""

    item: Rule


Rule: TypeAlias = "Callable[[Json], Broken] | Shape | ListOf"


def _at(rule: Rule, version: str) -> Rule:
    if isinstance(rule, Shape):
        return rule.at(version)
    return ListOf(_at(rule.item, version)) if isinstance(rule, ListOf) else rule


def _month(version: str) -> tuple[str, str]:
    month, _, year = version.partition(".")
    return year, month


def text(value: Json) -> Broken:
    """Text, also empty."""
    return None if isinstance(value, str) else ("isString", "must be a string")


def key(value: Json) -> Broken:
    """Text that is not empty."""
    return text(value) or (None if value else ("isNotEmpty", "should not be empty"))


def number(value: Json) -> Broken:
    """A number that is not infinite."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool) and Decimal(value).copy_abs() <= LARGEST_NUMBER:
        return None
    return "isNumber", "must be a number conforming to the specified constraints"


def positive(value: Json) -> Broken:
    """A number of 0 or more."""
    return number(value) or (("min", "must not be less than 0") if value < 0 else None)


def boolean(value: Json) -> Broken:
    """True or false."""
    return None if isinstance(value, bool) else ("isBoolean", "must be a boolean value")


def time(value: Json) -> Broken:
    """Unix seconds."""
    if number(value) is None and not FIRST_SECOND <= value <= LAST_SECOND:
        return "isUnixTime", "must be a Unix timestamp in seconds"
    return number(value)


def _all(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


REFUNDED_LINE_ITEM = Shape(
    _all(text, "id lineItemId reasonDescriptor")
    | _all(number, "refundedQuantity")
    | _all(time, "createdAt processedAt"),
    required=("lineItemId", "refundedQuantity"),
)
REFUND = Shape(
    {"id": key, "createdAt": time, "updatedAt": time, "lineItems": ListOf(REFUNDED_LINE_ITEM)},
    required=("id", "createdAt", "lineItems"),
)

TRANSACTION_COSTS = Shape({"orderId": key, "transactionCosts": number}, required=("orderId", "transactionCosts"))
LOGISTICS_COSTS = Shape({"orderId": key, "totalLogisticsCosts": number}, required=("orderId", "totalLogisticsCosts"))
COGS = Shape(
    {"orderId": key, "lineItemId": key, "sku": key, "productCogs": number},
    required=("orderId", "productCogs"),
    one_of=("lineItemId", "sku"),
)

DISCOUNT = Shape(
    _all(text, "title descriptor target voucherCode voucherType") | {"isVoucher": boolean, "discountAmount": number}
)
TAX = Shape(_all(text, "title descriptor") | _all(number, "taxRate taxAmount"))
_PRODUCT = Shape(
    {"id": key}
    | _all(text, "productName productId productVariantName productVariantId productBrand productCollection sku")
    | _all(number, "productCogs productGmv productShippingWeightInGrams quantity totalLogisticsCosts")
    | {"productTags": ListOf(text), "discounts": ListOf(DISCOUNT), "taxes": ListOf(TAX)}
    | {"totalAmountBeforeTaxesAndDiscounts": number, "totalAmountAfterTaxesAndDiscounts": positive},
    required=("id", "quantity"),
)
LINE_ITEM = replace(_PRODUCT, later={"bundledProducts": ("07.2025", ListOf(_PRODUCT))})
SHIPPING = Shape(
    _all(text, "city provinceOrState countryCodeIso3Letter countryCodeIso2Letter currencyCodeIso3Letter")
    | _all(text, "zipOrPostalCode providerDescriptor")
    | _all(number, "shippingTotalAmountBeforeTaxAndDiscounts shippingTotalAmountAfterTaxAndDiscounts")
    | {"totalLogisticsCosts": number, "discounts": ListOf(DISCOUNT), "taxes": ListOf(TAX)}
)
CUSTOMER = Shape(
    _all(text, "id email emailHash") | {"isNewsletterSubscriberAtTimeOfCheckout": boolean, "tags": ListOf(text)}
)
OPTIONAL_IDENTIFIERS = Shape(
    _all(text, "googleAnalyticsTransactionId orderSourceName orderChannelName orderPlatformName landingPage")
    | _all(text, "utmSource utmMedium utmCampaign utmTerm utmContent")
    | _all(boolean, "isSubscriptionOrder isFirstSubscriptionOrder")
)
ORDER = Shape(
    {"id": key}
    | _all(time, "createdAt updatedAt processedAt closedAt cancelledAt")
    | _all(text, "currencyCodeIso3Letter financialStatus shipmentStatus paymentGatewayName paymentMethodName")
    | _all(text, "orderName orderNumber tags")
    | {"lineItems": ListOf(LINE_ITEM), "refundedLineItems": ListOf(REFUNDED_LINE_ITEM)}
    | {"shipping": SHIPPING, "customer": CUSTOMER, "optionalIdentifiers": OPTIONAL_IDENTIFIERS},
    required=("id", "createdAt", "lineItems"),
)
PERSONAL = ("customer", "shipping")
"""The fields of an order below which values are personal data."""
