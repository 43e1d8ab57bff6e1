"""How a value as taps write it becomes what Klar wants in its place, without a guess.

A schema is compiled into converters, one a node. A converter returns what Klar wants, `MISSING` where the
source says that there is no value, and what it cannot convert as it is: the contract then rejects it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeAlias, cast

from target_klar.contract.schema import is_time
from target_klar.records.formatting import Ambiguous, Unwritable, shorten
from target_klar.records.json_codec import NotJSONError, decode
from target_klar.records.times import is_empty_time, parse_time

Convert: TypeAlias = Callable[[object], object]

MISSING: Final = object()

_NUMERIC: Final = "0123456789+-.eE \t\r\n"  # nothing else: Decimal reads `NaN`, `1_000` and other digits, too
_FALSE: Final = re.compile(r"[ \t\r\n]*(?:false|0(?:\.0*)?)[ \t\r\n]*", re.ASCII | re.IGNORECASE)
_TRUE: Final = re.compile(r"[ \t\r\n]*(?:true|1(?:\.0*)?)[ \t\r\n]*", re.ASCII | re.IGNORECASE)
_MAX_DIGITS: Final = 40  # no id has more, and 1e999999 has a million
_LARGEST: Final = 10**_MAX_DIGITS
LARGEST_EXACT: Final = 2**53
"""A larger number that has an exponent or a fraction may be the neighbour of the integer that it was once."""
_MAX_DROPPED: Final = 100  # enough names to tell what happens
_MAX_LEARNED, _NAME_SIZE = 1 << 20, 64  # bytes of names, about, and of each beside its text; then learning begins anew
_LEAVES: Final = (str, int, Decimal, bool, type(None))


@dataclass
class Conversions:
    """The converters of one stream, and what they notice.

    Extra fields pass unchanged, at every level. A required field without a value is kept, so that the contract rejects
    it; any other is omitted. Without `validate` Klar judges all values but times.
    """

    extras: Collection[str] = ()
    validate: bool = True
    dropped: dict[str, str] = field(default_factory=dict)
    """The fields omitted because Klar does not know them: each name by its path."""
    assumed_utc: dict[str, None] = field(default_factory=dict)
    """The fields, as paths, of which a time had no zone and was read as UTC."""

    def of_object(self, schema: Mapping[str, Any], *, at: str = "") -> ObjectConverter:
        """Return the converter of an object schema."""
        return ObjectConverter(
            {name: self._of(node, at + name) for name, node in schema["properties"].items()},
            required=schema["required"] if self.validate else (),
            extra=dict.fromkeys(self.extras, _as_is),
            drop=lambda name: self._drop(at + name, name),
        )

    def _of(self, node: Mapping[str, Any], path: str) -> Convert:
        if is_time(node):
            return self._time_or_true(self._time(node, path)) if "boolean" in node["type"] else self._time(node, path)
        match node:
            case {"type": "object"}:
                return self.of_object(node, at=f"{path}.")
            case {"type": "array"}:
                return self._array(self._of(node["items"], f"{path}[]"))
            case {"not": _} if "type" not in node:  # may not be there, and an empty one is not
                return lambda value: _as_is(value) if value else MISSING
        leaves: dict[str, Convert] = {"string": id_text, "number": _number, "boolean": _boolean}
        return leaves[node["type"]]

    def _array(self, item: Convert) -> Convert:
        """Arrays item by item, also of one that comes as JSON text."""

        def convert(value: object) -> object:
            items = _parsed(value) if type(value) is str else value
            if type(items) is list or type(items) is tuple:
                return [found if (new := item(found)) is MISSING else new for found in items]
            return MISSING if items is None else _as_is(value)

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
            if _means_no_time(value):
                return MISSING
            if not self.validate and type(value) not in (int, float, Decimal):
                return Unwritable(value)  # Klar cannot judge a time that only its source can read
            return _as_is(value)

        return convert

    def _time_or_true(self, time: Convert) -> Convert:
        """Convert a time, or true if the source only says that there is one; false means that there is none."""

        def convert(value: object) -> object:
            text = value if type(value) is str else ""
            if value is False or _FALSE.fullmatch(text):
                return MISSING
            if value is True or _same(value, 1) or _TRUE.fullmatch(text):
                return True
            return time(value)

        return convert

    def _drop(self, path: str, name: str) -> None:
        if len(self.dropped) < _MAX_DROPPED and path not in self.dropped:
            self.dropped[path] = name


def _as_is(value: object) -> object:
    """Return the value, in an `Unwritable` if JSON does not have it, or something in it."""
    try:
        return value if _has_json_types(value) else Unwritable(value)
    except RecursionError:
        return Unwritable(value)


def id_text(value: object) -> object:
    """Ids are numbers in many sources: whole ones become their digits, unless they went through a float."""
    if type(value) is str:
        return value or MISSING
    if type(value) is int and -_LARGEST < value < _LARGEST:
        return str(value)
    if _is_exactly_whole(value):
        return str(int(cast("float", value)))
    return MISSING if value is None else _as_is(value)


def _is_exactly_whole(value: Any) -> bool:
    is_finite = value.is_finite() if type(value) is Decimal else type(value) is float and math.isfinite(value)
    return is_finite and abs(value) <= LARGEST_EXACT and bool(value == int(value))


def _number(value: object) -> object:
    """Text that spells a number becomes that number with all of its digits."""
    if type(value) is str:
        if value.strip(_NUMERIC):
            return value
        try:
            return Decimal(value) if value else MISSING
        except InvalidOperation:  # such as `1-2`, or an exponent beyond all reason
            return value
    if type(value) is int or type(value) is Decimal:
        return value
    return MISSING if value is None else _as_is(value)


def _boolean(value: object) -> object:
    """True and false, 0 and 1, and these as text."""
    text = value if type(value) is str else ""
    if value is False or _same(value, 0) or _FALSE.fullmatch(text):
        return False
    if value is True or _same(value, 1) or _TRUE.fullmatch(text):
        return True
    return MISSING if _is_empty(value) else _as_is(value)


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
        drop: Callable[[str], None],
    ) -> None:
        self._fields = {**extra, **fields}
        self._folded = {fold(name): name for name in fields}
        self._required = frozenset(required)
        self._drop = drop
        self._shapes: dict[tuple[object, ...], list[_Column]] = {}
        self._names_learned = 0

    def __call__(self, value: object) -> object:
        """Convert a value that should be an object, maybe as JSON text, and may be anything."""
        held = _parsed(value) if type(value) is str else value
        if type(held) is dict:
            return self.convert(held)
        # PHP writes an empty array for an object that is not there.
        return MISSING if held is None or (type(held) is list and not held) else _as_is(value)

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
        absent = {self.name_of(name) for name in without if name not in names} - {None}
        for spelling in names:
            name = self.name_of(spelling) if isinstance(spelling, str) else None
            if spelling in without or name in absent:
                continue
            if name is None:
                self._drop(shorten(str(spelling)))
            else:
                spelled.setdefault(name, []).append(spelling)
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


def fold(name: str) -> str:
    """Return what is left of a name without case, which databases fold, and underscores, which people write."""
    return name.replace("_", "").lower()


def _agreed(record: Mapping[Any, object], spellings: Sequence[str], convert: Convert) -> object:
    """Return the one value that several spellings of a field hold, or what says that they hold two."""
    first, *others = [each for each in spellings if not _is_empty(record[each])] or spellings
    for other in others:
        one, two = record[first], record[other]
        if not (_same(one, two) or _same(convert(one), convert(two))):
            return Ambiguous(first, other)
    return record[first]


def _is_empty(value: object) -> bool:
    return value is None or (type(value) is str and not value)


def _parsed(text: str) -> object:
    """Return the JSON of a text, None for an empty one, and the text itself if it is not JSON."""
    try:
        return decode(text) if text else None
    except NotJSONError:
        return text


def _same(one: object, other: object) -> bool:
    try:
        return one == other and isinstance(one, bool) == isinstance(other, bool)
    except (ArithmeticError, RecursionError):  # a signaling NaN, or deep nesting
        return False


def _has_json_types(value: object) -> bool:
    """Tell whether a value is of the types that JSON has, with all that it holds: msgspec writes many more."""
    if type(value) is dict:
        return all(type(name) is str and _has_json_types(held) for name, held in value.items())
    if type(value) is list or type(value) is tuple:
        return all(map(_has_json_types, value))
    return type(value) in _LEAVES or (type(value) is float and math.isfinite(value))


def _means_no_time(value: object) -> bool:
    """Null, zero, empty text and zero dates are how sources write that there is no time."""
    if type(value) is str:
        return is_empty_time(value)
    return value is None or (type(value) in (int, float, Decimal) and not value)
