"""Decoders that validate what is sent: they read JSON that meets a schema of the contract, and fail on any other."""

from __future__ import annotations

from decimal import Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

import msgspec

from target_klar.records.json_codec import ENCODE_ERRORS, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_klar.contract.schema import Node

Decoder: TypeAlias = "Callable[[msgspec.Raw | bytes], Any]"
"""Reads JSON as a typed object."""

DECODE_ERRORS: Final = (msgspec.MsgspecError, UnicodeError, ArithmeticError, RecursionError)
"""What a decoder raises if the text does not fit its schema, or is not JSON."""


def decoder_for(schema: Node) -> Decoder:
    """Return a decoder of JSON that meets the schema; it raises `DECODE_ERRORS` for any other.

    Numbers are read as doubles, as Klar does: one that is out of bounds by less than a double can tell is within them.
    """
    return msgspec.json.Decoder(_type(schema, "Record"), float_hook=Decimal).decode


def meets(decoder: Decoder, value: object) -> bool:
    """Tell whether a value can be written as JSON that a decoder reads."""
    try:
        decoder(encode(value))
    except (*ENCODE_ERRORS, *DECODE_ERRORS):
        return False
    return True


def _type(node: Node, name: str) -> Any:
    """Compile a node of a schema; one that has several types, or leads elsewhere, takes whatever JSON has."""
    match node:
        case {"type": "object", "properties": fields}:
            return _struct(node, {field: _type(wanted, f"{name}_{field}") for field, wanted in fields.items()}, name)
        case {"type": "array", "items": item}:
            some = msgspec.Meta(min_length=node.get("minItems", 0))
            return Annotated[list[_type(item, name)], some]  # type: ignore[misc]  # a type that is made at run time
        case {"enum": values}:
            return Literal[*values]
        case {"not": {}, "type": "string"}:
            pass  # values that are none, which `_struct` asks for
        case {"not": _}:
            return msgspec.UnsetType  # which no value is
    leaves = {
        "string": Annotated[str, msgspec.Meta(min_length=node.get("minLength", 0))],
        "number": Annotated[
            float,
            msgspec.Meta(ge=node.get("minimum"), le=node.get("maximum"), multiple_of=node.get("multipleOf")),
        ],
        "boolean": bool,
    }
    return leaves.get(str(node.get("type")), Any)


def _struct(node: Node, types: dict[str, Any], name: str) -> type[msgspec.Struct]:
    members = []
    names = {}
    for number, (field, kind) in enumerate(types.items()):
        # An extra field may have a name that no attribute can have.
        attribute = field if field.isidentifier() and not field.startswith("_") else f"_{number}"
        names[attribute] = field
        required = field in node["required"]
        members.append((attribute, kind) if required else (attribute, kind | msgspec.UnsetType, msgspec.UNSET))
    check = _checker_of(node)
    return msgspec.defstruct(
        name,
        members,
        rename=names,
        namespace={"__post_init__": check} if check else {},
        kw_only=True,
        forbid_unknown_fields=not node.get("additionalProperties", True),
        gc=False,
    )


def _checker_of(node: Node) -> Callable[[Any], None] | None:
    """Return what raises a `ValueError` for an object that meets its types and not its schema; None if there is none.

    That is one without any of the fields of which one is required, or with a value that a field excludes.
    """
    wanted = [attrgetter(name) for each in node.get("anyOf", ()) for name in each["required"]]
    excluded = [
        (attrgetter(name), frozenset(field["not"]["enum"]))
        for name, field in node["properties"].items()
        if "enum" in field.get("not", {})
    ]

    def check(read: Any) -> None:
        for value, values in excluded:
            if value(read) in values:
                raise ValueError("a value that is excluded")
        for value in wanted:
            if value(read) is not msgspec.UNSET:
                return
        if wanted:
            raise ValueError("none of the fields of which one is required")

    return check if wanted or excluded else None
