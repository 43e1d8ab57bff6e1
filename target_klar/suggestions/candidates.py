"""Which stream of Klar's a tap's stream may be, and which of its columns may be which field."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from target_klar.contract.streams import CONTRACTS
from target_klar.records.convert import fold
from target_klar.suggestions.words import phrases, word_set, words_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from target_klar.contract.schema import Node
    from target_klar.contract.streams import Contract
    from target_klar.suggestions.values import Path


class _Names(NamedTuple):
    """What a stream is called: names that say it, and names that say it where the columns do, too."""

    sure: str
    with_columns: str


_STREAMS: Final = {
    "refunds": _Names(
        "refund, return, credit note, credit memo, cancellation",
        "credit, reversal",
    ),
    "transaction_costs": _Names(
        "fee, transaction cost, payment cost",
        "transaction, payment, payout, charge",
    ),
    "logistics_costs": _Names(
        "logistic cost, shipping cost, shipment cost, delivery cost, fulfillment cost, freight, freight cost, postage, "
        "postage cost, shipping fee, shipment fee, delivery fee",
        "logistic, shipping, shipment, delivery, fulfillment",
    ),
    "cogs": _Names(
        "cogs, cost good, cost good sold, purchase price, purchase cost, product cost, unit cost, landed cost, "
        "cost price",
        "",
    ),
    "orders": _Names("order", "sale"),
    "": _Names("purchase order, supplier order, draft order, abandoned order", "purchase"),
}
"""By stream; the last names what sounds like one of them and is none."""
_OF_LINES: Final = {"line", "item", "position", "row"}
"""With which a name may end that says what the lines are of."""
_IN_EVERY_STREAM: Final = {"id", "createdAt"}

_ORDER_ID: Final = "order id, order number"
_LINE_ITEM_ID: Final = (
    "line item id, order line item id, order line id, order item id, position id, order position id, "
    "position number, order position number, =line item, =position, =order position"
)
_FIELDS: Final = {
    "refunds.id": "=number",
    "refunds.createdAt": "created, created date, =date, =timestamp",
    "refunds.lineItems": "line item, =line, =item, =position",
    "refunds.lineItems.lineItemId": _LINE_ITEM_ID,
    "refunds.lineItems.refundedQuantity": "quantity, piece",
    "orders.id": "=number",
    "orders.createdAt": "created, created date, placed, =date, =timestamp",
    "orders.lineItems": "line item, =line, =item, =position, =product",
    "orders.lineItems.id": "line item id, line id, item id, position id, position number, =line item, =position",
    "orders.lineItems.quantity": "quantity, piece",
    "transaction_costs.orderId": _ORDER_ID,
    "transaction_costs.transactionCosts": "transaction cost, transaction fee, payment cost, payment fee, fee, =cost",
    "logistics_costs.orderId": _ORDER_ID,
    "logistics_costs.totalLogisticsCosts": "logistic cost, shipping cost, shipment cost, delivery cost, "
    "fulfillment cost, freight cost, freight, postage cost, postage, =cost",
    "cogs.orderId": _ORDER_ID,
    "cogs.lineItemId": _LINE_ITEM_ID,
    "cogs.sku": "sku, product sku, variant sku, product number",
    "cogs.productCogs": "cogs, product cogs, purchase price, purchase cost, landed cost, cost price, unit cost, "
    "product cost, item cost, piece cost, =cost",
}
"""By field what it is called, nearest first; `=` marks what says it as a whole name only (not `phone number`)."""
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


def likely_stream(name: str, columns: Iterable[str]) -> Contract | None:
    """Return the stream of Klar's that a tap's stream may be, by its name and its columns; None where nothing says."""
    columns = list(columns)
    stream, sure = _named(name)
    if stream is not None:
        contract = CONTRACTS.get(stream)
        return contract if contract and (sure or _agrees(contract, columns)) else None
    folded = {fold(column) for column in columns}
    own = [each for each in CONTRACTS.values() if {fold(field) for field in _own_fields(each)} <= folded]
    return own[0] if len(own) == 1 else None


def renaming(stream: str, contract: Contract | None) -> tuple[str, str]:
    """Return two settings as JSON: one that renames a tap's stream, and one that drops it."""
    alias = (contract or next(iter(CONTRACTS.values()))).stream
    maps: tuple[object, ...] = ({"__alias__": alias}, "__NULL__")
    rename, drop = (json.dumps({"stream_maps": {stream: each}}, ensure_ascii=False) for each in maps)
    return rename, drop


