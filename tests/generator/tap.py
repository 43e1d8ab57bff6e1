"""What the tap writes: SCHEMA, RECORD, BATCH and STATE lines, and the stream maps that go with them.

A record's version is in what Klar stores, as an amount or as seconds of `createdAt`, so that it can be read back.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from generator.plan import Feed, Plan, Record, Source

FIRST_SECOND = 1_700_000_000
FIRST_KEY = 1000
AMOUNTS = {
    "transaction_costs": "transactionCosts",
    "logistics_costs": "totalLogisticsCosts",
    "cogs": "productCogs",
}
"""The field that a stream of one amount has it in; the others have lines and times."""
QUANTITIES = {"refunds": ("lineItemId", "refundedQuantity"), "orders": ("id", "quantity")}
_MARKS = ("_sdc_deleted_at", "keep")
_SNAKE = {
    "orderId": "order_id",
    "lineItemId": "line_item_id",
    "createdAt": "created_at",
    "updatedAt": "updated_at",
    "lineItems": "line_items",
    "refundedQuantity": "refunded_quantity",
    "transactionCosts": "transaction_costs",
    "totalLogisticsCosts": "total_logistics_costs",
    "productCogs": "product_cogs",
    "currencyCodeIso3Letter": "currency_code_iso3_letter",
}


def key_fields(kind: str) -> list[str]:
    """Return the fields of Klar's that identify an object of a stream."""
    return {"refunds": ["id"], "orders": ["id"], "cogs": ["orderId", "lineItemId"]}.get(kind, ["orderId"])


def key_properties(source: Source) -> list[str]:
    """Return the columns that the tap says are the key of a source stream."""
    ours = [_name(source, name) for name in key_fields(source.kind)]
    coarser = ours[:-1] or ["parent"]
    return {"klar": ours, "coarser": coarser, "finer": [*ours, "part"], "unrelated": ["page"], "none": []}[
        source.tap_key
    ]


def own_key(plan: Plan, record: Record) -> tuple[Any, ...] | None:
    """Return what the tap says a record is, its source stream and the values of its own key; None if it does not."""
    source, written = plan.source(record), row(plan, record)
    values = [written.get(name) for name in key_properties(source)]
    return (source.name, *values) if values and None not in values else None


def row(plan: Plan, record: Record) -> dict[str, Any]:
    """Return a record as the tap has it."""
    source = plan.source(record)
    key, extras = _key(source, record), _extras(source, record)
    if record.bare:
        return {name: value for name, value in (key | extras).items() if name in (*key_properties(source), *_MARKS)}
    return key | _content(source, record) | extras


def raw(plan: Plan, record: Record) -> str:
    """Return a record's own bytes."""
    return _json(row(plan, record), plan.source(record))


def identify(stored: dict[str, Any]) -> tuple[int, int]:
    """Return the key and the version of an object that Klar was sent."""
    if "id" in stored:
        return int(stored["id"]) - FIRST_KEY, int(stored["createdAt"]) - FIRST_SECOND
    key = int(stored["orderId"]) - FIRST_KEY
    if "lineItemId" in stored:
        key = 2 * key + int(stored["lineItemId"])
    return key, next(int(stored[amount]) for amount in AMOUNTS.values() if amount in stored)


def cancelled(stream: str, stored: dict[str, Any]) -> bool:
    """Tell whether an object that Klar stored is a cancellation."""
    return stored["lineItems"] == [] if stream == "refunds" else "cancelledAt" in stored


def stream_map(source: Source, *, fixed: bool) -> dict[str, Any] | str | None:
    """Return the map of a source stream, mended or not; None where it needs none."""
    if source.target is None:
        return "__NULL__"
    made: dict[str, Any] = {}
    if source.name != source.target:
        made["__alias__"] = source.target
    if source.removes:
        made["note"] = "__NULL__"
    if source.filters:
        made["__filter__"] = "keep != 'no'"
    amount = AMOUNTS.get(source.kind)
    if source.computes:
        if amount is None:
            first, second = QUANTITIES[source.kind]
            made["lineItems"] = f"[{{'{first}': each['line'], '{second}': each['pieces']}} for each in positions]"
        else:
            made[amount] = "fee"
    if not fixed:
        return made or None
    if amount is None:
        made[_name(source, "updatedAt")] = "__NULL__"
    else:
        column = "fee" if source.computes else _name(source, amount)
        mended = f"float(str({column}).replace(',', '.'))"
        # A deletion may come with the tap's key alone.
        guarded = f"{mended} if record.get('{column}') else None" if source.tap_key != "klar" else mended
        made[amount if source.computes else column] = guarded
    if source.hides_keys:
        column = _name(source, key_fields(source.kind)[-1])
        either = f"(record.get('spare') or str(record.get('{column}', '')))"
        made[column] = f"{either}.replace('.5', '') if {either} else None"
    return made


