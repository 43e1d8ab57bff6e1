"""What text says to a reader, and not to Python."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection

FALSE: Final = ["", "false", "f", "no", "n", "off", "nein", "falsch", "null", "none", "nil", "nan", "[]", "{}"]
"""What text says that is false, in small letters, without blanks around it, and without zeros and points."""
NOTHING: Final = ["", "null", "none", "nil", "nan", "[]", "{}", "0000-00-00"]
"""How nothing is spelled, in small letters, without blanks around it, and without the time of a date."""
_TRUE: Final = frozenset({"true", "t", "yes", "y", "on", "ja", "wahr", "1"})
_NUMBER: Final = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)
_AMOUNT: Final = re.compile(r"[+-]?\d+\.\d+", re.ASCII)
_POINTS: Final = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(|[ T].*)", re.ASCII)
_SLASHES: Final = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(|[ T].*)", re.ASCII)
_YEAR_FIRST: Final = re.compile(r"(\d{4})([-/])(\d{1,2})(?:\2(\d{1,2})(|[ T].*))?", re.ASCII)
_IN_ORDER: Final = re.compile(r"\d{4}-\d\d(?:-\d\d|$)", re.ASCII)
"""Dates that are ordered as their text is."""
_MONTHS, _DAYS = 12, 31


def says_false(text: str) -> bool:
    """Tell whether text says false, as `no` does, and is true to Python."""
    return text != "" and text.strip().lower().strip("0.") in FALSE


def is_false_as_answer(text: str) -> bool:
    """Tell whether text that says false does so as an answer, yes or no; a country may be NO, and a postcode 00000."""
    return not _is_nothing(text) and _AMOUNT.fullmatch(text.strip()) is None


def is_no_answer(text: str) -> bool:
    """Tell whether text is neither yes or no, nor nothing, nor an amount, as in a column of countries."""
    return not says_false(text) and text.strip().lower() not in _TRUE and is_false_as_answer(text)


def never_equal(left: Any, right: Any) -> bool:
    """Tell whether one is text that spells a number or a boolean, and the other is one, or a list of such on the right.

    Of a list that has text and something else, each may be meant.
    """
    if is_list(right):
        are_text = {type(each) is str for each in right if each is not None}
        return are_text == {type(left) is not str} and any(never_equal(left, each) for each in right)
    return _spells(left, right) or _spells(right, left)


def is_in_other_letters(text: str, others: Collection[Any]) -> bool:
    """Tell whether text is one of others but for small and capital letters, and blanks around it."""
    bare = text.strip().casefold()
    return bare != "" and any(type(each) is str and each.strip().casefold() == bare for each in others)


def is_list(value: object) -> bool:
    """Tell whether a value is a list or the like."""
    return isinstance(value, list | tuple | set)


def is_list_beside_another(left: Any, right: Any) -> bool:
    """Tell whether one of two values is a list, the other is not, or a list of another kind, and neither is nothing."""
    kinds = (str, int, float, Decimal, bool, list, tuple, set)
    of_two = type(left) is not type(right) and (is_list(left) or is_list(right))
    return of_two and all(type(each) in kinds and each and not _is_nothing(each) for each in (left, right))


def is_nothing_spelled_otherwise(value: Any, others: Collection[Any]) -> bool:
    """Tell whether a value is nothing, and others are it too, all as text if it is none, or all as something else."""
    if not _is_nothing(value):
        return False
    are_text = {type(each) is str for each in others if _is_nothing(each)}
    return are_text == {type(value) is not str}


def is_same_nothing(value: object, other: object) -> bool:
    """Tell whether another value is spelled as one that is nothing."""
    return type(other) is type(value) and (other == value or _short(str(other)) == _short(str(value)))


def spelling_of_nothing(value: object) -> str:
    """Return how a value that is nothing is written, and of text no more than says so."""
    return repr(value.strip()[: len(NOTHING[-1])] if isinstance(value, str) else value)


def _is_nothing(value: Any) -> bool:
    return _short(value) in NOTHING if type(value) is str else value in (None, [], {})


def _short(text: str) -> str:
    return text.strip().lower()[: len(NOTHING[-1])]


def numbers_or_dates(one: str, other: str) -> tuple[Any, Any] | None:
    """Return what two texts spell whose order may be another than that of the texts, if both do."""
    if _IN_ORDER.match(one) and _IN_ORDER.match(other):
        return None
    one, other = one.strip(), other.strip()
    if _NUMBER.fullmatch(one) and _NUMBER.fullmatch(other):
        return Decimal(one), Decimal(other)
    first, second = _date(one), _date(other)
    return (first, second) if first and second else None


def have_points(one: str, other: str) -> bool:
    """Tell whether two texts are dates such as 30.04.2026, with or without a time."""
    return all(_POINTS.fullmatch(each.strip()) for each in (one, other))


def _date(text: str) -> tuple[int | str, ...] | None:
    """Return year, month, and where there are those, day and time, of a date in one of its usual forms."""
    if found := _YEAR_FIRST.fullmatch(text):
        year, _, month, day, rest = found.groups()
    elif found := _POINTS.fullmatch(text):
        day, month, year, rest = found.groups()
    elif found := _SLASHES.fullmatch(text):
        month, day, year, rest = found.groups()
        if int(month) > _MONTHS:
            day, month = month, day
    else:
        return None
    if not 1 <= int(month) <= _MONTHS or not 1 <= int(day or 1) <= _DAYS:
        return None
    return (int(year), int(month)) if day is None else (int(year), int(month), int(day), rest)


def _spells(text: Any, value: Any) -> bool:
    if type(text) is not str:
        return False
    if type(value) is bool:
        return text.strip().lower() in _TRUE or says_false(text)
    return isinstance(value, int | float | Decimal) and _NUMBER.fullmatch(text.strip()) is not None
