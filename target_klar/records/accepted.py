"""Schemas of what is accepted where that is not the contract as it stands: more than it, or less."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from target_klar.contract.schema import at_least_one, is_time, number, with_children

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_klar.contract.schema import Node

# What JSON can express: the schema of extra fields and, without validation, of every field but times.
_ANYTHING: Final = {"$ref": "#/$defs/anything"}
DEFS: Final = {
    "anything": {
        "type": ["null", "boolean", "number", "string", "array", "object"],
        "items": _ANYTHING,
        "propertyNames": {"type": "string"},
        "additionalProperties": _ANYTHING,
    }
}
"""What a schema from here refers to, its `$defs`."""


def without_empty_text(node: Node, *, required: bool) -> Node:
    """Return a node whose fields have no empty text, which conforming omits, unless they are `required`."""
    if "properties" in node:
        kept = node["required"] if required else ()
        full = {
            name: field | {"minLength": 1}
            for name, field in node["properties"].items()
            if field.get("type") == "string" and name not in kept
        }
        node = node | {"properties": node["properties"] | full}
    return with_children(node, partial(without_empty_text, required=required))


def with_extras(node: Node, extras: Sequence[str]) -> Node:
    """Return a node that takes anything JSON has in the `extras`, at every level."""
    if "properties" in node:
        node = node | {"properties": dict.fromkeys(extras, _ANYTHING) | node["properties"]}
    return with_children(node, partial(with_extras, extras=extras))


def unvalidated(node: Node, key: str, also_key: Sequence[str] = ()) -> Node:
    """Return the schema of what can be sent at all: there is a whole key, times are read, Klar judges the rest.

    Of a key of several fields, the first alone is none.
    """
    schema = _loosened(node)
    fields = schema["properties"] | {name: node["properties"][name] for name in (key, *also_key)}
    schema |= {"type": "object", "properties": fields, "required": [key]}
    return at_least_one(also_key, schema) if also_key else schema


def _loosened(node: Node) -> Node:
    loose = _ANYTHING | {name: node[name] for name in ("personal",) if name in node}
    match node:
        case {"format": _} if is_time(node):
            return number("") | {"format": node["format"]}
        case {"properties": fields}:
            return loose | {"properties": {name: _loosened(field) for name, field in fields.items()}}
        case {"items": item}:
            return loose | {"items": _loosened(item)}
    return loose
