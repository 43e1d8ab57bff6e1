"""How a value as taps write it becomes what Klar wants in its place, without a guess.

A schema is compiled into converters, one a node. A converter returns what Klar wants, `NOTHING` where the
source says that there is no value, and what it cannot convert as it is: the contract then refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple, TypeAlias

from target_klar.contract.streams import is_time
from target_klar.records.exact import NotJSONError, decode
from target_klar.records.explain import Ambiguous, shorten
from target_klar.records.times import moment, says_no_time

Convert: TypeAlias = Callable[[object], object]

NOTHING: Final = object()

_NUMBER: Final = re.compile(r"[ \t\r\n]*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)[ \t\r\n]*", re.ASCII)
_FALSE: Final = re.compile(r"[ \t\r\n]*false[ \t\r\n]*", re.ASCII | re.IGNORECASE)
_TRUE: Final = re.compile(r"[ \t\r\n]*(?:true|1(?:\.0*)?)[ \t\r\n]*", re.ASCII | re.IGNORECASE)
_MOST_DIGITS: Final = 40  # no id has more, and 1e999999 has a million
_LARGEST: Final = 10**_MOST_DIGITS
_LARGEST_EXACT: Final = 2**53  # a larger float may be the neighbour of the integer that was meant
_MOST_DROPPED: Final = 100  # enough names to tell what happens
_MOST_LEARNED: Final = 1000
_LONGEST_LEARNED: Final = 100


def as_is(value: object) -> object:
    """Return the value, null included."""
    return value


@dataclass
class Conversions:
    """The converters of one stream, and what they notice that the user should hear once.

    `dropped` are the fields left out because Klar does not know them, as paths; `assumed_utc` turns True with
    the first time that has no zone. Extra fields pass as they are, at every level. A required field without a
    value is kept, so that the contract refuses what was found there, or else left out.
    """

    extras: Collection[str] = ()
    keep_required: bool = True
    dropped: list[str] = field(default_factory=list)
    assumed_utc: bool = False

    def of_object(self, schema: Mapping[str, Any], *, at: str = "") -> ObjectConverter:
        """Return the converter of an object schema."""
        return ObjectConverter(
            {name: self._of(node, at + name) for name, node in schema["properties"].items()},
            required=schema["required"] if self.keep_required else (),
            extras=self.extras,
            drop=lambda name: self._drop(at + name),
        )

    def _of(self, node: Mapping[str, Any], path: str) -> Convert:
        match node:
            case {"type": "object"}:
                return self.of_object(node, at=f"{path}.")
            case {"type": "array"}:
                return _array(self._of(node["items"], f"{path}[]"))
            case {"type": "string"}:
                return _text
            case {"type": "number"}:
                return self._time(node) if is_time(node) else _number
            case {"type": ["boolean", "number"]} if is_time(node):
                return _time_or_true(self._time(node))
        return as_is

    def _time(self, node: Mapping[str, Any]) -> Convert:
        earliest, latest = node["minimum"], node["maximum"]

        def convert(value: object) -> object:
            """Dates and text become seconds, unless out of bounds: then what was found tells more."""
            if _is_no_time(value):
                return NOTHING
            known = moment(value) if isinstance(value, str | date) else None
            if known is None or not earliest <= known.seconds <= latest:
                return value
            self.assumed_utc |= known.assumed_utc
            return known.seconds

        return convert

    def _drop(self, path: str) -> None:
        if len(self.dropped) < _MOST_DROPPED and path not in self.dropped:
            self.dropped.append(path)


class _Field(NamedTuple):
    name: str
    exact: bool
    required: bool
    convert: Convert


class ObjectConverter:
    """Converts an object's fields and finds them whatever the case and the underscores of their names."""

    def __init__(
        self,
        fields: Mapping[str, Convert],
        *,
        required: Collection[str],
        extras: Collection[str],
        drop: Callable[[str], None],
    ) -> None:
        self._fields = {**dict.fromkeys(extras, as_is), **fields}
        self._folded = {fold(name): name for name in fields}
        self._required = frozenset(required)
        self._drop = drop
        # Taps repeat their names with every record, so each is looked into once.
        self._learned: dict[object, _Field | None] = {}

    def __call__(self, value: object) -> object:
        """Convert a value that should be an object, and may be anything."""
        if isinstance(value, dict):
            return self.convert(value)
        return NOTHING if value is None else value

    def convert(self, record: Mapping[Any, object]) -> dict[str, Any]:
        """Return a new object that has Klar's fields alone."""
        converted: dict[str, Any] = {}
        spelled: dict[str, tuple[str, object]] = {}
        for spelling, value in record.items():
            try:
                known = self._learned[spelling]
            except KeyError:
                known = self._learn(spelling)
            if known is None:
                continue
            name, exact, required, convert = known
            if not exact:
                if name in record:
                    continue
                rival, other = spelled.setdefault(name, (spelling, value))
                if rival != spelling:
                    if not _same(other, value):
                        converted[name] = Ambiguous((rival, spelling))
                    continue
            new = convert(value)
            if new is not NOTHING:
                converted[name] = new
            elif required:
                converted[name] = value
        return converted

    def _learn(self, spelling: object) -> _Field | None:
        name = None
        if isinstance(spelling, str):
            name = spelling if spelling in self._fields else self._folded.get(fold(spelling))
        if name is None:
            self._drop(shorten(str(spelling)))
            known = None
        else:
            known = _Field(name, spelling == name, name in self._required, self._fields[name])
        if len(self._learned) < _MOST_LEARNED and len(str(spelling)) <= _LONGEST_LEARNED:
            self._learned[spelling] = known
        return known


def fold(name: str) -> str:
    """Return what is left of a name without case, which databases fold, and underscores, which people write."""
    return name.replace("_", "").lower()


def _same(one: object, other: object) -> bool:
    try:
        return one == other and isinstance(one, bool) == isinstance(other, bool)
    except (ArithmeticError, RecursionError):  # a signaling NaN, or deep nesting
        return False


def _array(item: Convert) -> Convert:
    """Arrays item by item; JSON text first becomes the array that it holds."""

    def convert(value: object) -> object:
        items = value
        if isinstance(value, str):
            try:
                items = decode(value)
            except NotJSONError:
                return value
        if isinstance(items, list | tuple):
            return [found if (new := item(found)) is NOTHING else new for found in items]
        return NOTHING if value is None else value

    return convert


def _text(value: object) -> object:
    """Ids are numbers in many sources: whole ones become their digits."""
    whole: int | None = None
    if type(value) is str:
        return value
    if type(value) is int:
        whole = value
    elif type(value) is Decimal:
        if value.is_finite() and value.adjusted() < _MOST_DIGITS and value == int(value):
            whole = int(value)
    elif type(value) is float and abs(value) <= _LARGEST_EXACT and value.is_integer():
        whole = int(value)
    elif value is None:
        return NOTHING
    return value if whole is None or abs(whole) >= _LARGEST else str(whole)


def _number(value: object) -> object:
    """Text that spells a number becomes that number with all of its digits."""
    if type(value) is str and (spelled := _NUMBER.fullmatch(value)):
        try:
            return Decimal(spelled[1])
        except InvalidOperation:  # an exponent beyond all reason
            return value
    return NOTHING if value is None else value


def _time_or_true(time: Convert) -> Convert:
    """Times, or true where a source says no more than that there is one; false says that there is none."""

    def convert(value: object) -> object:
        text = value if type(value) is str else ""
        if value is False or _FALSE.fullmatch(text):
            return NOTHING
        if value is True or _same(value, 1) or _TRUE.fullmatch(text):
            return True
        return time(value)

    return convert


def _is_no_time(value: object) -> bool:
    """Null, zero, empty text and zero dates are how sources write that there is no time."""
    if type(value) is str:
        return says_no_time(value)
    return value is None or (type(value) in (int, float, Decimal) and not value)