def missing(contract: Contract, columns: Collection[str]) -> list[str]:
    """Return the required fields of Klar's that no column has the name of."""
    return missing_of(contract.schema, columns)


def missing_of(schema: Node, columns: Iterable[str]) -> list[str]:
    """Return the required fields of an object of Klar's that no column has the name of."""
    folded = {fold(column) for column in columns}
    return [field for field in schema["required"] if fold(field) not in folded]


def likely(contract: Contract, field: str, columns: Iterable[str]) -> list[str]:
    """Return the columns whose names hold what a field of Klar's is called, nearest first; three at the most."""
    return _likely(f"{contract.stream}.{field}", columns)


def is_line(field: str, contract: Contract, columns: Collection[str]) -> list[str]:
    """Return the columns that make a record a single item of this array of Klar's; none if it does not look so."""
    required = contract.schema["properties"][field].get("items", {}).get("required", ())
    near = [_likely(f"{contract.stream}.{field}.{each}", columns)[:1] for each in required]
    return [column for each in near for column in each] if all(near) else []


def certain(place: str, paths: Iterable[Path]) -> list[list[Path]]:
    """Return the columns that are called what a field of Klar's is called and nothing more, nearest first.

    Columns that are equally near stand together. A time that says that it is UTC comes before one that does not.
    `place` is the field's path with its stream: `refunds.lineItems.lineItemId`.
    """
    ranked: dict[tuple[bool, int, int], list[Path]] = {}
    called = [phrase for phrase, _ in _called(place)]
    for path in paths:
        said = words_of(" ".join(path))
        meant = frozenset(said) - {"utc"}
        rank = _rank(meant, called)
        if rank is None and (less := _without(place, meant)):
            rank = _rank(less, [_without(place, phrase) for phrase in called])
            rank = None if rank is None else rank + len(called)
        if rank is not None:
            ranked.setdefault(("utc" not in said, rank, len(path)), []).append(path)
    return [ranked[key] for key in sorted(ranked)]


def _named(name: str) -> tuple[str | None, bool]:
    """Return the stream that a name says, and whether it says so by its end: what stands last is what it is."""
    words = [word for word in words_of(name) if not word.isdigit()]
    while words and words[-1] in _OF_LINES and len(words) > 1:
        words.pop()
    for end in range(len(words), 0, -1):
        found = [
            (len(phrase), sure and end == len(words), stream)
            for stream, names in _STREAMS.items()
            for sure, listed in ((True, names.sure), (False, names.with_columns))
            for phrase in phrases(listed)
            if tuple(words[max(0, end - len(phrase)) : end]) == phrase
        ]
        if found:
            _, sure, stream = max(found)
            return stream, sure
    return None, False


def _agrees(contract: Contract, columns: list[str]) -> bool:
    """Tell whether a column is what the stream is about: its lines, or its costs."""
    field = contract.unaggregated
    return any(fold(column) == fold(field) for column in columns) or bool(
        certain(f"{contract.stream}.{field}", ((column,) for column in columns))
    )


def _own_fields(contract: Contract) -> list[str]:
    return [field for field in contract.schema["required"] if field not in _IN_EVERY_STREAM]


def _likely(place: str, columns: Iterable[str]) -> list[str]:
    called = _called(place)
    near: list[tuple[int, bool, int, str]] = []
    for column in columns:
        said = words_of(column)
        meant = _without(place, said) - {"utc"}
        last = next((word for word in reversed(said) if word in meant), None)
        for rank, (phrase, whole) in enumerate(called):
            wanted = _without(place, phrase)
            if wanted and (wanted == meant or (not whole and wanted <= meant and last in wanted)):
                near.append((len(meant - wanted), "utc" not in said, rank, column))
                break
    return [column for *_, column in sorted(near, key=lambda each: each[:3])[:_MAX_LIKELY]]


def _rank(meant: frozenset[str], called: list[frozenset[str]]) -> int | None:
    return called.index(meant) if meant in called else None


def _called(place: str) -> list[tuple[frozenset[str], bool]]:
    """Return what a field is called, as sets of words, each with whether it is a whole name only."""
    own = frozenset(words_of(place.rpartition(".")[2]))
    listed = phrases(_FIELDS[place]) if place in _FIELDS else []
    return [
        (own, own == {"id"}),
        *((frozenset(word.removeprefix("=") for word in each), each[0].startswith("=")) for each in listed),
    ]


def _without(place: str, words: Iterable[str]) -> frozenset[str]:
    """Return the words that tell a column from the others of its record."""
    return frozenset(words) - _ADD_NOTHING.get(place.rpartition(".")[0], frozenset())
