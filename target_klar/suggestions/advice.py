"""What a person has to decide about a column before Klar can take it, in words, with the expression that would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singer_sdk.mapper import MAPPER_FILTER_OPTION

from target_klar.contract.schema import is_time
from target_klar.records.convert import fold
from target_klar.records.formatting import counted, shorten
from target_klar.records.times import parse_time
from target_klar.suggestions.choices import lines_of
from target_klar.suggestions.fields import likely, says_no_more
from target_klar.suggestions.stream_map import lines_expression
from target_klar.suggestions.values import all_negative, decimal_comma, dotted_date

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from target_klar.contract.schema import Node
    from target_klar.contract.streams import Contract, Record
    from target_klar.suggestions.choices import Columns
    from target_klar.suggestions.values import Path


def advice(contract: Contract, columns: Columns) -> Iterator[str]:
    """Yield a sentence for each column that is called what Klar requires and cannot be proposed, with what would do."""
    for field in contract.schema["required"]:
        node = contract.schema["properties"][field]
        paths = columns.nearest(field, node)
        if len(paths) > 1:
            yield f"{_either(paths)} may be `{field}`: name the right one."
        elif paths and "properties" in node.get("items", {}):
            yield from _of_lines(field, node, paths[0], columns)
        elif paths:
            yield from _of_values(field, node, paths[0], columns, columns.read(paths[0]))


def times(contract: Contract, columns: Columns) -> tuple[list[str], bool]:
    """Return the columns whose values are times, but for Klar's own fields, and whether their names say no more.

    Those that only say what the records are (`refunded_at` in refunds) stand alone, where there are such.
    """
    ours = {fold(field) for field in contract.schema["properties"]}
    found = [
        column
        for (column, *members), held in columns.values.items()
        if not members and held and fold(column) not in ours and all(map(_is_written_time, held))
    ]
    own = [column for column in found if says_no_more(contract.stream, column)]
    return own or found, bool(own)


def _is_written_time(value: object) -> bool:
    return isinstance(value, str) and not value.isdigit() and parse_time(value) is not None


def advice_on_filter(contract: Contract, stream_map: Record) -> Iterator[str]:
    """Yield what a proposed filter drops, and when to leave it out, if `map_for` made one."""
    if MAPPER_FILTER_OPTION in stream_map:
        yield (
            f"`__filter__` below drops {contract.stream} with an empty list, which would cancel them at Klar. If that "
            "is what an empty list means in your source, leave the filter out."
        )


def _of_lines(field: str, node: Node, path: Path, columns: Columns) -> Iterator[str]:
    lines = lines_of(columns.values[path])
    if lines is None:
        return
    within, inner = columns.within(field, lines), node["items"]
    for name in inner["required"]:
        wanted = inner["properties"][name]
        near = within.nearest(name, wanted)
        if len(near) > 1:
            yield f"{_either(near)} in {_shown(path)} may be `{name}`: name the right one."
        elif near:
            yield from _of_values(name, wanted, near[0], within, lines.read(near[0]))
        else:
            names = [(column,) for column in likely(f"{within.place}.{name}", within.names)]
            start = (
                f"{_either(names)} in {_shown(path)} may be"
                if names
                else f"No column in {_shown(path)} has a name like"
            )
            yield f"{start} `{name}` of `{field}`: {wanted['description']}."
    made, unknown = lines_expression(field, node, path, lines, columns)
    if unknown:
        yield f"{_shown(path)} holds a list. Fill in {' and '.join(f'`{each}`' for each in unknown)}: `{made}`"


def _of_values(field: str, node: Node, path: Path, columns: Columns, read: str) -> Iterator[str]:
    held = columns.values[path]
    may_be = f"{_shown(path)} may be `{field}`"
    if is_time(node) and (date := dotted_date(held)):
        written, form = date
        yield f"{may_be}. `datetime.datetime.strptime({read}, '{form}')` reads dates such as {written}, as UTC."
    elif node.get("type") == "number" and not is_time(node) and (comma := decimal_comma(held)):
        written, replaced = comma
        yield f"{may_be}, with a decimal comma ({shorten(written)}). `str({read}){replaced}` reads it, with all digits."
    elif below := columns.negatives(field, path):
        number = f"float({read})" if isinstance(below[0], str) else read
        example = shorten(str(below[0]))
        if all_negative(held):
            yield (
                f"{may_be}, and none of its values is above 0 (such as {example}). If it counts pieces, `-{number}` "
                "makes it positive."
            )
        else:
            yield (
                f"{may_be}, with {len(below):,} of {counted(len(held), 'value')} below 0 ({example}). Check what its "
                "sign means before you map it."
            )
    elif (amount := columns.minor_units(field, node, path)) is not None:
        number = f"int({read})" if isinstance(held[0], str) else read
        yield (
            f"{may_be}, and looks like minor units ({amount} for {amount / 100:.2f}). If it is, divide it in SQL, or "
            f"with `{number} / 100`; if not, `{read}` is right as it is."
        )


def _either(paths: Sequence[Path]) -> str:
    *others, last = map(_shown, paths)
    return f"{', '.join(others)} or {last}" if others else last


def _shown(path: Path) -> str:
    return f"`{shorten('.'.join(path))}`"
