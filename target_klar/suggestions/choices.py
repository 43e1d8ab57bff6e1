"""Which column of a tap's is proposed for a field of Klar's: one that is called so, alone, and that converts."""

from __future__ import annotations

import keyword
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from target_klar.contract.schema import is_time
from target_klar.records.convert import Conversions, fold
from target_klar.records.decoders import decoder_for, meets
from target_klar.records.deletions import deletion_fields
from target_klar.records.formatting import counted, shorten
from target_klar.records.json_codec import read_strictly
from target_klar.records.times import parse_time
from target_klar.suggestions.fields import certain
from target_klar.suggestions.values import (
    decimal_comma,
    dotted_date,
    minor_units,
    sign,
    values_of,
)
from target_klar.suggestions.words import word_set, words_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from target_klar.contract.schema import Node
    from target_klar.suggestions.values import Path, Values

_WRAPPERS: Final = ("edges", "nodes")
"""Under which GraphQL has a list: its items, each in a `node`, or as they are."""
# What the SDK's mapper calls by these names are no columns; `line` is one of our own.
_TAKEN: Final = word_set("_ record config self fake line __stream_name__ __original_stream_name__")


@dataclass(frozen=True)
class Lines:
    """A list of objects in a column: as it is, as JSON text, or in one of GraphQL's wrappers."""

    items: list[dict[str, Any]]
    is_text: bool = False
    wrapper: str | None = None

    def source(self, read: str) -> str:
        """Return the expression of the list; `read` is that of the column."""
        if self.is_text:
            return f"json.loads({read} or 'null')"
        return f"({read} or {{}}).get({self.wrapper!r})" if self.wrapper else read


class Columns:
    """The columns of some records of a stream, and what they are chosen for."""

    def __init__(self, place: str, records: Sequence[Mapping[str, Any]]) -> None:
        self.place = place
        self._records = records

    @cached_property
    def values(self) -> Values:
        """Each column with its values."""
        return values_of(self._records)

    @cached_property
    def deletion_field(self) -> str | None:
        """The column that marks a deletion, which brings the key alone."""
        return next(iter(deletion_fields(dict.fromkeys(name for record in self._records for name in record))), None)

    def lacks(self, path: Path) -> bool:
        """Tell whether a record has null in a column, or no such column."""
        column, *members = path
        held = [record.get(column) for record in self._records]
        for name in members:
            held = [each.get(name) if isinstance(each, dict) else None for each in held]
        return None in held

    def empty_list(self, field: str) -> tuple[Path, Lines | None]:
        """Return a column that has the name of a field, and the form of the list in it where one of them is empty."""
        for record in self._records:
            for column, value in record.items():
                if fold(column) == fold(field) and _is_empty_list(value):
                    return (column,), Lines([], is_text=isinstance(value, str))
        return (), None

    def nearest(self, field: str, node: Node) -> list[Path]:
        """Return the columns that have a value and are called what the field is; more than one if none is nearer."""
        groups = [self._named(field), *certain(f"{self.place}.{field}", self.values)]
        usable = [[path for path in group if self._is_usable(path, node)] for group in groups]
        named, *called = usable
        if named and is_time(node) and any(moment and moment[1] for moment in map(parse_time, self.values[named[0]])):
            # One has no zone: a sibling that says that it is UTC tells the same time without a guess.
            named = next((group for group in called if group and "utc" in words_of(" ".join(group[0]))), named)
        return named or next(filter(None, called), [])

    def choose(self, field: str, node: Node) -> Path | None:
        """Return the one column for the field, if every value of it converts and means what Klar means by it."""
        paths = self.nearest(field, node)
        if len(paths) != 1 or self.advise(field, node, paths[0]):
            return None
        return paths[0] if _all_fit(node, self.values[paths[0]]) else None

    def advise(self, field: str, node: Node, path: Path) -> str:
        """Say what a person has to decide about a column before it is that field, with what would do; or nothing."""
        held, read = self.values[path], self.read(path)
        may_be = f"{shown_path(path)} may be `{field}`"
        is_number = node.get("type") == "number" and not is_time(node)
        counts_pieces = words_of(field)[-1:] == ("quantity",)
        if is_time(node) and (date := dotted_date(held)):
            written, form = date
            return f"{may_be}. `datetime.datetime.strptime({read}, '{form}')` reads dates such as {written}, as UTC."
        if is_number and (comma := decimal_comma(held)):
            written, replaced = comma
            return (
                f"{may_be}, with a decimal comma ({shorten(written)}). `str({read}){replaced}` reads it, with all "
                "digits."
            )
        if counts_pieces and (below := [each for each in held if sign(each) == -1]):
            number = f"float({read})" if isinstance(below[0], str) else read
            example = shorten(str(below[0]))
            # One alone does not say what a sign means.
            if len(below) > 1 and {sign(each) for each in held} <= {-1, 0}:
                return (
                    f"{may_be}, and none of its values is above 0 (such as {example}). If it counts pieces, "
                    f"`-{number}` makes it positive."
                )
            return (
                f"{may_be}, with {len(below):,} of {counted(len(held), 'value')} below 0 ({example}). Check what its "
                "sign means before you map it."
            )
        # An amount of the field's own name is in Klar's unit.
        is_amount = is_number and not counts_pieces and path not in self._named(field)
        if is_amount and (amount := minor_units(path, self.values)) is not None:
            number = f"int({read})" if isinstance(held[0], str) else read
            return (
                f"{may_be}, and looks like minor units ({amount} for {amount / 100:.2f}). If it is, divide it in SQL, "
                f"or with `{number} / 100`; if not, `{read}` is right as it is."
            )
        return ""

    def optional(self, field: str, node: Node) -> Path | None:
        """Return the column for a field that need not be there: one of its very name."""
        named = self._named(field)
        return named[0] if len(named) == 1 and self.choose(field, node) == named[0] else None

    def read(self, path: Path) -> str:
        """Return the expression of a column, or of a member of it."""
        column, *members = path
        if self.deletion_field or any(column not in record for record in self._records):
            start = f"record.get({column!r})"
        elif column.isascii() and column.isidentifier() and not keyword.iskeyword(column) and column not in _TAKEN:
            start = column
        else:
            start = f"record[{column!r}]"
        return f"({start} or {{}}).get({members[0]!r})" if members else start

    def within(self, field: str, path: Path) -> LineColumns:
        """Return the columns of the lines in a column that is called what a field of Klar's is."""
        lines = _lines_of(self.values[path])
        assert lines is not None  # else it were not among the nearest
        return LineColumns(f"{self.place}.{field}", lines)

    def _named(self, field: str) -> list[Path]:
        """Return the columns that have the name of a field, as it is or as names are folded."""
        folded: list[Path] = [path for path in self.values if len(path) == 1 and fold(path[0]) == fold(field)]
        return [(field,)] if (field,) in folded else folded

    def _is_usable(self, path: Path, node: Node) -> bool:
        held = self.values[path]
        return bool(held) if "items" not in node else _lines_of(held) is not None


