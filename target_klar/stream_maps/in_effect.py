"""Which of the user's stream maps apply to a source stream, and what the SDK's mapper makes of them."""

from __future__ import annotations

import json
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, NamedTuple

from singer_sdk.exceptions import StreamMapConfigError
from singer_sdk.mapper import (
    MAPPER_ALIAS_OPTION,
    MAPPER_ELSE_OPTION,
    MAPPER_KEY_PROPERTIES_OPTION,
    MAPPER_SOURCE_OPTION,
    RemoveRecordTransform,
)

from target_klar.contract.streams import CONTRACTS
from target_klar.records.convert import fold
from target_klar.records.formatting import shorten
from target_klar.settings.patterns import has_source, meets, own_maps, source_of
from target_klar.stream_maps.mapping import LONGEST_REASON, removed_by, set_by

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from singer_sdk.mapper import PluginMapper, StreamMap


def in_effect(maps: Mapping[str, Any], stream: str) -> dict[str, Any]:
    """Return the maps that apply to a stream, of those that the user wrote.

    Those are all that have it as their `__source__`, and one of the others: that of the stream's own name, wherever it
    stands, else the last one whose pattern matches.
    """
    own = own_maps(maps, stream)[-1:]
    return {
        name: each
        for name, each in maps.items()
        if name in own or (has_source(each) and meets(stream, source_of(name, each)))
    }


def definitions_of(maps: Mapping[str, Any], stream: str) -> list[dict[str, Any]]:
    """Return the stream maps that apply to a stream as the user wrote them, without `__NULL__`."""
    return [definition for definition in in_effect(maps, stream).values() if isinstance(definition, dict)]


class MapInEffect(NamedTuple):
    """A map of a stream."""

    stream_map: StreamMap
    """What the SDK's mapper made of it."""
    definition: dict[str, Any]
    """What the user wrote; nothing where the stream goes on as it is."""
    by_pattern: bool
    """Whether it is that of a pattern, which many streams share."""


def registered(mapper: PluginMapper, stream: str, schema: dict[str, Any], keys: list[str]) -> list[MapInEffect]:
    """Return a stream's maps as the SDK's mapper made them, without one that drops the stream.

    It sees those alone that are in effect: by itself it lets the last one win, and so a `*` behind a stream's own map.

    Raises:
        StreamMapConfigError: They cannot be used.
    """
    written = mapper.stream_maps_dict
    mapper.stream_maps_dict = effective = in_effect(written, stream)
    try:
        mapper.register_raw_stream_schema(stream, outline(schema, keys), keys)
    except Exception as error:  # what `map_mistakes` cannot know: the SDK's mapper may fail in any way
        columns = set(outline(schema, keys)["properties"])
        for definition in definitions_of(effective, stream):
            if isinstance(error, StreamMapConfigError) and (lost := _lost_keys(definition, stream, columns, keys)):
                raise StreamMapConfigError(lost) from error
        why = shorten(f"{type(error).__name__}: {error}", LONGEST_REASON)
        raise StreamMapConfigError(
            f"The stream map of {shorten(stream)} cannot be used ({why}). Check `stream_maps`."
        ) from error
    finally:
        mapper.stream_maps_dict = written
    maps = mapper.stream_maps[stream]
    if not all(isinstance(each.stream_alias, str) for each in maps):
        raise StreamMapConfigError(f"The stream map of {shorten(stream)} has an `__alias__` that is not a name.")
    own = [each for each in effective.items() if not has_source(each[1])] or [(stream, {})]
    others = [each for each in effective.items() if has_source(each[1])]
    return [
        MapInEffect(made, definition, source_of(name, definition) != stream)
        for made, (name, definition) in zip(maps, own + others, strict=True)  # in the SDK's order
        if not isinstance(made, RemoveRecordTransform)
    ]


def _lost_keys(definition: Mapping[str, Any], stream: str, columns: set[str], keys: Sequence[str]) -> str:
    """Say what to add to a map that drops the tap's key, which the SDK does not take; nothing if it keeps it."""
    kept = set() if MAPPER_ELSE_OPTION in definition else columns
    made = (kept | set_by(definition)) - removed_by(definition)
    lost = [key for key in keys if key not in made]
    if not lost or MAPPER_KEY_PROPERTIES_OPTION in definition:
        return ""
    # Under `__source__` the map's own name is Klar's stream, and that is not known here.
    contract = CONTRACTS.get(definition.get(MAPPER_ALIAS_OPTION, "" if MAPPER_SOURCE_OPTION in definition else stream))
    ours = (contract.key, *contract.also_key) if contract else ()
    add: dict[str, Any] = {}
    if contract and len(lost) == 1 and fold(contract.key) not in map(fold, made):
        plain = lost[0].isidentifier() and not iskeyword(lost[0])
        add[contract.key] = lost[0] if plain else f"record[{lost[0]!r}]"
    names = ", ".join(map(shorten, lost))
    what = f"The stream map of {shorten(stream)} drops {names}, the tap's key, and a map has to have one."
    if not add.keys() >= set(lost):
        fields = sorted(name for name in made | add.keys() if fold(name) in map(fold, ours))
        if not fields:
            return f"{what} Set Klar's key in it, and `{MAPPER_KEY_PROPERTIES_OPTION}` to a list with its name."
        add[MAPPER_KEY_PROPERTIES_OPTION] = fields
    return f"{what} Add to the map {json.dumps(add, ensure_ascii=False)[1:-1]}."


def outline(schema: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    """Return the names in the tap's schema, which is all that a map needs: Klar's contract says what they hold.

    The SDK copies a schema level by level, and so fails on one that is deep or odd, or does not describe its keys.
    """
    return {"type": "object", "properties": {name: {} for name in [*schema["properties"], *keys]}}


def names_of(keys: Any) -> list[str]:
    """Return the `key_properties` of a SCHEMA that can be names."""
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []
