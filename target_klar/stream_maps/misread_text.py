"""Text that says something else to a reader than to an expression of a stream map, and what a message says of it."""

from __future__ import annotations

import ast
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from target_klar.records.formatting import counted, shorten
from target_klar.settings.map_conditions import shown_part

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Collection, Iterator

_FALSE: Final = ["", "false", "f", "no", "n", "off", "nein", "falsch", "null", "none", "nil", "nan", "[]", "{}"]
"""What text says that is false, in small letters, without blanks around it, and without zeros and points."""
_NOTHING: Final = ["", "null", "none", "nil", "nan", "[]", "{}", "0000-00-00"]
"""How nothing is spelled, in small letters, without blanks around it, and without the time of a date."""
_TRUE: Final = frozenset({"true", "t", "yes", "y", "on", "ja", "wahr", "1"})
_NUMBER: Final = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)
_DATE: Final = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(|[ T].*)", re.ASCII)
_MAX_COUNTED: Final = 5
"""How many conditions and comparisons of the maps of a source stream are warned of."""
_RECORDS: Final = "N records"
"""Stands for the number, which is not known until the end."""


class MisreadText:
    """Counts the records in which a stream map misreads text, by what is misread as a part of a sentence."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._noted: set[str] = set()
        self._examples: dict[str, str] = {}
        """Of each condition, the first text that it misread."""

    def begin(self) -> None:
        """Forget what was noted of a record that does not count."""
        self._noted.clear()

    def count(self) -> None:
        """Count what was noted of a record."""
        for what in self._noted:
            if what in self._counts or len(self._counts) < _MAX_COUNTED:
                self._counts[what] += 1
        self._noted.clear()

    def true(self, node: ast.AST, value: str) -> None:
        """Note a condition whose value is text that says false."""
        shown = shown_part(node)
        example = self._examples.setdefault(shown, repr(value.strip()))
        part = shown if isinstance(node, ast.Name | ast.Call | ast.Subscript | ast.Attribute) else f"({shown})"
        advice = f"(str({part} or '').strip().lower().strip('0.') not in {_FALSE})"
        what = f"takes text for true that says the opposite: `{shown}` is {example} or the like in {_RECORDS}. "
        self._noted.add(f"{what}Write `{advice}`.")

    def unequal(self, node: ast.Compare, part: ast.AST, text: str, other: object) -> None:
        """Note that text, the value of a part, is compared with what it never equals."""
        shown = shown_part(node)
        if isinstance(part, ast.Constant):
            advice = "take the quotes off"
        elif type(other) is bool:
            example = self._examples.setdefault(shown, repr(text.strip()))
            advice = f"compare it with the text that it holds, such as {example}"
        else:
            advice = f"read it as a number, `float({shown_part(part)})`"
        what = f"compares text with a number or a boolean, which it never equals: `{shown}`, in {_RECORDS}. "
        self._noted.add(f"{what}If it is meant to, {advice}.")

    def nothing(self, node: ast.Compare, operation: ast.cmpop, part: ast.AST, spelled: str) -> None:
        """Note that a part whose value is nothing, `spelled` so, is compared with nothing in another spelling."""
        shown = shown_part(node)
        example = self._examples.setdefault(shown, spelled)
        among = "not in" if isinstance(operation, ast.NotEq | ast.IsNot | ast.NotIn) else "in"
        advice = f"(str({shown_part(part)}).strip().lower()[:{len(_NOTHING[-1])}] {among} {_NOTHING})"
        what = f"compares one spelling of nothing with another, which it never equals: `{shown}`, "
        self._noted.add(f"{what}of {example} or the like, in {_RECORDS}. If it is meant to, write `{advice}`.")

    def order(self, node: ast.Compare, part: ast.AST, meant: tuple[object, object]) -> None:
        """Note that texts are ordered otherwise than what they spell, which is `meant`."""
        shown, asked = shown_part(node), shown_part(part)
        if isinstance(meant[0], Decimal):
            spelled, advice = "numbers", f"float({asked})"
        else:
            spelled, advice = "dates", f"datetime.datetime.strptime({asked}.split()[0], '%d.%m.%Y')"
        what = f"orders {spelled} as text, which puts them otherwise: `{shown}`, in {_RECORDS}. "
        self._noted.add(f"{what}Read both as {spelled}, `{advice}`.")

    def letters(self, part: ast.AST) -> None:
        """Note that objects are made of the letters of text."""
        shown = shown_part(part)
        what = f"makes an object of each letter of text: `{shown}`, in {_RECORDS}. "
        self._noted.add(f"{what}`json.loads({shown})` reads JSON, `{shown}.split(',')` splits text at commas.")


def misread_text(source_stream: str, counts: Counter[str]) -> Iterator[str]:
    """Yield a warning for each condition or comparison that misread text: what, in how many records, what to do."""
    for what, count in counts.items():
        yield f"The stream map of {shorten(source_stream)} {what.replace(_RECORDS, counted(count, 'record'))}"


def says_false(text: str) -> bool:
    """Tell whether text says false, as `no` does, and is true to Python."""
    return text != "" and text.strip().lower().strip("0.") in _FALSE


def never_equal(left: Any, right: Any) -> bool:
    """Tell whether one is text that spells a number or a boolean, and the other is one, or an array of those."""
    if isinstance(right, list | tuple | set):
        return not any(type(each) is str for each in right) and any(never_equal(left, each) for each in right)
    return _spells(left, right) or _spells(right, left)


def is_other_nothing(value: Any, others: Collection[Any]) -> bool:
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
    return repr(value.strip()[: len(_NOTHING[-1])] if isinstance(value, str) else value)


def _is_nothing(value: Any) -> bool:
    return _short(value) in _NOTHING if type(value) is str else value in (None, [], {})


def _short(text: str) -> str:
    return text.strip().lower()[: len(_NOTHING[-1])]


def numbers_or_dates(one: str, other: str) -> tuple[Any, Any] | None:
    """Return what two texts spell whose order may be another than that of the texts, if both do."""
    one, other = one.strip(), other.strip()
    if _NUMBER.fullmatch(one) and _NUMBER.fullmatch(other):
        return Decimal(one), Decimal(other)
    if (first := _DATE.fullmatch(one)) and (second := _DATE.fullmatch(other)):
        return _date(*first.groups()), _date(*second.groups())
    return None


def _date(day: str, month: str, year: str, rest: str) -> tuple[int, int, int, str]:
    return int(year), int(month), int(day), rest


def _spells(text: Any, value: Any) -> bool:
    if type(text) is not str:
        return False
    if type(value) is bool:
        return text.strip().lower() in _TRUE or says_false(text)
    return isinstance(value, int | float | Decimal) and _NUMBER.fullmatch(text.strip()) is not None
