"""How a record as taps write it becomes what Klar wants: a schema is compiled into converters, one a node.

What a converter returns as it is, since it cannot convert it, the contract then rejects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from target_klar.contract.schema import is_time
from target_klar.records.formatting import Unusable, shorten, shorten_both
from target_klar.records.times import parse_time
from target_klar.records.values import (
    MISSING,
    Convert,
    as_is,
    boolean,
    each,
    id_text,
    is_empty,
    means_no_time,
    number,
    parsed,
    same,
    truth,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

_MAX_DROPPED: Final = 100  # enough names to tell what happens
_MAX_LEARNED, _NAME_SIZE = 1 << 20, 64  # bytes of names, about, and of each beside its text; then learning begins anew


@dataclass
class Conversions:
    """The converters of one stream, and what they notice.

    Extra fields pass unchanged, at every level. A required field without a value is kept, so that the contract rejects
    it; any other is omitted. Without `validate` Klar judges all values but times, and objects where it has none: those
    would bring it fields that it does not know. An array in another place is converted item by item.
    """

    extras: Collection[str] = ()
    validate: bool = True
    dropped: dict[str, str] = field(default_factory=dict)
    """The fields omitted because Klar does not know them: each name by its path."""
    beside: dict[str, set[str]] = field(default_factory=dict)
    """Klar's fields that came in one object with each of them, by the same path."""
    assumed_utc: dict[str, None] = field(default_factory=dict)
    """The fields, as paths, of which a time had no zone and was read as UTC."""

    def of_object(self, schema: Mapping[str, Any], *, at: str = "") -> ObjectConverter:
        """Return the converter of an object schema."""
        return ObjectConverter(
            {name: self._of(node, at + name) for name, node in schema["properties"].items()},
            required=schema["required"] if self.validate else (),
            extra=dict.fromkeys(self.extras, as_is),
            drop=lambda name, fields: self._drop(at + name, name, fields),
        )

    def _of(self, node: Mapping[str, Any], path: str) -> Convert:
        if is_time(node):
            return self._time_or_true(self._time(node, path)) if "boolean" in node["type"] else self._time(node, path)
        match node:
            case {"type": "object"}:
                return self.of_object(node, at=f"{path}.")
            case {"type": "array"}:
                return self._array(self._of(node["items"], f"{path}[]"), node)
            case {"not": _} if "type" not in node:  # may not be there, and an empty one is not
                return lambda value: as_is(value) if value else MISSING
        leaves: dict[str, Convert] = {"string": id_text, "number": number, "boolean": boolean}
        leaf = leaves[node["type"]]
        return leaf if self.validate else _of_any_shape(leaf, node)

    def _array(self, item: Convert, node: Mapping[str, Any]) -> Convert:
        """Arrays item by item, also of one that comes as JSON text."""

        def convert(value: object) -> object:
            items = parsed(value) if type(value) is str else value
            if type(items) is list or type(items) is tuple:
                return each(item, items)
            if type(items) is dict and not self.validate:
                return Unusable(value, node)
            return MISSING if items is None else as_is(value)

        return convert

    def _time(self, node: Mapping[str, Any], path: str) -> Convert:
        earliest, latest = node["minimum"], node["maximum"]

        def convert(value: object) -> object:
            """Dates and text become seconds, unless out of bounds: then the value itself says more."""
            if type(value) is str or isinstance(value, date):
                known = parse_time(value)
                if known is not None and earliest <= known[0] <= latest:
                    seconds, assumed_utc = known
                    if assumed_utc:
                        self.assumed_utc[path] = None
                    return seconds
            if means_no_time(value):
                return MISSING
            if not self.validate and type(value) not in (int, float, Decimal):
                return Unusable(value, node)  # which only its source can read
            return as_is(value)

        return convert

    def _time_or_true(self, time: Convert) -> Convert:
        """Convert a time, or true if the source only says that there is one; false means that there is none."""

        def convert(value: object) -> object:
            known = truth(value)
            if known is None:
                return time(value)
            return known or MISSING

        return convert

    def _drop(self, path: str, name: str, fields: Iterable[str]) -> None:
        if len(self.dropped) < _MAX_DROPPED or path in self.dropped:
            self.dropped[path] = name
            self.beside.setdefault(path, set()).update(fields)


