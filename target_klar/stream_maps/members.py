"""Which members of the objects in a column the expressions of a stream map read, and which it leaves behind."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, Final

from target_klar.records.formatting import listed, shorten
from target_klar.records.json_codec import read_strictly
from target_klar.records.spelling import closest_match
from target_klar.settings.stream_maps import MEMBERS_OF_VALUES
from target_klar.stream_maps.columns import column_of, expressions_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from target_klar.stream_maps.columns import Expression

_LOOKED_AT: Final = 1000
"""How many records of a source stream are looked at."""
_MIN_OBJECTS: Final = 20
"""In how many records a column has objects before a default is said to stand for a member that none of them has."""


def members_read(definitions: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, bool] | None]:
    """Return the columns that maps read, each with the members read of the objects in it; None where all may be.

    Of a member that is whether nothing but a default of its own is there in its place: `line.get('quantity', 1)`.
    """
    read = expressions_of(definitions)
    return {column: _of_column(column, read) for each in read for column in each.columns}


def unread(value: object, read: Collection[str] | None) -> list[str]:
    """Return the members of an object, or of those in a list, that are not among those read."""
    return [] if read is None else [name for name in _members(value) if name not in read]


class MisspelledMembers:
    """Notes the members of the objects in the columns that a stream map reads, in the first records of a stream.

    One that the map reads by `line.get('quantiy', 1)` would be missing without a word.
    """

    def __init__(self, definition: Mapping[str, Any]) -> None:
        self._read = {column: names for column, names in members_read([definition]).items() if names}
        self._seen: dict[str, dict[str, None]] = {column: {} for column in self._read}
        self._with_objects = dict.fromkeys(self._read, 0)
        self._left = _LOOKED_AT if self._read else 0

    def look(self, record: Mapping[str, Any]) -> None:
        """Note the members of a record, if it is one of the first."""
        if not self._left:
            return
        self._left -= 1
        for column, seen in self._seen.items():
            members = _members(record.get(column))
            seen.update(members)
            self._with_objects[column] += bool(members)

    def lines(self, source_stream: str) -> Iterator[str]:
        """Yield a warning for each member that none of them has, if they have one of nearly its name, or a default."""
        for column, read in self._read.items():
            seen = self._seen[column]
            for name in sorted(read.keys() - seen.keys()):
                member, of = f"`{shorten(name)}` of `{shorten(column)}`", shorten(source_stream)
                what = f"The stream map of {of} reads {member}, found in none of the first records"
                if right := closest_match(name, seen.keys() - read.keys()):
                    yield f"{what}. Did you mean `{shorten(right)}`?"
                elif read[name] and self._with_objects[column] >= _MIN_OBJECTS:
                    found = listed(map(shorten, seen))
                    yield f"{what}, so the default stands for it. If that is not meant, correct it (found: {found})."


def _members(value: object) -> dict[str, None]:
    held = read_strictly(value) if isinstance(value, str) else value
    objects = [each for each in (held if isinstance(held, list) else [held]) if isinstance(each, dict)]
    return dict.fromkeys(name for each in objects for name in each)


def _of_column(column: str, expressions: Iterable[Expression]) -> dict[str, bool] | None:
    names: dict[str, bool] = {}
    for parents in (each.parents for each in expressions):
        waiting = [node for node in parents if column_of(node) == column]
        while waiting:
            node = waiting.pop()
            around, beyond = parents[node], parents.get(parents[node])
            match around:
                case _ if (member := _member(around, beyond)) is not None:
                    names[member] = names.get(member, True) and _has_default_alone(beyond, parents)
                case ast.comprehension(iter=source, target=ast.Name(id=name)) if source is node:
                    waiting += _named(beyond, name)
                case (  # it again, or one of its items: `lines[0]`, `lines or []`, `json.loads`
                    ast.Subscript()
                    | ast.BoolOp()
                    | ast.Call(func=ast.Attribute(value=ast.Name(id="json"), attr="loads"))
                ):
                    waiting.append(around)
                # What only asks what it is, or whether it is there.
                case ast.IfExp(test=asked) | ast.UnaryOp(operand=asked) if asked is node:
                    pass
                case ast.Compare() | ast.Call(func=ast.Name(id="bool")):
                    pass
                case ast.comprehension(iter=source) if source is not node:
                    pass
                case _:
                    return None
    return names


def _member(around: ast.AST, beyond: ast.AST | None) -> str | None:
    """Return the member that is read of what stands in `around`: `line['id']`, `line.get('id')`, `line.id`."""
    match around, beyond:
        case ast.Subscript(slice=ast.Constant(value=str(name))), _:
            return name
        case ast.Attribute(attr="get"), ast.Call(args=[ast.Constant(value=str(name)), *_]):
            return name
        case ast.Attribute(attr=name), _ if name not in MEMBERS_OF_VALUES:
            return name
    return None


def _has_default_alone(read: ast.AST | None, parents: Mapping[ast.AST, ast.AST]) -> bool:
    """Tell whether a member is read with a default that is a value, and no other value may come in its place."""
    match read:
        case ast.Call(func=ast.Attribute(attr="get"), args=[_, ast.Constant(value=default)]) if default:
            around = parents[read]
            while not isinstance(around, ast.Dict | ast.ListComp | ast.GeneratorExp | ast.DictComp | ast.Module):
                match around:
                    case ast.BoolOp() | ast.IfExp() | ast.Compare() | ast.Call(func=ast.Attribute(attr="get")):
                        return False
                around = parents[around]
            return True
    return False


def _named(tree: ast.AST | None, name: str) -> list[ast.AST]:
    nodes = ast.walk(tree) if tree else ()
    return [node for node in nodes if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)]
