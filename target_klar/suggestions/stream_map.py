"""The stream map to begin with, what a tap's records are known to have, and what a person has to decide first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_sdk.mapper import MAPPER_ALIAS_OPTION, MAPPER_FILTER_OPTION

from target_klar.records.convert import fold
from target_klar.records.deletions import deleted_expression
from target_klar.suggestions.choices import shown_path
from target_klar.suggestions.fields import likely, missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from target_klar.contract.schema import Node
    from target_klar.contract.streams import Contract, Record
    from target_klar.suggestions.choices import Columns, LineColumns, Lines
    from target_klar.suggestions.values import Path


def map_for(stream: str, contract: Contract, columns: Columns) -> tuple[Record, list[str]]:
    """Return the stream map that makes of a tap's records what Klar wants, as far as names and values tell.

    With it comes a sentence for each column that is called what Klar requires and cannot be proposed, with what would
    do. The map filters the records that would cancel what Klar holds by an empty array: a source that has no lines for
    a refund does not say that.
    """
    made: Record = {} if stream == contract.stream else {MAPPER_ALIAS_OPTION: contract.stream}
    advice: list[str] = []
    for field in [*contract.schema["required"], *_alternative(contract.schema, columns)]:
        node = contract.schema["properties"][field]
        paths = columns.nearest(field, node)
        if len(paths) > 1:
            advice.append(f"{_either(paths)} may be `{field}`: name the right one.")
        elif paths:
            of_objects = "properties" in node.get("items", {})
            expression, more = (_array if of_objects else _scalar)(field, node, paths[0], columns)
            advice += more
            if expression:
                made[field] = expression
    kept = _filter(contract, made, columns) if made else None
    return made | {MAPPER_FILTER_OPTION: kept} if kept else made, advice


def _alternative(schema: Node, columns: Columns) -> list[str]:
    """Return the first known one of fields of which an object has to have one, if none is there by its name."""
    fields = [each["required"][0] for each in schema.get("anyOf", ())]
    if any(columns.optional(field, schema["properties"][field]) for field in fields):
        return []
    return [field for field in fields if columns.choose(field, schema["properties"][field])][:1]


def _scalar(field: str, node: Node, path: Path, columns: Columns) -> tuple[str, list[str]]:
    advice = columns.advise(field, node, path)
    is_right = not _is_named(field, path) and columns.choose(field, node) is not None
    return columns.read(path) if is_right else "", [advice] if advice else []


def _array(field: str, node: Node, path: Path, columns: Columns) -> tuple[str, list[str]]:
    """Return what makes Klar's array of a list, and what a person has to decide where a required field is unknown."""
    within, inner = columns.within(field, path), node["items"]
    parts: list[str] = []
    unknown: list[str] = []
    advice: list[str] = []
    for name, wanted in inner["properties"].items():
        required = name in inner["required"]
        found = within.choose(name, wanted) if required else within.optional(name, wanted)
        if found is not None:
            parts.append(f"{name!r}: {within.read(found)}")
        elif required:
            parts.append(f"{name!r}: ...")
            unknown.append(f"`{name}`")
            advice += _advice_on_line(field, name, wanted, shown_path(path), within)
    source, lines = within.lines.source(columns.read(path)), within.lines
    made = f"[{{{', '.join(parts)}}} for line in {source}]"
    made += f" if {source} is not None else None" if columns.lacks(path) else ""
    if unknown:
        return "", [*advice, f"{shown_path(path)} holds a list. Fill in {' and '.join(unknown)}: `{made}`"]
    if lines.is_text and ("json",) in columns.values:  # which would hide the module that reads the text
        return "", []
    if lines.wrapper is None and not missing(inner, {name for line in lines.items for name in line}):
        made = "" if _is_named(field, path) else columns.read(path)
    return made, []


def _advice_on_line(field: str, name: str, wanted: Node, here: str, within: LineColumns) -> Iterator[str]:
    """Yield what may be a required field of the lines in the column that is called `here`."""
    near = within.nearest(name, wanted)
    if len(near) > 1:
        yield f"{_either(near)} in {here} may be `{name}`: name the right one."
    elif near:
        yield from filter(None, [within.advise(name, wanted, near[0])])
    else:
        columns = (column for (column, *members), held in within.values.items() if held and not members)
        names = [(column,) for column in likely(f"{within.place}.{name}", columns)]
        start = f"{_either(names)} in {here} may be" if names else f"No column in {here} has a name like"
        yield f"{start} `{name}` of `{field}`: {wanted['description']}."


def _either(paths: Sequence[Path]) -> str:
    *others, last = map(shown_path, paths)
    return f"{', '.join(others)} or {last}" if others else last


def _filter(contract: Contract, made: Record, columns: Columns) -> str | None:
    """Return what is false for a record whose array would be empty, and true for one that is deleted."""
    field = contract.cancels_by
    if field is None:
        return None
    if field in made:
        path = columns.nearest(field, contract.schema["properties"][field])[0]
        lines: Lines | None = columns.within(field, path).lines
    else:
        path, lines = columns.empty_list(field)
    if lines is None:
        return None
    kept = lines.source(columns.read(path))
    deletion = columns.deletion_field
    return f"bool({deleted_expression(deletion)} or {kept})" if deletion else f"bool({kept})"


def _is_named(field: str, path: Path) -> bool:
    return len(path) == 1 and fold(path[0]) == fold(field)
