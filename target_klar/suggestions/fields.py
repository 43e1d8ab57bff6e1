"""Which columns of a tap's are called what a field of Klar's is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from target_klar.records.convert import fold
from target_klar.suggestions.words import phrases, word_set, words_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from target_klar.contract.schema import Node
    from target_klar.contract.streams import Contract
    from target_klar.suggestions.values import Path

_ORDER_ID: Final = "; order number"
_CREATED: Final = "created date; =date, =date time, =timestamp"
_LINE_ITEM_ID: Final = (
    "order line item id, order line id, order item id; position id, order position id, position number, "
    "order position number, =line item, =position, =order position"
)
_FIELDS: Final = {
    "refunds.id": "; =number",
    "refunds.createdAt": _CREATED,
    "refunds.lineItems": "; =line, =item, =position, =product",
    "refunds.lineItems.lineItemId": _LINE_ITEM_ID,
    "refunds.lineItems.refundedQuantity": "return quantity; quantity, piece",
    "orders.id": "; =number",
    "orders.createdAt": f"placed, {_CREATED}",
    "orders.lineItems": "; =line, =item, =position, =product",
    "orders.lineItems.id": "line item id, line id, item id, position id; position number, =line item, =position",
    "orders.lineItems.quantity": "piece",
    "transaction_costs.orderId": _ORDER_ID,
    "transaction_costs.transactionCosts": "transaction fee, payment cost, payment fee, fee, =cost",
    "logistics_costs.orderId": _ORDER_ID,
    "logistics_costs.totalLogisticsCosts": "shipping cost, shipment cost, delivery cost, fulfillment cost, "
    "freight cost, freight, postage cost, postage, =cost",
    "cogs.orderId": _ORDER_ID,
    "cogs.lineItemId": _LINE_ITEM_ID,
    "cogs.sku": "product sku, variant sku; product number",
    "cogs.productCogs": "cogs, purchase price, purchase cost, landed cost, cost price, unit cost, product cost, "
    "item cost, piece cost, =cost",
}
"""By field what it is called besides its own name: what stands behind a `;` counts where nothing before it is there.

`=` marks what says it as a whole name only (not `phone number`). What costs are called is all the same: two such
columns may be two parts of them.
"""
_REFUND_WORDS: Final = word_set("refund return credit note memo cancellation reversal document")
_ORDER_WORDS: Final = word_set("order sale document")
_SUM_WORDS: Final = word_set("total sum amount value minor eur usd gbp chf")
_ADD_NOTHING: Final = {
    "refunds": _REFUND_WORDS,
    "refunds.lineItems": _REFUND_WORDS - {"document"},
    "orders": _ORDER_WORDS,
    "orders.lineItems": _ORDER_WORDS,
    "transaction_costs": _SUM_WORDS,
    "logistics_costs": _SUM_WORDS | {"net"},
    "cogs": _SUM_WORDS - {"total", "sum"} | {"net", "piece"},
}
"""Words that leave a column what it is: the date of a refund, in a refund, is the date; Klar wants net costs."""
_MAX_LIKELY: Final = 3


class _Phrase(NamedTuple):
    """One of the things that a field is called."""

    words: tuple[str, ...]
    tier: int
    whole: bool
    """Whether a name that says more is something else."""


def missing(schema: Node, columns: Iterable[str]) -> list[str]:
    """Return the required fields of an object of Klar's that no column has the name of."""
    folded = {fold(column) for column in columns}
    return [field for field in schema["required"] if fold(field) not in folded]


def likely(place: str, columns: Iterable[str]) -> list[str]:
    """Return the columns whose names hold what a field is called, nearest first; three at the most.

    `place` is the field's path with its stream: `refunds.lineItems.lineItemId`.
    """
    near: list[tuple[int, bool, int, str]] = []
    for column in columns:
        said = _without(place, words_of(column))
        for phrase in _called(place):
            wanted = _without(place, phrase.words)
            ends_so = bool(wanted) and not phrase.whole and said[-len(wanted) :] == wanted
            if wanted and (ends_so or {*wanted} == {*said}):
                near.append((len(said) - len(wanted), "utc" not in words_of(column), phrase.tier, column))
                break
    return [column for *_, column in sorted(near, key=lambda each: each[:3])[:_MAX_LIKELY]]


def says_no_more(stream: str, column: str) -> bool:
    """Tell whether a name says nothing but what the records of Klar's stream are: the time of a refund."""
    return not _without(f"{stream}.", words_of(column))


def item_columns(field: str, contract: Contract, columns: Collection[str]) -> list[str]:
    """Return the columns that make a record a single item of this array of Klar's; none if it does not look so."""
    required = contract.schema["properties"][field].get("items", {}).get("required", ())
    near = [likely(f"{contract.stream}.{field}.{each}", columns)[:1] for each in required]
    return [column for each in near for column in each] if all(near) else []


def certain(place: str, paths: Iterable[Path]) -> list[list[Path]]:
    """Return the columns that are called what a field of Klar's is called and nothing more, nearest first.

    Columns that are equally near stand together. A time that says that it is UTC comes before one that does not.
    `place` is as in `likely`.
    """
    ranked: dict[tuple[bool, int, int], list[Path]] = {}
    called = _called(place)
    for path in paths:
        words = words_of(" ".join(path))
        said, less = {*words} - {"utc"}, {*_without(place, words)}
        tiers = [each.tier for each in called if {*each.words} == said]
        tiers = tiers or [each.tier for each in called if {*_without(place, each.words)} == less != set()]
        if tiers:
            ranked.setdefault(("utc" not in words, tiers[0], len(path)), []).append(path)
    return [ranked[key] for key in sorted(ranked)]


def _called(place: str) -> list[_Phrase]:
    """Return what a field is called, its own name first."""
    own = words_of(place.rpartition(".")[2])
    listed = [
        _Phrase(tuple(word.removeprefix("=") for word in words), tier, words[0].startswith("="))
        for words, tier in phrases(_FIELDS.get(place, ""))
    ]
    return [_Phrase(own, 0, own == ("id",)), *listed]


def _without(place: str, words: Iterable[str]) -> tuple[str, ...]:
    """Return the words that tell a column from the others of its record."""
    nothing = _ADD_NOTHING.get(place.rpartition(".")[0], frozenset())
    return tuple(word for word in words if word not in nothing and word != "utc")
