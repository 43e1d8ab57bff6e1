"""Words for what Klar takes: each makes a node of a JSON Schema (2020-12) that says what the field means.

How Klar reads numbers, and which of them are times, is our reading: no page of Klar's says it.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Node: TypeAlias = dict[str, Any]

LARGEST_NUMBER: Final = sys.float_info.max
"""Klar reads numbers as JavaScript does, as doubles: a larger one would be infinite."""

# Klar wants seconds, and no 0 for an unknown time (Refunds page). The bounds tell seconds from milliseconds (longer)
# and from dates written as numbers, such as 20240101 or 45292 (shorter).
UNIX_SECONDS: Final[Node] = {
    "type": "number",
    "minimum": 100_000_000,
    "maximum": 9_999_999_999,
    "format": "unix-seconds",
}


def text(description: str) -> Node:
    """Return a node for text, also empty."""
    return {"type": "string", "description": description}


def key(description: str) -> Node:
    """Return a node for text that is not empty."""
    return {"type": "string", "minLength": 1, "description": description}


def number(description: str, *, least: float = -LARGEST_NUMBER) -> Node:
    """Return a node for a number that a double can hold."""
    return {"type": "number", "minimum": least, "maximum": LARGEST_NUMBER, "description": description}


def boolean(description: str) -> Node:
    """Return a node for true or false."""
    return {"type": "boolean", "description": description}


def time(description: str) -> Node:
    """Return a node for a time in Unix seconds."""
    return UNIX_SECONDS | {"description": description}


def array(item: Node, description: str) -> Node:
    """Return a node for an array, also empty."""
    return {"type": "array", "items": item, "description": description}


def closed(description: str, required: Sequence[str], /, **fields: Node) -> Node:
    """Return a node for an object of these fields and no others."""
    return {
        "type": "object",
        "description": description,
        "properties": fields,
        "required": list(required),
        "additionalProperties": False,
    }


def at_least_one(names: Sequence[str], node: Node) -> Node:
    """Return the node of an object that has to have at least one of these fields."""
    return node | {"anyOf": [{"required": [name]} for name in names]}


def personal(node: Node) -> Node:
    """Return a node for personal data, of which no message shows a value."""
    return node | {"personal": True}


def since(version: str, node: Node) -> Node:
    """Return a node that Klar knows from a version of the endpoint on, MM.YYYY."""
    return node | {"since": version}


def for_api_version(node: Node, version: str, setting: str) -> Node:
    """Return a node as a version of the endpoint has it, MM.YYYY, set by `setting`: later fields may not be there."""
    first = node.get("since", version)
    if _month(version) < _month(first):
        return {"not": {}, "description": f"is known to Klar from version {first} on", "advice": f"set `{setting}`"}
    return with_children(node, partial(for_api_version, version=version, setting=setting))


def with_children(node: Node, change: Callable[[Node], Node]) -> Node:
    """Return a node with each of its fields changed, or the items of its array."""
    match node:
        case {"properties": fields}:
            return node | {"properties": {name: change(field) for name, field in fields.items()}}
        case {"items": item}:
            return node | {"items": change(item)}
    return node


def personal_names(node: Node) -> frozenset[str]:
    """Return the names of fields that are personal data, or below it, wherever they stand."""
    names = [*_names(node)]
    return frozenset(name for name, is_personal in names if is_personal) - {
        name for name, is_personal in names if not is_personal
    }


def _names(node: Node, *, below: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield the name of each field, at any level, with whether it is personal data, or `below` it."""
    for name, field in node.get("properties", {}).items():
        is_personal = below or field.get("personal", False)
        yield name, is_personal
        yield from _names(field, below=is_personal)
    if "items" in node:
        yield from _names(node["items"], below=below)


def is_time(node: Mapping[str, Any]) -> bool:
    """Tell whether a node wants Unix seconds."""
    return bool(node.get("format") == UNIX_SECONDS["format"])


def _month(version: str) -> tuple[str, ...]:
    month, year = version.split(".")
    return year, month
