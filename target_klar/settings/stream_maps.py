"""Stream maps as the user wrote them: their mistakes, and which of them matched no stream.

The SDK finds most of that only at a stream's SCHEMA, some of it only at a record, and takes an option that it does not
have for a field: `__filtr__` would load everything.
"""

from __future__ import annotations

import ast
import datetime as dt
import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from simpleeval import DEFAULT_FUNCTIONS, DISALLOW_METHODS, DISALLOW_PREFIXES
from singer_sdk.mapper import (
    MAPPER_ALIAS_OPTION,
    MAPPER_ELSE_OPTION,
    MAPPER_FILTER_OPTION,
    MAPPER_KEY_PROPERTIES_OPTION,
    MAPPER_SOURCE_OPTION,
    NULL_STRING,
)

from target_klar.contract.streams import CONTRACTS
from target_klar.records.formatting import shorten, shorten_both
from target_klar.records.spelling import closest_match
from target_klar.settings.map_conditions import senseless_conditions
from target_klar.settings.map_keys import wrong_key
from target_klar.settings.patterns import meets, patterns_without_effect, source_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

_OF_A_MAP = (
    MAPPER_ALIAS_OPTION,
    MAPPER_ELSE_OPTION,
    MAPPER_FILTER_OPTION,
    MAPPER_KEY_PROPERTIES_OPTION,
    MAPPER_SOURCE_OPTION,
)
_OF_ALL_MAPS = (MAPPER_ELSE_OPTION,)
_WORDS = {option.strip("_") for option in _OF_A_MAP}
_MAX_LEVELS = 300
"""Each takes three of Python's 1,000 nested calls to evaluate an expression."""
CONTAINERS = frozenset({"dict", "list", "set", "tuple"})
FUNCTIONS = CONTAINERS | {*DEFAULT_FUNCTIONS, "md5", "sha256", "bool"}
_MODULES: Mapping[str, object] = {"datetime": dt, "json": json}
MODULES = frozenset(_MODULES)
"""What an expression can call by its name, and the modules whose functions it can: those of `CustomStreamMap`."""
MEMBERS_OF_VALUES = frozenset(name for kind in (dict, list, str) for name in dir(kind))
"""What an expression reads of a value, and not of an object in it."""


def map_mistakes(maps: object, config: object = None) -> Iterator[str]:
    """Yield a line for each mistake: what the SDK's mapper could not use, or would misunderstand.

    `config` is the value of `stream_map_config`.
    """
    known = config if isinstance(config, dict) else {}
    if not isinstance(maps, dict):
        yield "`stream_maps` must be an object with an entry for each stream, as JSON."
        return
    for stream, entry in maps.items():
        place = f"stream_maps.{shorten(stream)}"
        if stream in _OF_ALL_MAPS:
            yield from _wrong_option(place, stream, entry)
        elif _looks_like_option(stream, _OF_ALL_MAPS):
            yield _unknown(place, stream, _OF_ALL_MAPS)
        elif isinstance(entry, dict):
            mistakes = [*_wrong_entry(place, entry, known)]
            yield from mistakes or _wrong_keys(place, stream, entry)
        elif entry not in (None, NULL_STRING):
            yield f"`{place}` must be an object of fields, or {NULL_STRING} to drop the stream."
    yield from patterns_without_effect(maps)


def unused_maps(maps: Mapping[str, Any], came: Collection[str], *, of_one_stream: bool) -> str:
    """Name the streams that have a map and did not come, each with the one that came and was perhaps meant.

    In a run of one stream by design the others have runs of their own, with the same maps perhaps: those alone are
    named that may be misspelled, where it has no map.
    """
    missing = _missing(maps, came)
    if of_one_stream:
        has_map = any(meets(stream, source) for stream in came for source in _sources(maps))
        missing = [source for source in missing if not has_map and closest_match(source, came)]
    names = []
    for source in missing:
        right = closest_match(source, came)
        shown = shorten_both(source, right) if right else (shorten(source),)
        names.append(" (did you mean ".join(shown) + "?)" * (len(shown) > 1))
    return ", ".join(names)


