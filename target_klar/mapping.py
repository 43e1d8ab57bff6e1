"""What one of the SDK's stream maps makes of a record: another record, nothing, or a rejection."""

from __future__ import annotations

import json
from functools import lru_cache
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

from simpleeval import NameNotDefined
from singer_sdk.exceptions import MapExpressionError, StreamMapConfigError
from singer_sdk.mapper import (
    MAPPER_ALIAS_OPTION,
    MAPPER_ELSE_OPTION,
    MAPPER_FILTER_OPTION,
    MAPPER_KEY_PROPERTIES_OPTION,
    MAPPER_SOURCE_OPTION,
    NULL_STRING,
    CustomStreamMap,
    SameRecordTransform,
)

from target_klar.contract.streams import CONTRACTS
from target_klar.records.conform import Rejection
from target_klar.records.convert import fold
from target_klar.records.deletions import deletion_fields
from target_klar.records.formatting import Problem, listed, shorten
from target_klar.settings.patterns import has_source, meets, source_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from singer_sdk.mapper import PluginMapper, StreamMap

LONGEST_REASON = 300
"""How many characters of what the SDK says are shown; an expression of the user's for the most part."""

# What these say of a failed stream map names types and fields; what others say may quote a record.
_HARMLESS = (ArithmeticError, AttributeError, IndexError, NameError, TypeError)


def in_effect(maps: Mapping[str, Any], stream: str) -> dict[str, Any]:
    """Return the maps that apply to a stream, of those that the user wrote.

    Those are all that have it as their `__source__`, and one of the others: that of the stream's own name, wherever it
    stands, else the last one whose pattern matches.
    """
    matching = {name: definition for name, definition in maps.items() if meets(stream, source_of(name, definition))}
    own = [name for name, definition in matching.items() if not has_source(definition)]
    for name in own if stream in own else own[:-1]:
        if name != stream:
            del matching[name]
    return matching


def definitions_of(maps: Mapping[str, Any], stream: str) -> list[dict[str, Any]]:
    """Return the stream maps that apply to a stream as the user wrote them, without `__NULL__`."""
    return [definition for definition in in_effect(maps, stream).values() if isinstance(definition, dict)]


def definitions_by_map(maps: Mapping[str, Any], stream: str) -> list[tuple[dict[str, Any], bool]]:
    """Return what the user wrote for each map that `registered` returns, and whether a pattern leads there."""
    own: tuple[dict[str, Any], bool] = ({}, False)
    others = []
    for name, definition in in_effect(maps, stream).items():
        found = (definition if isinstance(definition, dict) else {}, source_of(name, definition) != stream)
        if has_source(definition):
            others.append(found)
        else:
            own = found
    return [own, *others]


def mapped(stream_map: StreamMap, record: dict[str, Any], definitions: Sequence[dict[str, Any]], key: str) -> Any:
    """Return what the map makes of a record, a `Rejection`, or None if its filter drops it; the record stays as it is.

    Its own mark of deletion stays, unless the map sets one: a map that lists its fields would lose it. A rejection
    names the record by the column that has the name of Klar's `key`.
    """
    try:
        made = stream_map.transform(dict(record))
        if made is None:  # for what the filter drops, and also for an empty object
            if not stream_map.get_filter_result(record):
                return None
            made = {}
    except Exception as error:  # noqa: BLE001  # an expression of the user's may fail in any way
        own_key = next((value for name, value in record.items() if fold(name) == fold(key)), None)
        label = shorten(str(own_key)) if type(own_key) in (str, int) else None
        return Rejection(label, [_problem(stream_map, record, definitions, error)])
    absent = _removed_by(definitions).difference(record)
    for column in _overruled(tuple(made), set_by(definitions), absent):
        del made[column]
    own = deletion_fields(record)
    return made | own if own and not deletion_fields(made) else made


def set_by(definitions: Sequence[dict[str, Any]]) -> frozenset[str]:
    """Return the fields that maps set by an expression."""
    return frozenset(name for each in definitions for name, _ in expressions(each)) - {MAPPER_FILTER_OPTION}


def _removed_by(definitions: Sequence[dict[str, Any]]) -> frozenset[str]:
    """Return the columns that maps remove."""
    return frozenset(
        name
        for each in definitions
        for name, option in each.items()
        if option in (None, NULL_STRING) and not name.startswith("__")
    )


@lru_cache(maxsize=64)
def _overruled(names: tuple[Any, ...], set_by_map: frozenset[str], removed: frozenset[str]) -> list[str]:
    """Return the columns that are another spelling of a field that the map sets, whose own counts, or removes."""
    folded = {fold(name) for name in set_by_map | removed}
    return [name for name in names if isinstance(name, str) and name not in set_by_map and fold(name) in folded]


