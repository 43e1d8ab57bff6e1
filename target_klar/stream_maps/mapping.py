"""What one of the SDK's stream maps makes of a record: another record, nothing, or a rejection."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from simpleeval import NameNotDefined
from singer_sdk.exceptions import MapExpressionError
from singer_sdk.mapper import MAPPER_ALIAS_OPTION, MAPPER_FILTER_OPTION, NULL_STRING, CustomStreamMap

from target_klar.records.convert import fold
from target_klar.records.deletions import deletion_fields
from target_klar.records.formatting import Problem, listed, shorten

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from singer_sdk.mapper import StreamMap

LONGEST_REASON = 300
"""How many characters of what the SDK says are shown; an expression of the user's for the most part."""

# What these say of a failed stream map names types and fields; what others say may quote a record.
_HARMLESS = (ArithmeticError, AttributeError, IndexError, NameError, TypeError)


class Failure(NamedTuple):
    """What is known of a record that a map fails on."""

    problem: Problem
    key: dict[str, Any]
    """The fields of Klar's key that the map makes of it all the same."""


def mapped(
    stream_map: StreamMap, record: dict[str, Any], definition: dict[str, Any], key: Collection[str] = ()
) -> dict[str, Any] | Failure | None:
    """Return what the map makes of a record, or None if its filter drops it; the record stays as it is.

    Its own mark of deletion stays, unless the map sets one: a map that lists its fields would lose it. A `Failure` has
    the fields of this `key`.
    """
    try:
        made = stream_map.transform(dict(record))
        if made is None:  # for what the filter drops, and also for an empty object
            if not stream_map.get_filter_result(record):
                return None
            made = {}
    except Exception as error:  # noqa: BLE001  # an expression of the user's may fail in any way
        problem = _problem(stream_map, record, definition, error)
        return Failure(problem, _fields(key, stream_map, record, definition))
    absent = removed_by(definition).difference(record)
    for column in _overruled(tuple(made), set_by(definition), absent):
        del made[column]
    own = deletion_fields(record)
    return made | own if own and not deletion_fields(made) else made


def _fields(
    names: Collection[str], stream_map: StreamMap, record: dict[str, Any], definition: dict[str, Any]
) -> dict[str, Any]:
    """Return the fields of these names that a map makes of a record though it fails on another; none if on one."""
    folded = {fold(name) for name in names}
    options = {name: option for name, option in definition.items() if fold(name) in folded}
    if not (folded and isinstance(stream_map, CustomStreamMap)):
        return {}
    alone = CustomStreamMap(
        stream_alias=stream_map.stream_alias,
        map_config=stream_map.map_config,
        faker_config=stream_map.faker_config,
        raw_schema=stream_map.raw_schema,
        key_properties=None,
        map_transform=dict(options),
        flattening_options=None,
        stream_name=stream_map.stream_name,
    )
    alone.expr_evaluator = stream_map.expr_evaluator  # which compares as the whole map does
    made = mapped(alone, record, options)
    return {name: made[name] for name in made if fold(name) in folded} if isinstance(made, dict) else {}


def set_by(definition: Mapping[str, Any]) -> frozenset[str]:
    """Return the fields that a map sets by an expression."""
    return frozenset(name for name, _ in expressions(definition)) - {MAPPER_FILTER_OPTION}


def removed_by(definition: Mapping[str, Any]) -> frozenset[str]:
    """Return the columns that a map removes."""
    return frozenset(
        name for name, option in definition.items() if option in (None, NULL_STRING) and not name.startswith("__")
    )


@lru_cache(maxsize=64)
def _overruled(names: tuple[Any, ...], set_by_map: frozenset[str], removed: frozenset[str]) -> list[str]:
    """Return the columns that are another spelling of a field that the map sets, whose own counts, or removes."""
    folded = {fold(name) for name in set_by_map | removed}
    return [name for name in names if isinstance(name, str) and name not in set_by_map and fold(name) in folded]


def _problem(stream_map: StreamMap, record: dict[str, Any], definition: dict[str, Any], error: Exception) -> Problem:
    """Say which expression failed, and what the record has instead of what it asks for."""
    field, expression = _failing(stream_map, record, definition)
    cause = error.__cause__ if isinstance(error, MapExpressionError) else error
    if isinstance(cause, NameNotDefined):
        reason = f"the record has no {shorten(cause.name)}, only {listed(map(shorten, record))}"
    else:
        reason = type(cause).__name__
        if isinstance(cause, _HARMLESS):
            reason += f": {shorten(str(cause), LONGEST_REASON)}"
    by = f" by `{shorten(expression, LONGEST_REASON)}`" if expression else ""
    return Problem(field, f"could not be mapped{by} ({reason})")


def _failing(stream_map: StreamMap, record: dict[str, Any], definition: dict[str, Any]) -> tuple[str, str]:
    """Return the field and the expression that a map has failed on; the SDK's error does not tell the field."""
    if isinstance(stream_map, CustomStreamMap):
        failed, own = stream_map.expr_evaluator.expr, stream_map.expr_evaluator.names.get("self")
        for field, expression in expressions(definition):
            # Of fields with one expression, the one whose own value it was about to read.
            if expression == failed and record.get(field, record.get("self")) is own:
                return field, expression
    return "record", ""


def columns_removed(definition: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the columns that a map removes, if all else that it does is to rename; None if it may do more.

    That needs no evaluating, record by record. A mark of deletion stays, as it does in `mapped`.
    """
    removed = removed_by(definition)
    if not definition.keys() <= removed | {MAPPER_ALIAS_OPTION}:
        return None
    return removed.difference(deletion_fields(dict.fromkeys(removed)))


def expressions(definition: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a stream map sets by an expression, `__filter__` too, each with the expression."""
    return [
        (name, expression)
        for name, expression in definition.items()
        if isinstance(expression, str)
        and expression != NULL_STRING
        and (name == MAPPER_FILTER_OPTION or not name.startswith("__"))
    ]