def unmatched_map(maps: Mapping[str, Any], came: Collection[str], stream: str) -> str | None:
    """Return the stream whose map was perhaps meant for this one, which comes now and has no map of its own."""
    mapped = any(meets(stream, source) for source in _sources(maps))
    return None if mapped or stream in came else closest_match(stream, _missing(maps, came))


def _missing(maps: Mapping[str, Any], came: Collection[str]) -> list[str]:
    return [source for source in _sources(maps) if not any(meets(stream, source) for stream in came)]


def _sources(maps: Mapping[str, Any]) -> list[str]:
    return [source_of(stream, entry) for stream, entry in maps.items()]


def _wrong_entry(place: str, entry: dict[str, Any], config: Collection[str]) -> Iterator[str]:
    if MAPPER_ALIAS_OPTION in entry and MAPPER_SOURCE_OPTION in entry:
        yield f"`{place}` must have {MAPPER_ALIAS_OPTION} or {MAPPER_SOURCE_OPTION}, not both."
    for name, value in entry.items():
        within = f"{place}.{shorten(name)}"
        if name in _OF_A_MAP:
            yield from _wrong_option(within, name, value, config)
        elif _looks_like_option(name, _OF_A_MAP):
            yield _unknown(within, name, _OF_A_MAP)
        elif value in (None, NULL_STRING):
            continue
        elif _word(name) in _WORDS:  # a field that Klar does not know: a filter would let everything pass
            yield _unknown(within, name, _OF_A_MAP)
        else:
            yield from _wrong_expression(within, name, value, config)


def _looks_like_option(name: str, options: Iterable[str]) -> bool:
    """Tell whether a name has the form of an option, or nearly so; `_source` may well be a column."""
    framed = name.endswith("__") or name[:1] == name[-1:] == "_"
    return name.startswith("__") or (framed and closest_match(name, options) is not None)


def _word(name: str) -> str:
    return name.strip("_").lower()


def _unknown(place: str, name: str, options: Iterable[str]) -> str:
    right = closest_match(name, options) or closest_match(f"__{_word(name)}__", options)
    hint = f" Did you mean `{right}`?" if right else ""
    return f"`{place}` is not an option of a stream map.{hint} The options are {', '.join(options)}."


def _wrong_option(place: str, option: str, value: object, config: Collection[str] = ()) -> Iterator[str]:
    if option == MAPPER_ELSE_OPTION:
        if value not in (None, NULL_STRING):
            yield f"`{place}` must be {NULL_STRING}."
    elif option == MAPPER_FILTER_OPTION:
        yield from _wrong_expression(place, option, value, config)
    elif option == MAPPER_KEY_PROPERTIES_OPTION:
        if value is not None and not (isinstance(value, list) and all(isinstance(name, str) for name in value)):
            yield f"`{place}` must be a list of names."
    elif not (isinstance(value, str) and value and (option == MAPPER_SOURCE_OPTION or _may_be_name(value))):
        *others, last = CONTRACTS
        known = f" Klar has {', '.join(others)} and {last}." * (option == MAPPER_ALIAS_OPTION)
        yield f"`{place}` must be the name of a stream.{known}"