def stream_maps(feeds: list[Feed], *, fixed: bool) -> dict[str, Any]:
    """Return the setting `stream_maps` for these feeds."""
    maps = {source.name: stream_map(source, fixed=fixed) for feed in feeds for source in feed.sources}
    return {name: each for name, each in maps.items() if each is not None}


def state(feed: Feed, version: int) -> dict[str, Any]:
    """Return the value of the STATE behind a version."""
    return {"seq": version, "pad": "x" * (feed.growth * (version - feed.offset))}


def lines(plan: Plan, feed: Feed, after: int, upto: int, folder: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines behind a version up to another, each with the version up to which all is written."""
    for source in feed.sources:
        yield after, _message(type="SCHEMA", stream=source.name, **_schema(source))
    waiting: list[Record] = []
    for record in feed.records[after - feed.offset : upto - feed.offset]:
        source = feed.sources[record.source]
        waiting.append(record)
        ends = record.version == upto or (record.version - feed.offset) % feed.every == 0
        follows = None if ends else feed.records[record.version - feed.offset].source
        if not source.batches:
            waiting = []
            content = f'{{"type": "RECORD", "stream": "{source.name}", "record": {raw(plan, record)}}}'
            yield record.version, content.encode() + b"\n"
        elif follows != record.source:
            yield record.version, _batch(plan, source, waiting, folder)
            waiting = []
        if ends:
            yield record.version, _message(type="STATE", value=state(feed, record.version))


def _key(source: Source, record: Record) -> dict[str, Any]:
    parts = divmod(record.key, 2) if source.kind == "cogs" else (record.key,)
    values = [FIRST_KEY + parts[0], *parts[1:]]
    names = [_name(source, name) for name in key_fields(source.kind)]
    number = source.number_ids and not source.own_form
    key: dict[str, Any] = {name: value if number else str(value) for name, value in zip(names, values, strict=True)}
    if record.flaw == "key":  # either the map reads the wrong column, or the right one as it should not
        last = names[-1]
        if record.version % 2:
            key[last] = values[-1] + 0.5
        else:
            key["spare"] = str(key.pop(last))
    return key | {
        name: value
        for name, value in (("parent", record.key // 3), ("part", record.version % 2), ("page", record.version % 5))
        if name in key_properties(source)
    }


def _content(source: Source, record: Record) -> dict[str, Any]:
    as_text = source.text_numbers and not source.own_form
    if amount := AMOUNTS.get(source.kind):
        written: Any = f"{record.version},0" if record.flaw == "contract" else record.version
        return {"fee" if source.computes else _name(source, amount): str(written) if as_text else written}
    first, second = QUANTITIES[source.kind]
    names = ("line", "pieces") if source.computes else (_name(source, first), _name(source, second))
    item = dict(zip(names, (f"L-{record.key}", "1" if as_text else 1), strict=True))
    items: Any = json.dumps([item]) if as_text and not source.computes else [item]
    seconds: Any = FIRST_SECOND + record.version
    if as_text:
        seconds = datetime.fromtimestamp(seconds, tz=UTC).isoformat()
    made = {
        _name(source, "createdAt"): seconds,
        "positions" if source.computes else _name(source, "lineItems"): items,
    }
    if source.kind == "orders":
        made[_name(source, "currencyCodeIso3Letter")] = "EUR"
    if record.flaw == "contract":
        made[_name(source, "updatedAt")] = "yesterday"
    return made


def _extras(source: Source, record: Record) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if source.removes:
        made["note"] = f"of {record.version}"
    if source.filters:
        made["keep"] = "no" if record.filtered else "yes"
    if record.deleted:
        made["_sdc_deleted_at"] = datetime.fromtimestamp(FIRST_SECOND + record.version, tz=UTC).isoformat()
    if record.pad:
        made["pad"] = "p" * record.pad
    return made


def _name(source: Source, field: str) -> str:
    return field if source.own_form else _SNAKE.get(field, field)


def _schema(source: Source) -> dict[str, Any]:
    content = ["fee", "positions", "note", "keep", "pad", "_sdc_deleted_at", "updatedAt", "createdAt", "lineItems"]
    content += [*AMOUNTS.values(), *key_fields(source.kind), "currencyCodeIso3Letter", "spare"]
    keys = key_properties(source)
    properties: dict[str, Any] = {_name(source, name): {} for name in content} | {name: {} for name in keys}
    return {"schema": {"type": "object", "properties": properties}, "key_properties": keys}


def _batch(plan: Plan, source: Source, records: list[Record], folder: Path) -> bytes:
    file = folder / f"batch-{records[0].version}-{records[-1].version}.jsonl"
    file.write_text("".join(raw(plan, record) + "\n" for record in records))
    encoding = {"format": "jsonl", "compression": "none"}
    return _message(type="BATCH", stream=source.name, encoding=encoding, manifest=[file.as_uri()])


def _message(**members: Any) -> bytes:
    return json.dumps(members).encode() + b"\n"


def _json(value: Any, source: Source) -> str:
    return json.dumps(value, separators=(",", ":") if source.compact else None)
