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

What Klar takes, field by field, as `target_klar/contract/` has it and checks it; `python tests/support/streams_page.py`
prints this page. Names of columns are compared without case and underscores, so `line_items` is `lineItems`. Bold
fields are required: which ones Klar requires is our reading, since Klar's help pages do not say it. An empty optional
field is left out. [M] marks what Klar's own Magento module shows and no help page says. A name such as
`negative_quantity` is that of a data quality rule: what Klar would take and no merchant can mean is rejected, or
counted and warned of, unless `ignore_quality_rules` has the name."""


def page() -> str:
    """Return the whole page."""
    return "\n\n".join([_HEAD, *map(_section, CONTRACTS.values())]) + "\n"


def _section(contract: Contract) -> str:
    keys = " with ".join(
        [f"`{contract.key}`", *([" or ".join(f"`{name}`" for name in contract.also_key)] * bool(contract.also_key))]
    )
    facts = [f"Key: {keys}.", f"Version `{contract.version}`, set by `{contract.version_setting}`."]
    if contract.cancels_by:
        facts.append(f"An empty `{contract.cancels_by}` cancels what Klar holds.")
    if contract.cancelled_at:
        facts.append(f"`{contract.cancelled_at}` cancels it.")
    if not contract.validates:
        facts.append("Klar has no endpoint that checks it without loading: a dry run checks it here alone.")
    if contract.private:
        facts.append("No message shows a value of what is marked personal.")
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
