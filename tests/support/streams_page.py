"""Writes `docs/streams.md` out of the contract: `python tests/support/streams_page.py` prints it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_klar.contract.schema import is_time
from target_klar.contract.streams import CONTRACTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_klar.contract.schema import Node
    from target_klar.contract.streams import Contract

_HEAD = """\
# Streams and their fields

What Klar takes, field by field, as `target_klar/contract/` has it and checks it
(`python tests/support/streams_page.py` prints this page).

- Column names are matched without case and underscores: `line_items` is `lineItems`.
- Bold fields are required. Klar's help pages do not say which are; this is our reading.
- An empty optional field is omitted.
- [M]: shown by Klar's own Magento module, and on no help page.
- A name such as `negative_quantity` is a [data quality rule](#data-quality-rules)."""

_RULES = """\
## Data quality rules

What Klar would take and no merchant can mean. No page of Klar's says any of this: it is our reading. A rule rejects a
record, or is counted over the run and said at its end: a WARNING if one record in twenty meets it, or there are fewer
than twenty, else at INFO. `ignore_quality_rules` turns rules off by name, `validate_records: false` turns off all.

Each of the tap's streams is counted by itself, so that fees in cents show beside another provider's in euros. Those for
which a rule does not hold are counted together as well: none of many small shops may have as many records as the rule
asks for; not by `few_line_item_ids`, since each may have few of its own. A rule has ten lines at most, and one more
with the number of other source streams.

Orders in crowns, forints, yen and other currencies that `amounts_in_cents` does not name are not asked by it: whole
prices of a thousand and more are usual there, and of many of them a tax of 25 % leaves whole net amounts, so nothing in
such an order tells hundredths from whole money. Where a line has both, `mixed_units` says so, in any currency.

| rule | streams | what meets it | what to do |
|---|---|---|---|
"""
_BEYOND = {
    "minimum": "is below 0",
    "minLength": "is empty",
    "not": "is a placeholder such as `None`, `nan`, `null`, `undefined`, `<NA>`, `N/A` or `#REF!`",
}
"""What a value does that is beyond a limit of the contract's rules."""
_SHARES = {0.0: "", 0.5: "half of", 0.9: "nine tenths of", 1: "all of"}
"""In words, which share of the records a rule wants."""


def page() -> str:
    """Return the whole page."""
    return "\n\n".join([_HEAD, *map(_section, CONTRACTS.values()), _rules()]) + "\n"


def _section(contract: Contract) -> str:
    keys = " with ".join(
        [f"`{contract.key}`", *([" or ".join(f"`{name}`" for name in contract.also_key)] * bool(contract.also_key))]
    )
    facts = [f"Key: {keys}.", f"Version `{contract.version}`, set by `{contract.version_setting}`."]
    if contract.cancels_by:
        facts.append(f"An empty `{contract.cancels_by}` cancels the refund.")
    if contract.cancelled_at:
        facts.append(f"`{contract.cancelled_at}` cancels the order.")
    if not contract.validates:
        facts.append("Klar has no endpoint that validates it: a dry run checks it on this machine only.")
    if contract.personal:
        facts.append("Fields marked personal: no message shows their value.")
    facts.append(f"Control totals: {contract.total or 'pieces, and net by currency'}.")
    if _own_rules(contract.schema):
        facts.append(f"Rules for the whole: {', '.join(_own_rules(contract.schema))}.")
    rows = ["| field | type | meaning |", "|---|---|---|", *_rows(contract.schema, "", personal=False)]
    return f"## {contract.stream}\n\n{contract.schema['description']} {' '.join(facts)}\n\n" + "\n".join(rows)


def _rows(node: Node, at: str, *, personal: bool) -> Iterator[str]:
    one_of = [name for each in node.get("anyOf", ()) for name in each["required"]]
    for name, field in node["properties"].items():
        path = f"`{at}{name}`"
        shown = f"**{path}**" if name in node["required"] else path
        told = [field["description"]]
        is_personal = personal or field.get("personal", False)
        if name in one_of:
            told.append(f"one of {' and '.join(one_of)} is required")
        if "since" in field:
            told.append(f"from version {field['since']} on")
        if is_personal:
            told.append("personal")
        inner = field.get("items", field)
        rules = [*_own_rules(field), *(_own_rules(inner) if inner is not field else ())]
        if rules:
            told.append(f"rules: {', '.join(rules)}")
        yield f"| {shown} | {_kind(field)} | {'; '.join(told)} |"
        if "properties" in inner:
            below = f"{at}{name}{'[]' if 'items' in field else ''}."
            yield from _rows(inner, below, personal=is_personal)


def _own_rules(node: Node) -> list[str]:
    names = [node["rule"]["name"]] if "rule" in node else []
    return [f"`{name}`" for name in (*names, *(rule.name for rule in node.get("quality", ())))]


def _rules() -> str:
    rows: dict[tuple[str, str, str], list[str]] = {}
    for contract in CONTRACTS.values():
        for row in _described(contract.schema, ""):
            streams = rows.setdefault(row, [])
            streams += [contract.stream] * (contract.stream not in streams)
    return _RULES + "\n".join(
        f"| `{name}` | {', '.join(streams)} | {what} | {advice} |" for (name, what, advice), streams in rows.items()
    )


def _described(node: Node, name: str) -> Iterator[tuple[str, str, str]]:
    """Yield of each rule of a node, at any level, its name, what meets it, and what to do."""
    if "rule" in node:
        rule = node["rule"]
        (limit,) = rule["limits"]
        field = "the key" if limit == "not" else f"`{name}`"
        yield rule["name"], f"rejected: {field} {_BEYOND[limit]}", f"{rule['advice'][0].upper()}{rule['advice'][1:]}."
    for each in node.get("quality", ()):
        of = f"{each.least} or more" if each.least > 1 else "the"
        bound = "" if each.share == 1 else "at least " if each.or_equal else "more than "
        often = f"{bound}{_SHARES[each.share]} {of} records have "
        alone = f" (asked of {each.asked_of})" if each.asked_of else ""
        yield each.name, f"{often if each.share else ''}{each.what}{alone}", each.advice
    for field, below in [*node.get("properties", {}).items(), *([(name, node["items"])] if "items" in node else ())]:
        yield from _described(below, field)


def _kind(node: Node) -> str:
    if is_time(node):
        return "time: Unix seconds, or ISO text"
    return {"string": "text", "boolean": "true or false"}.get(node["type"]) or str(node["type"])


if __name__ == "__main__":
    print(page(), end="")
