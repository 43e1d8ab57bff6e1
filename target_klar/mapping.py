"""What one of the SDK's stream maps is given, and what comes out of it: a record, nothing, or a refusal."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any, Final

from singer_sdk.exceptions import MapExpressionError
from singer_sdk.mapper import SameRecordTransform

from target_klar.records.conform import Refusal, marks
from target_klar.records.words import Problem, shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from singer_sdk.mapper import StreamMap

LONGEST_REASON = 300
"""How many characters of what the SDK says are shown; an expression of the user's for the most part."""

FILTERED: Final = object()
"""Stands in the place of a record that the map's filter drops."""

# What these say of a failed stream map names types and fields; what others say may quote a record.
_HARMLESS = (ArithmeticError, AttributeError, IndexError, NameError, TypeError, MapExpressionError)


def mapped(stream_map: StreamMap, record: dict[str, Any]) -> Any:
    """Return what the map makes of a record, a `Refusal` or `FILTERED`; the record stays as it is.

    Its own mark of deletion stays, unless the map sets one: a map that lists its fields would lose it.
    """
    try:
        made = stream_map.transform(dict(record))
        if made is None:  # for what the filter drops, and also for an empty object
            if not stream_map.get_filter_result(record):
                return FILTERED
            made = {}
    except Exception as error:  # noqa: BLE001  # an expression of the user's may fail in any way
        kind = type(error).__name__
        harmless = isinstance(error, _HARMLESS)
        reason = f"{kind}: {shorten(str(error), LONGEST_REASON)}" if harmless else kind
        return Refusal(None, [Problem("record", f"could not be mapped ({reason})")])
    own = marks(record)
    return made | own if own and not marks(made) else made


def columns_removed(maps: Sequence[StreamMap], definitions: Mapping[str, Any], stream: str) -> frozenset[str] | None:
    """Return what a stream's map removes, if it does nothing else but rename the stream; None where it may do more.

    That needs no evaluating, record by record. A mark of deletion stays, as it does in `mapped`.
    """
    if len(maps) != 1:
        return None
    if isinstance(maps[0], SameRecordTransform):
        return frozenset()
    defined = [definition for name, definition in definitions.items() if fnmatch(stream, name)]
    options = dict(defined[0]) if len(defined) == 1 and isinstance(defined[0], dict) else {"": ""}
    options.pop("__alias__", None)
    if any(name.startswith("__") or option not in (None, "__NULL__") for name, option in options.items()):
        return None
    return frozenset(options).difference(marks(options))


def outline(schema: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    """Return the names in the tap's schema, which is all that a map needs: Klar's contract says what they hold.

    The SDK copies a schema level by level, and so fails on one that is deep or odd, or does not describe its keys.
    """
    return {"type": "object", "properties": {name: {} for name in [*schema["properties"], *keys]}}


def names_of(keys: Any) -> list[str]:
    """Return the `key_properties` of a SCHEMA that can be names."""
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []
