"""How one value as taps write it becomes the text, number or boolean that Klar wants in its place, without a guess."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeAlias, cast

from target_klar.records.formatting import Unwritable
from target_klar.records.json_codec import NotJSONError, decode
from target_klar.records.times import is_empty_time

Convert: TypeAlias = Callable[[object], object]
"""Returns what Klar wants in the place of a value, or `MISSING`; what it cannot convert stays as it is."""

MISSING: Final = object()
"""Stands for a value of which the source says that there is none."""

_NUMERIC: Final = "0123456789+-.eE \t\r\n"  # nothing else: Decimal reads `NaN`, `1_000` and other digits, too
_FALSE: Final = re.compile(r"[ \t\r\n]*(?:false|0(?:\.0*)?)[ \t\r\n]*", re.ASCII | re.IGNORECASE)
_TRUE: Final = re.compile(r"[ \t\r\n]*(?:true|1(?:\.0*)?)[ \t\r\n]*", re.ASCII | re.IGNORECASE)
_MAX_DIGITS: Final = 40  # no id has more, and 1e999999 has a million
_LARGEST: Final = 10**_MAX_DIGITS
LARGEST_EXACT: Final = 2**53
"""A larger number that has an exponent or a fraction may be the neighbour of the integer that it was once."""
_LEAVES: Final = (str, int, Decimal, bool, type(None))


def as_is(value: object) -> object:
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
    return MISSING if value is None else as_is(value)


def _is_exactly_whole(value: Any) -> bool:
    is_finite = value.is_finite() if type(value) is Decimal else type(value) is float and math.isfinite(value)
    return is_finite and abs(value) <= LARGEST_EXACT and bool(value == int(value))


def number(value: object) -> object:
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
    return MISSING if value is None else as_is(value)


def boolean(value: object) -> object:
    """True and false, 0 and 1, and these as text."""
    known = truth(value)
    if known is None:
        return MISSING if is_empty(value) else as_is(value)
    return known


def truth(value: object) -> bool | None:
    """Return what true and false say, 0 and 1, and these as text; None for any other value."""
    text = value if type(value) is str else ""
    if value is False or same(value, 0) or _FALSE.fullmatch(text):
        return False
    if value is True or same(value, 1) or _TRUE.fullmatch(text):
        return True
    return None


def each(convert: Convert, items: Iterable[object]) -> object:
    """Return items converted one by one; one without a value stays as it is, so that no place changes."""
    try:
        return [item if (new := convert(item)) is MISSING else new for item in items]
    except RecursionError:
        return Unwritable(items)


def means_no_time(value: object) -> bool:
    """Null, zero, empty text and zero dates are how sources write that there is no time."""
    if type(value) is str:
        return is_empty_time(value)
    return value is None or (type(value) in (int, float, Decimal) and not value)


def is_empty(value: object) -> bool:
    """Tell whether a value is null or empty text."""
    return value is None or (type(value) is str and not value)


def parsed(text: str) -> object:
    """Return the JSON of a text, None for an empty one, and the text itself if it is not JSON."""
    try:
        return decode(text) if text else None
    except NotJSONError:
        return text


def same(one: object, other: object) -> bool:
    """Tell whether two values are equal; true is not 1."""
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
