"""What a tap's stream and its columns may stand for at Klar: advice for a person, on which nothing is loaded."""

from __future__ import annotations

import json
import keyword
import re
from typing import TYPE_CHECKING, Any, Final

from target_klar.contract.streams import CONTRACTS
from target_klar.records.convert import fold
from target_klar.records.deletions import DELETED_AT, deletion_fields
from target_klar.records.json_codec import read_strictly

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from target_klar.contract.schema import Node
    from target_klar.contract.streams import Contract, Record

    Fits = Callable[[Node, object], bool]

# What shops, payment providers and ERPs call these things; each word in the singular.
_OF_STREAMS: Final = {
    "refunds": "refund return credit reversal",
    "transaction_costs": "transaction cost fee payment payout charge",
    "logistics_costs": "logistic cost shipping shipment freight delivery fulfillment",
    "cogs": "cog cost purchase price inventory",
    "orders": "order sale purchase",
}
_OF_FIELDS: Final = {
    "id": "no nr number key code",
    "orderId": "no nr number",
    "createdAt": "date time placed",
    "lineItems": "position product article row",
    "lineItemId": "position",
    "refundedQuantity": "qty count piece",
    "quantity": "qty count piece",
    "transactionCosts": "fee charge total",
    "totalLogisticsCosts": "shipping shipment freight delivery postage",
    "productCogs": "purchase price unit landed",
}
_SAY_NOTHING: Final = {"at", "on", "of", "the"}
_IN_EVERY_STREAM: Final = {"id", "createdAt"}
_MAX_LIKELY: Final = 3
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")
_MAX_STEM: Final = 3


def likely_stream(name: str, columns: Iterable[str]) -> Contract | None:
    """Return the stream of Klar's that a tap's stream may be, by its name and its columns; None where nothing says."""
    said = _words(name)
    folded = {fold(column) for column in columns}

    def agreement(contract: Contract) -> float:
        known = _OF_STREAMS[contract.stream].split()
        named = sum(1 + (word == said[-1]) for word in {*said} if word in known)
        own = [field for field in contract.schema["required"] if field not in _IN_EVERY_STREAM]
        return named + 2 * sum(fold(field) in folded for field in own) / len(own)

    best = max(CONTRACTS.values(), key=agreement)
    return best if agreement(best) else None


def renaming(stream: str, contract: Contract | None) -> tuple[str, str]:
    """Return two settings as JSON: one that renames a tap's stream, and one that drops it."""
    alias = (contract or next(iter(CONTRACTS.values()))).stream
    maps: tuple[object, ...] = ({"__alias__": alias}, "__NULL__")
    rename, drop = (json.dumps({"stream_maps": {stream: each}}, ensure_ascii=False) for each in maps)
    return rename, drop


def missing(contract: Contract, columns: Collection[str]) -> list[str]:
    """Return the required fields of Klar's that no column has the name of."""
    return _missing(contract.schema, columns)


def likely(field: str, columns: Iterable[str]) -> list[str]:
    """Return the columns whose names are nearest in meaning to a field of Klar's; three at the most."""
    wanted, also = {*_words(field)}, {*_OF_FIELDS.get(field, "").split()}

    def nearness(column: str) -> float:
        words = {*_words(column)}
        return (2 * len(words & wanted) + len(words & also)) / len(words | wanted)

    near = sorted((column for column in columns if nearness(column)), key=nearness, reverse=True)
    return near[:_MAX_LIKELY]


def map_for(stream: str, contract: Contract, records: Sequence[Record], fits: Fits) -> Record:
    """Return the stream map that makes of a tap's records what Klar wants, as far as names and values tell.

    `fits` says whether a value can be made into what a node of the contract wants. A map that sets the array by which
    Klar cancels filters the records for which it would be empty.
    """
    columns = _sample(records)
    made: Record = {} if stream == contract.stream else {"__alias__": contract.stream}
    for field in contract.schema["required"]:
        node = contract.schema["properties"][field]
        named = next((column for column in columns if fold(column) == fold(field)), None)
        near = [named] if named else likely(field, _unused(columns, contract))
        for column in near:
            expression = _expression(node, column, columns, fits)
            if expression and not (named and expression == _read(named, columns)):
                made[field] = expression
                if field == contract.cancels_by:
                    made["__filter__"] = _keeps(column, columns)
            if expression:
                break
    return made


def is_line(field: str, contract: Contract, columns: Collection[str]) -> list[str]:
    """Return the columns that make a record a single item of this array of Klar's; none if it does not look so."""
    inner = contract.schema["properties"][field].get("items", {})
    near = [likely(each, columns)[:1] for each in inner.get("required", ())]
    return [column for each in near for column in each] if all(near) else []


def _keeps(column: str, columns: Record) -> str:
    lines = _read(column, columns)
    return f"bool(record.get('{DELETED_AT}') or {lines})" if deletion_fields(columns) else f"bool({lines})"


def _expression(node: Node, column: str, columns: Record, fits: Fits) -> str | None:
    """Return what makes a field of Klar's of a column; None where its value does not fit."""
    inner, value = node.get("items", {}), columns[column]
    if "properties" not in inner:
        return _read(column, columns) if fits(node, value) else None
    lines = read_strictly(value) if isinstance(value, str) else value
    if not (isinstance(lines, list) and lines and all(isinstance(line, dict) for line in lines)):
        return None
    names = _sample(lines)
    if not _missing(inner, names):
        return _read(column, columns)
    parts = []
    for field, wanted in inner["properties"].items():
        required = field in inner["required"]
        named = [name for name in names if fold(name) == fold(field)]
        near = named or (likely(field, _unused(names, inner)) if required else [])
        found = next((name for name in near if fits(wanted, names[name])), None)
        if found is not None:
            parts.append(f"'{field}': line[{found!r}]" if required else f"'{field}': line.get({found!r})")
        elif required:
            return None
    source = _read(column, columns)
    if isinstance(value, str):
        source = f"json.loads({source} or '[]')"
    elif deletion_fields(columns):
        source += " or []"
    return f"[{{{', '.join(parts)}}} for line in {source}]"


def _read(column: str, columns: Record) -> str:
    if deletion_fields(columns):  # a deletion brings the key alone
        return f"record.get({column!r})"
    return column if column.isidentifier() and not keyword.iskeyword(column) else f"record[{column!r}]"


def _sample(records: Iterable[Mapping[str, Any]]) -> Record:
    """Return one record with every column, each with a value if any of the records has one."""
    sample: Record = {}
    for record in records:
        for column, value in record.items():
            if sample.get(column) in (None, "", []):
                sample[column] = value
    return sample


def _missing(schema: Node, columns: Collection[str]) -> list[str]:
    folded = {fold(column) for column in columns}
    return [field for field in schema["required"] if fold(field) not in folded]


def _unused(columns: Iterable[str], known: Contract | Node) -> list[str]:
    schema = known if isinstance(known, dict) else known.schema
    fields = {fold(field) for field in schema["properties"]}
    return [column for column in columns if fold(column) not in fields]


def _words(name: str) -> list[str]:
    words = (word.lower() for word in _WORD.findall(name))
    singular = (word[:-1] if word.endswith("s") and len(word) > _MAX_STEM else word for word in words)
    return [word for word in singular if word not in _SAY_NOTHING]