def _may_be_name(alias: str) -> bool:
    """Tell whether the SDK can read an alias, of which it takes a name for one that is not defined."""
    try:
        (statement,) = _parse(alias.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return isinstance(statement, ast.Expr)


def _wrong_expression(place: str, name: str, value: object, config: Collection[str]) -> Iterator[str]:
    is_filter = name == MAPPER_FILTER_OPTION
    meaning = "that is true for the records to keep" if is_filter else f"or {NULL_STRING} to leave the field out"
    wanted = f"`{place}` must be one expression as text, {meaning}"
    if not isinstance(value, str):
        yield f"{wanted}."
        return
    try:
        statements = _parse(value)
    except (SyntaxError, ValueError) as error:
        why = error.msg if isinstance(error, SyntaxError) else type(error).__name__
        yield f"{wanted} ({why})."
        return
    except (RecursionError, MemoryError):
        yield f"{wanted} (nested deeper than {_MAX_LEVELS} levels)."
        return
    if len(statements) != 1 or not isinstance(statements[0], ast.Expr):
        yield f"{wanted}."
        return
    called = {
        node.func.id
        for node in ast.walk(statements[0])
        if isinstance(node, ast.Call)
        if isinstance(node.func, ast.Name)
    }
    for function in sorted(called - FUNCTIONS - MODULES):
        yield (
            f"`{place}` calls {shorten(function)}(), which stream maps do not have. The functions are "
            f"{', '.join(sorted(FUNCTIONS))}, and those of {' and '.join(sorted(MODULES))}."
        )
    names = _unusable_names(statements[0], config)
    conditions = senseless_conditions(statements[0], value, is_filter=is_filter)
    for wrong in dict.fromkeys([*names, *conditions]):
        yield f"`{place}` {wrong}"


def _wrong_keys(place: str, stream: str, entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the expressions for Klar's key in a map that has no other mistakes."""
    for name, value in entry.items():
        if value not in (None, NULL_STRING) and not name.startswith("__"):
            for wrong in wrong_key(stream, entry, name, ast.parse(value)):
                yield f"`{place}.{shorten(name)}` {wrong}"


def _parse(expression: str) -> list[ast.stmt]:
    """Return the statements of an expression.

    Raises:
        RecursionError: It is nested too deep to be evaluated wherever a run does that.
    """
    statements = ast.parse(expression).body
    level: list[ast.AST] = [*statements]
    for _ in range(_MAX_LEVELS):
        level = [inner for node in level for inner in ast.iter_child_nodes(node)]
    if level:
        raise RecursionError
    return statements


def _unusable_names(expression: ast.Expr, config: Collection[str]) -> Iterator[str]:
    """Yield what is wrong with the names that cannot work, whatever a record holds; one may come twice."""
    nodes = [*ast.walk(expression)]
    names = [node for node in nodes if isinstance(node, ast.Name)]
    bound = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    if "fake" in {node.id for node in names} - bound and find_spec("faker") is None:
        yield (
            "uses fake, for which the package faker has to be installed in target-klar's environment (`pip install "
            f"faker`). {_as_column('fake')}"
        )
    for node in nodes:
        if not isinstance(node, ast.Attribute):
            continue
        if node.attr in DISALLOW_METHODS:
            yield f"uses .{node.attr}, which stream maps do not allow."
        elif node.attr.startswith(tuple(DISALLOW_PREFIXES)):
            name = shorten(node.attr)
            yield f"uses .{name}, which stream maps do not allow. A column is record['{name}']."
        elif (
            node.attr not in MEMBERS_OF_VALUES
            and (module := _of_module(node.value, bound)) is not None
            and not hasattr(module, node.attr)
        ):
            name = shorten(ast.unparse(node))
            yield f"uses {name}, which stream maps do not have. {_as_column(name.partition('.')[0])}"
    if "config" not in bound:
        yield from _unknown_config(nodes, config)


def _as_column(name: str) -> str:
    return f"If `{name}` is a column, write record['{name}']."


def _of_module(node: ast.AST, bound: Collection[str]) -> object:
    """Return the module of an expression's, or what is read of it; None for anything else."""
    match node:
        case ast.Name(id=name) if name not in bound:
            return _MODULES.get(name)
        case ast.Attribute(value=inner, attr=name):
            return getattr(_of_module(inner, bound), name, None)
    return None


def _unknown_config(nodes: Collection[ast.AST], config: Collection[str]) -> Iterator[str]:
    """Yield what is read of `stream_map_config` and is not there, unless an expression looks what is."""
    read: list[str] = []
    for node in nodes:
        match node:
            case ast.Subscript(value=ast.Name(id="config"), slice=ast.Constant(value=str(name))):
                read.append(name)
            case ast.Attribute(value=ast.Name(id="config"), attr=name) if name not in MEMBERS_OF_VALUES:
                read.append(name)
    if len(read) == sum(isinstance(node, ast.Name) and node.id == "config" for node in nodes):
        for name in read:
            if name not in config:
                right = closest_match(name, config)
                shown, near = shorten_both(name, right) if right else (shorten(name), "")
                hint = f" Did you mean `{near}`?" if near else ""
                yield f"reads `{shown}` of config, which `stream_map_config` does not have.{hint}"