def _problem(
    stream_map: StreamMap, record: dict[str, Any], definitions: Sequence[dict[str, Any]], error: Exception
) -> Problem:
    """Say which expression failed, and what the record has instead of what it asks for."""
    field, expression = _failing(stream_map, record, definitions)
    cause = error.__cause__ if isinstance(error, MapExpressionError) else error
    if isinstance(cause, NameNotDefined):
        reason = f"the record has no {shorten(cause.name)}, only {listed(map(shorten, record))}"
    else:
        reason = type(cause).__name__
        if isinstance(cause, _HARMLESS):
            reason += f": {shorten(str(cause), LONGEST_REASON)}"
    by = f" by `{shorten(expression, LONGEST_REASON)}`" if expression else ""
    return Problem(field, f"could not be mapped{by} ({reason})")


def _failing(stream_map: StreamMap, record: dict[str, Any], definitions: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """Return the field and the expression that a map fails on; the SDK's error does not tell the field."""
    if isinstance(stream_map, CustomStreamMap):
        for field, expression in (each for definition in definitions for each in expressions(definition)):
            alone = CustomStreamMap(
                stream_alias=stream_map.stream_alias,
                map_config=stream_map.map_config,
                faker_config=stream_map.faker_config,
                raw_schema=stream_map.raw_schema,
                key_properties=None,
                map_transform={field: expression},
                flattening_options=None,
                stream_name=stream_map.stream_name,
            )
            try:
                alone.transform(dict(record))
            except Exception:  # noqa: BLE001  # as above
                return field, expression
    return "record", ""


def columns_removed(maps: Sequence[StreamMap], definitions: Mapping[str, Any], stream: str) -> frozenset[str] | None:
    """Return the columns that a stream's map removes, if all else that it does is to rename; None if it may do more.

    That needs no evaluating, record by record. A mark of deletion stays, as it does in `mapped`.
    """
    if len(maps) != 1:
        return None
    if isinstance(maps[0], SameRecordTransform):
        return frozenset()
    defined = [*in_effect(definitions, stream).values()]
    options = dict(defined[0]) if len(defined) == 1 and isinstance(defined[0], dict) else {"": ""}
    options.pop(MAPPER_ALIAS_OPTION, None)
    if any(name.startswith("__") or option not in (None, NULL_STRING) for name, option in options.items()):
        return None
    return frozenset(options).difference(deletion_fields(options))


def expressions(definition: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a stream map sets by an expression, `__filter__` too, each with the expression."""
    return [
        (name, expression)
        for name, expression in definition.items()
        if isinstance(expression, str)
        and expression != NULL_STRING
        and (name == MAPPER_FILTER_OPTION or not name.startswith("__"))
    ]


def registered(mapper: PluginMapper, stream: str, schema: dict[str, Any], keys: list[str]) -> list[StreamMap]:
    """Return what the SDK's mapper makes of a stream's maps.

    It sees those alone that are in effect: by itself it lets the last one win, and so a `*` behind a stream's own map.

    Raises:
        StreamMapConfigError: They cannot be used.
    """
    written = mapper.stream_maps_dict
    mapper.stream_maps_dict = in_effect(written, stream)
    try:
        mapper.register_raw_stream_schema(stream, outline(schema, keys), keys)
    except Exception as error:  # what `map_mistakes` cannot know: the SDK's mapper may fail in any way
        columns = set(outline(schema, keys)["properties"])
        for definition in definitions_of(mapper.stream_maps_dict, stream):
            if isinstance(error, StreamMapConfigError) and (lost := _lost_keys(definition, stream, columns, keys)):
                raise StreamMapConfigError(lost) from error
        why = shorten(f"{type(error).__name__}: {error}", LONGEST_REASON)
        raise StreamMapConfigError(
            f"The stream map of {shorten(stream)} cannot be used ({why}). Check `stream_maps`."
        ) from error
    finally:
        mapper.stream_maps_dict = written
    maps = list(mapper.stream_maps[stream])
    if not all(isinstance(each.stream_alias, str) for each in maps):
        raise StreamMapConfigError(f"The stream map of {shorten(stream)} has an `__alias__` that is not a name.")
    return maps


def _lost_keys(definition: Mapping[str, Any], stream: str, columns: set[str], keys: Sequence[str]) -> str:
    """Say what to add to a map that drops the tap's key, which the SDK does not take; nothing if it keeps it."""
    kept = set() if MAPPER_ELSE_OPTION in definition else columns
    made = (kept | set_by([dict(definition)])) - _removed_by([dict(definition)])
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
    what = f"The stream map of {shorten(stream)} drops {', '.join(map(shorten, lost))}, which is the tap's key."
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
