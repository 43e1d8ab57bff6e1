"""The quick yes to a record in Klar's own form: its JSON is read as typed objects, in a third of the time.

It says no wherever it is not sure, and then the contract's schema decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from target_klar.contract.streams import JSON, is_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def quick_yes(schema: Mapping[str, Any]) -> Callable[[object], bytes | None]:
    """Return what gives the JSON of a record, as `exact.decode` reads records, that surely meets the schema, else None.

    The record must come out of JSON: of other values Python's, such as dates, msgspec writes some as text.
    """
    read = msgspec.json.Decoder(_type(schema, "Record")).decode
    write = JSON.encode

    def judge(record: object) -> bytes | None:
        try:
            text = write(record)
            read(text)
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
            return None
        return text

    return judge


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
            return float
    raise TypeError(f"no type for {node}")
