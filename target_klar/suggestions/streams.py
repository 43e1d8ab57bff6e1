"""Which stream of Klar's a tap's stream may be, by its name and its columns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from singer_sdk.mapper import MAPPER_ALIAS_OPTION, NULL_STRING

from target_klar.contract.streams import CONTRACTS
from target_klar.records.convert import fold
from target_klar.records.formatting import shorten
from target_klar.suggestions.fields import certain, missing
from target_klar.suggestions.words import phrases, words_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_klar.contract.streams import Contract


_STREAMS: Final = {
    "refunds": "refund, return, credit note, credit memo, cancellation; credit, reversal",
    "transaction_costs": "fee, transaction cost, payment cost; transaction, payment, payout, charge",
    "logistics_costs": "logistic cost, shipping cost, shipment cost, delivery cost, fulfillment cost, freight, "
    "freight cost, postage, postage cost, shipping fee, shipment fee, delivery fee; "
    "logistic, shipping, shipment, delivery, fulfillment",
    "cogs": "cogs, cost good, cost good sold, purchase price, purchase cost, product cost, unit cost, landed cost, "
    "cost price",
    "orders": "order; sale",
    "": "purchase order, supplier order, draft order, abandoned order, fulfillment order, tax return; purchase",
}
"""By stream what it is called: what stands behind a `;` counts where the columns say so, too.

The last names what sounds like one of them and is none.
"""
_OF_LINES: Final = {"line", "item", "position", "row"}
"""With which a name may end that says what the lines are of."""
_LONGEST_NAME: Final = 300
_IN_EVERY_STREAM: Final = {"id", "createdAt"}


def likely_stream(name: str, columns: Iterable[str]) -> Contract | None:
    """Return the stream of Klar's that a tap's stream may be; None where its name and its columns do not say.

    A name that is clear counts alone; one that is not, only with a column for the lines or the costs; without a name
    count columns that have the names of all that one stream alone requires.
    """
    columns = list(columns)
    stream, sure = _named(name)
    contract = CONTRACTS.get(stream) if stream else None
    if contract and (sure or _has_main_field(contract, columns)):
        return contract
    own = [each for each in CONTRACTS.values() if _IN_EVERY_STREAM.issuperset(missing(each.schema, columns))]
    return own[0] if len(own) == 1 else None


def renaming(stream: str, contract: Contract | None) -> tuple[str, str]:
    """Return two settings as JSON: one that renames a tap's stream, and one that drops it.

    Without a contract the name is left to be filled in, and so is that of a stream which no line should hold whole.
    """
    stream = stream if len(stream) <= _LONGEST_NAME else "<the stream's name>"
    maps: tuple[object, ...] = ({MAPPER_ALIAS_OPTION: contract.stream if contract else "<one of these>"}, NULL_STRING)
    rename, drop = (json.dumps({"stream_maps": {stream: each}}, ensure_ascii=not stream.isprintable()) for each in maps)
    return rename, drop


def unknown_stream(stream: str, alias: str, columns: Iterable[str]) -> str:
    """Say that Klar has no stream `alias`, to which a tap's stream leads, and which map would rename or drop it."""
    *names, last = CONTRACTS
    rename, drop = renaming(stream, likely_stream(alias, columns))
    return (
        f"Klar has no stream {shorten(alias)!r}, only {', '.join(names)} and {last}. Rename it with a stream map: "
        f"{rename}, or drop it: {drop}. `target-klar --preview` shows what its records would become."
    )


def _named(name: str) -> tuple[str | None, bool]:
    """Return the stream that a name says, and whether it says so by its end: what stands last is what it is."""
    words = [word for word in words_of(name) if not word.isdigit()]
    while words and words[-1] in _OF_LINES and len(words) > 1:
        words.pop()
    for end in range(len(words), 0, -1):
        found = [
            (len(phrase), tier == 0 and end == len(words), stream)
            for stream, names in _STREAMS.items()
            for phrase, tier in phrases(names)
            if tuple(words[max(0, end - len(phrase)) : end]) == phrase
        ]
        if found:
            _, sure, stream = max(found)
            return stream, sure
    return None, False


def _has_main_field(contract: Contract, columns: list[str]) -> bool:
    """Tell whether a column is what the stream is about: its lines, or its costs."""
    field = contract.unaggregated
    return any(fold(column) == fold(field) for column in columns) or bool(
        certain(f"{contract.stream}.{field}", ((column,) for column in columns))
    )
