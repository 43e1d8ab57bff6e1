"""Which columns the expressions of a stream map read, and which of those a stream does not have.

Written for the SDK's evaluator: a bare name is a column, or a name or function of the SDK's; `record` and `_` are the
record, `self` is the column of the field's own name.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from singer_sdk.mapper import MAPPER_FILTER_OPTION, CustomStreamMap

from target_klar.records.convert import fold
from target_klar.records.formatting import listed, shorten, shorten_both
from target_klar.records.spelling import closest_match
from target_klar.settings.stream_maps import CONTAINERS, FUNCTIONS, MODULES
from target_klar.stream_maps.mapping import expressions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

_RECORD: Final = ("record", "_")
"""What an expression calls the record."""
_OF_THE_SDK: Final = {*_RECORD, "config", "fake", "__stream_name__", "__original_stream_name__"}
_CALLED: Final = (FUNCTIONS | MODULES) - CONTAINERS  # a bare `list` or `set` is a column
_OF_A_DICT: Final = {name for name in dir(dict) if not name.startswith("__")}
_OF_SINGER: Final = "_sdc_"


@dataclass(frozen=True)
class Expression:
    """One expression of a stream map: the field that it makes, or `__filter__`, and the columns that it reads."""

    field: str
    needed: frozenset[str]
    """Those without which it fails: `name`, `record['name']`, `record.name`."""
    optional: frozenset[str]
    """Those that it reads by `record.get('name')`."""
    values: frozenset[str]
    """Those of both whose values it may make its own of; in a comprehension that is what it goes through, of a field no
    condition, and of a filter any."""
    looks: bool
    """Whether it inspects the record's columns: `'name' in record`, `record.items()`, or the record as a whole."""
    parents: Mapping[ast.AST, ast.AST]
    """Its nodes, each with the one around it."""

    @property
    def columns(self) -> frozenset[str]:
        """All columns that it reads."""
        return self.needed | self.optional


def expressions_of(definitions: Iterable[Mapping[str, Any]]) -> list[Expression]:
    """Return the expressions of the maps of one stream, as the user wrote them."""
    return [_expression(field, text) for definition in definitions for field, text in expressions(definition)]


def columns_read(definitions: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Return the columns that any expression of some maps reads."""
    return frozenset(column for each in expressions_of(definitions) for column in each.columns)


@dataclass(frozen=True)
class MissingColumns:
    """Columns that an expression reads and that a stream does not have."""

    expression: Expression
    columns: frozenset[str]
    stops: bool
    """Whether the run has to stop: the expression fails, makes a field that Klar requires, or drops all records."""

    def message(self, stream: str, seen: Collection[str], looked_at: int) -> str:
        """Say what is missing where, and what the stream has instead."""
        names = ", ".join(_shown(name, seen) for name in sorted(self.columns))
        first = f"in the first {looked_at} records" if looked_at > 1 else "in the first record"
        return (
            f"The stream map of {shorten(stream)} reads {names} for `{shorten(self.expression.field)}`, found neither "
            f"in the SCHEMA nor {first if looked_at else 'in a record'} (found: {listed(map(shorten, seen))}). "
            "Correct it in `stream_maps`."
        )


def missing_columns(
    expressions: Iterable[Expression],
    seen: Collection[str],
    *,
    required: Collection[str],
    is_open: bool,
    all_dropped: bool,
) -> Iterator[MissingColumns]:
    """Yield what each expression reads that is not among the columns `seen` in a SCHEMA and the first records.

    `required` are the fields that Klar requires, which a map may spell in its own way. Where the SCHEMA `is_open` to
    other columns, or an expression looks what there is, nothing stops the run; nor where a filter did not drop all of
    the first records (`all_dropped`).
    """
    folded = {fold(name) for name in required}
    for each in expressions:
        certain = not is_open and not each.looks
        needed = each.needed.difference(seen)
        optional = frozenset(name for name in each.optional if not name.startswith(_OF_SINGER))
        if needed:
            yield MissingColumns(each, needed, stops=certain)
        elif optional and optional.isdisjoint(seen):
            # With a column that is there the others may be optional, as in `fee + (record.get('extra') or 0)`.
            alone = each.values.isdisjoint(seen)
            decides = all_dropped if each.field == MAPPER_FILTER_OPTION else fold(each.field) in folded
            yield MissingColumns(each, optional, stops=certain and alone and decides)


def column_of(node: ast.AST) -> str | None:
    """Return the column that a node may be: `name`, `record['name']`, `record.name`, `record.get('name')`."""
    match node:
        case ast.Name(id=column, ctx=ast.Load()):
            return column
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(column))) if name in _RECORD:
            return column
        case ast.Attribute(value=ast.Name(id=name), attr=column) if name in _RECORD and column not in _OF_A_DICT:
            return column
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id=name), attr="get"), args=[ast.Constant(value=str(column)), *_]
        ) if name in _RECORD:
            return column
    return None


def parents_of(tree: ast.AST) -> dict[ast.AST, ast.AST]:
    """Return the nodes within a tree, from the outside in, each with the one around it."""
    return {inner: node for node in ast.walk(tree) for inner in ast.iter_child_nodes(node)}


def _expression(field: str, text: str) -> Expression:
    tree = ast.parse(text)
    parents = parents_of(tree)
    bound = {node.id for node in parents if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    functions = {node.func for node in parents if isinstance(node, ast.Call)}
    reads: dict[ast.AST, str] = {}
    looks, taken_apart = False, set[ast.AST]()
    for node in parents:  # from the outside in
        match node:
            case (
                ast.Call(func=ast.Attribute(value=record)) | ast.Attribute(value=record) | ast.Subscript(value=record)
            ) if column := column_of(node):
                reads[node] = column
                taken_apart.add(record)
            case ast.Name(id=name) if name in bound or name in _CALLED or node in functions:
                pass
            case ast.Name(id=name) if name in _RECORD:
                looks |= node not in taken_apart  # so as a whole, or asked what it has
            case ast.Name(id=name) if name not in _OF_THE_SDK:
                reads[node] = field if name == "self" else name
    optional = frozenset(name for node, name in reads.items() if isinstance(node, ast.Call))
    needed = frozenset(name for node, name in reads.items() if not isinstance(node, ast.Call))
    is_filter = field == MAPPER_FILTER_OPTION
    values = frozenset(name for node, name in reads.items() if _is_value(node, parents, of_filter=is_filter))
    return Expression(field, needed, optional, values, looks, parents)


def _is_value(node: ast.AST, parents: Mapping[ast.AST, ast.AST], *, of_filter: bool) -> bool:
    """Tell whether an expression may make the value of a node its own, as `Expression.values` says."""
    while node in parents:
        around = parents[node]
        match around:
            case ast.IfExp(test=asked) if asked is node and not of_filter:
                return False
            case ast.Compare() if not of_filter:
                return False
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp() if (
                node is not around.generators[0]
            ):
                return False
            case ast.comprehension(ifs=tests) if node in tests:
                return False
        node = around
    return True


def drops_all(stream_map: object, records: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether the filter of a stream map drops every one of some records."""
    if not isinstance(stream_map, CustomStreamMap):
        return False
    try:
        return not any(stream_map.get_filter_result(dict(record)) for record in records)
    except Exception:  # noqa: BLE001  # an expression of the user's may fail in any way; the record is then rejected
        return False


def _shown(name: str, seen: Iterable[str]) -> str:
    near = closest_match(name, seen)
    return "`{}` (did you mean `{}`?)".format(*shorten_both(name, near)) if near else f"`{shorten(name)}`"
