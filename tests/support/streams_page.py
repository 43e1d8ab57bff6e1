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
- A name such as `negative_quantity` is a data quality rule: a value that Klar would take and no merchant can mean. Such
  records are rejected, or counted in a warning, unless `ignore_quality_rules` lists the rule."""


def page() -> str:
    """Return the whole page."""
    return "\n\n".join([_HEAD, *map(_section, CONTRACTS.values())]) + "\n"


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
    if contract.private:
        facts.append("Fields marked personal: no message shows their value.")
    facts.append(f"Control totals: {' and '.join(contract.totals)}.")
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
        private = personal or field.get("personal", False)
        if name in one_of:
            told.append(f"one of {' and '.join(one_of)} is required")
        if "since" in field:
            told.append(f"from version {field['since']} on")
        if private:
            told.append("personal")
        inner = field.get("items", field)
        rules = [*_own_rules(field), *(_own_rules(inner) if inner is not field else ())]
        if rules:
            told.append(f"rules: {', '.join(rules)}")
        yield f"| {shown} | {_kind(field)} | {'; '.join(told)} |"
        if "properties" in inner:
            below = f"{at}{name}{'[]' if 'items' in field else ''}."
            yield from _rows(inner, below, personal=private)


def _own_rules(node: Node) -> list[str]:
    names = [node["rule"]["name"]] if "rule" in node else []
    return [f"`{name}`" for name in (*names, *(rule.name for rule in node.get("quality", ())))]


def _kind(node: Node) -> str:
    if is_time(node):
        return "time: Unix seconds, or ISO text"
    return {"string": "text", "boolean": "true or false"}.get(node["type"]) or str(node["type"])


if __name__ == "__main__":
    print(page(), end="")