_Column: TypeAlias = tuple[str | tuple[str, ...], str, Convert, bool]
"""One field of Klar's in records of one shape: its spelling, or several that have to hold one value, its name, its
converter, whether it is required. A plain tuple, since Python takes that apart fastest."""


class ObjectConverter:
    """Converts an object's fields and finds them whatever the case and the underscores of their names.

    Taps write the same names with every record, so what becomes of each is worked out once a shape.
    """

    def __init__(
        self,
        fields: Mapping[str, Convert],
        *,
        required: Collection[str],
        extra: Mapping[str, Convert],
        drop: Callable[[str, Iterable[str]], None],
    ) -> None:
        self._folded = {fold(name): name for name in fields}
        # An extra field that is another spelling of one of Klar's is that one, and converted.
        self._fields = {name: each for name, each in extra.items() if fold(name) not in self._folded} | {**fields}
        self._required = frozenset(required)
        self._drop = drop
        self._shapes: dict[tuple[object, ...], list[_Column]] = {}
        self._names_learned = 0

    def __call__(self, value: object) -> object:
        """Convert a value that should be an object, maybe as JSON text, and may be anything."""
        held = parsed(value) if type(value) is str else value
        if type(held) is dict:
            return self.convert(held)
        if type(held) is list or type(held) is tuple:
            return each(self, held) if held else MISSING  # as PHP writes an object that is not there
        return MISSING if held is None else as_is(value)

    def convert(self, record: Mapping[Any, object], without: frozenset[str] = frozenset()) -> dict[str, Any]:
        """Return a new object that has Klar's fields alone; the columns that it is `without` are not looked at."""
        shape = (*record, without)
        columns = self._shapes.get(shape)
        if columns is None:
            columns = self._learn(shape)
        converted: dict[str, Any] = {}
        for spelling, name, convert, required in columns:
            value = record[spelling] if type(spelling) is str else _agreed(record, spelling, convert)
            new = convert(value)
            if new is not MISSING:
                converted[name] = new
            elif required:
                converted[name] = value
        return converted

    def _learn(self, shape: tuple[Any, ...]) -> list[_Column]:
        *names, without = shape
        spelled: dict[str, list[str]] = {}
        dropped: list[str] = []
        absent = {self.name_of(name) for name in without if name not in names} - {None}
        for spelling in names:
            name = self.name_of(spelling) if isinstance(spelling, str) else None
            if spelling in without or name in absent:
                continue
            if name is None:
                dropped.append(shorten(str(spelling)))
            else:
                spelled.setdefault(name, []).append(spelling)
        for column in dropped:
            self._drop(column, spelled)
        columns: list[_Column] = []
        for name, spellings in spelled.items():
            spelling = spellings[0] if len(spellings) == 1 else tuple(spellings)
            columns.append((spelling, name, self._fields[name], name in self._required))
        self._names_learned += sum(len(str(name)) + _NAME_SIZE for name in shape)
        if self._names_learned > _MAX_LEARNED:
            self._names_learned = 0
            self._shapes.clear()
        else:
            self._shapes[shape] = columns
        return columns

    def name_of(self, spelling: str) -> str | None:
        """Return the field that a name matches, without case and underscores; None if there is none."""
        return spelling if spelling in self._fields else self._folded.get(fold(spelling))


def _of_any_shape(leaf: Convert, node: Mapping[str, Any]) -> Convert:
    """Convert an array in the place of a leaf, too, item by item, and hold no object to be one."""

    def convert(value: object) -> object:
        if type(value) is dict:
            return Unusable(value, node)
        return each(convert, value) if type(value) is list or type(value) is tuple else leaf(value)

    return convert


def fold(name: str) -> str:
    """Return what is left of a name without case, which databases fold, and underscores, which people write."""
    return name.replace("_", "").lower()


def _agreed(record: Mapping[Any, object], spellings: Sequence[str], convert: Convert) -> object:
    """Return the one value that several spellings of a field hold, or what says that they hold two."""
    first, *others = [each for each in spellings if not is_empty(record[each])] or spellings
    for other in others:
        one, two = record[first], record[other]
        if not (same(one, two) or same(convert(one), convert(two))):
            return Unusable(None, description="different values in {} and {}".format(*shorten_both(first, other)))
    return record[first]
