"""The quick yes to a record in Klar's own form: its JSON, as the tap wrote it, is read as typed objects.

It says no wherever it is not sure, and then the contract's schema decides.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from target_klar.contract.streams import is_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def typed_reader(schema: Mapping[str, Any]) -> Callable[[msgspec.Raw | bytes], Any | None]:
    """Return what reads the JSON of a record that surely meets the schema, as an object with its fields, else None."""
    read = msgspec.json.Decoder(_type(schema, "Record"), float_hook=Decimal, dec_hook=_number).decode

    def typed(text: msgspec.Raw | bytes) -> Any | None:
        try:
            return read(text)
        except (msgspec.MsgspecError, UnicodeError, ArithmeticError, RecursionError):  # as `exact.decode` has it
            return None

    return typed


class _Number:
    """Stands for a number that `exact.decode` reads: as `Decimal` msgspec takes text, as `float` any exponent."""


_NUMBER: Final = _Number()


def _number(_: type, value: object) -> _Number:
    if type(value) not in (int, Decimal):
        raise ValueError("no number")
    return _NUMBER


def _type(node: Mapping[str, Any], name: str) -> Any:
    match node:
        case {"type": "object", "properties": fields}:
            types = {field: _type(wanted, f"{name}_{field}") for field, wanted in fields.items()}
            members = [
                (field, kind) if field in node["required"] else (field, kind | msgspec.UnsetType, msgspec.UNSET)
                for field, kind in types.items()
            ]
            return msgspec.defstruct(name, members, kw_only=True, forbid_unknown_fields=True, gc=False)
        case {"type": "array", "items": item}:
            return list[_type(item, name)]  # type: ignore[misc]  # a type that is made at run time
        case {"type": "string"}:
            return Annotated[str, msgspec.Meta(min_length=node.get("minLength", 0))]
        case {"type": "number"} if is_time(node):  # whole ones alone: a double is no judge of the bounds of others
            return Annotated[int, msgspec.Meta(ge=node["minimum"], le=node["maximum"])]
        case {"type": "number"}:
            return _Number
    raise TypeError(f"no type for {node}")