class LineColumns(Columns):
    """The columns of the lines in some records."""

    def __init__(self, place: str, lines: Lines) -> None:
        super().__init__(place, lines.items)
        self.lines = lines

    def read(self, path: Path) -> str:
        """Return the expression of a column of one `line`, or of a member of it; None where a line has none."""
        line = "line['node']" if self.lines.wrapper == "edges" else "line"
        if all(_has(item, path) for item in self.lines.items):
            return line + "".join(f"[{name!r}]" for name in path)
        column, *members = path
        return f"({line}.get({column!r}) or {{}}).get({members[0]!r})" if members else f"{line}.get({column!r})"


def shown_path(path: Path) -> str:
    """Return what a message calls a column."""
    return f"`{shorten('.'.join(path))}`"


def _all_fit(node: Node, values: Iterable[object]) -> bool:
    """Tell whether each of some values can be made into what a node of the contract wants."""
    schema = {"type": "object", "properties": {"it": node}, "required": ["it"], "additionalProperties": False}
    converter, decode = Conversions().of_object(schema), decoder_for(schema)
    return all(meets(decode, converter.convert({"it": value})) for value in values)


def _has(item: Mapping[str, Any], path: Path) -> bool:
    column, *members = path
    return column in item and all(isinstance(item[column], dict) and name in item[column] for name in members)


def _is_empty_list(value: object) -> bool:
    return (read_strictly(value) if isinstance(value, str) else value) == []


def _lines_of(values: Sequence[object]) -> Lines | None:
    """Return the list of objects that the values hold, all in the same form; None if one holds something else."""
    values = [value for value in values if value != "null"]
    is_text = bool(values) and isinstance(values[0], str)
    if any(isinstance(value, str) != is_text for value in values):
        return None
    held: list[Any] = [read_strictly(value) for value in values if isinstance(value, str)] if is_text else [*values]
    wrapper = None
    if held and all(isinstance(each, dict) for each in held):
        wrapper = next((name for name in _WRAPPERS if not is_text and all(name in each for each in held)), None)
        held = [each.get(wrapper) for each in held]
    if not all(isinstance(each, list) for each in held):
        return None
    items = [item for each in held for item in each]
    if wrapper == "edges":
        items = [item.get("node") if isinstance(item, dict) else None for item in items]
    return Lines(items, is_text, wrapper) if items and all(isinstance(item, dict) for item in items) else None
