"""Words for what is in a record: shortened, on one line, and nothing that may be a customer.

Text is shown only if it holds a digit and no `@`. Of any other text, of an object, an array, and of text that is JSON
or stands where one of them should, only the size is.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from target_klar.records.json_codec import UnrepresentableNumber

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MAX_CHARACTERS: Final = 40
_CONTEXT: Final = 12
MAX_BITS: Final = 14_000
"""Of integers, about 4,200 digits: Python writes no longer ones."""
_MAX_REASONS: Final = 1000
_MAX_LISTED: Final = 12
_ITEM: Final = re.compile(r"\[\d+\]")
_JSON_STARTS: Final = ("[", "{", '"')  # text in quotes may be JSON once more


class Problem(NamedTuple):
    """One thing that is wrong with a record: the field as a path, and what is wrong there."""

    path: str
    message: str
    advice: str = ""
    """What to do about it, where that does not depend on the value."""

    @property
    def text(self) -> str:
        """What is wrong, and what to do about it."""
        return f"{self.message}; {self.advice}" if self.advice else self.message

    def reason(self, *, of_klar: bool = False) -> str:
        """Return it without the value and without the numbers of items, so that it is the same for many records."""
        # Klar's words hold paths; ours an expression of the user's.
        said = _ITEM.sub("[]", str(self)) if of_klar else str(self._replace(path=_ITEM.sub("[]", self.path)))
        return said.partition(" (found ")[0]

    def __str__(self) -> str:
        # Klar's own words begin with the field's name, which is the end of the path.
        return f"{self.path} {self.text.removeprefix(self.path.rpartition('.')[2] + ' ')}".lstrip()


class Reasons(Counter[str]):
    """How often each reason came; of too many different ones only those that came first are counted."""

    def add(self, reason: str) -> bool:
        """Count a reason, and tell whether it is one of those that are counted."""
        counts = reason in self or len(self) < _MAX_REASONS
        if counts:
            self[reason] += 1
        return counts


class Unwritable:
    """Stands in a record for a value that JSON does not have, which msgspec refuses to write."""

    def __init__(self, value: object, description: str = "") -> None:
        self.value = value
        self.description = description or describe(value)


class Unusable(Unwritable):
    """Stands in a record for what is not left to Klar to judge: it meets no schema, not even one that takes anything.

    The `node` of the contract for it is given where the schema that it is checked against may have another.
    """

    def __init__(
        self, value: object, node: Mapping[str, Any] | None = None, *, description: str = "", advice: str = ""
    ) -> None:
        super().__init__(value, description)
        self.node = node
        self.advice = advice


def shorten(text: str, limit: int = _MAX_CHARACTERS) -> str:
    """Return the beginning of a text, on one line and without control characters."""
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text[: limit + 1]
    )
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


def shorten_both(one: str, other: str) -> tuple[str, str]:
    """Return two texts shortened, from a place on at which they differ if their beginnings do not."""
    shown = shorten(one), shorten(other)
    if shown[0] != shown[1] or one == other:
        return shown
    pairs = zip(one, other, strict=False)
    differ_at = next((at for at, (mine, its) in enumerate(pairs) if mine != its), min(len(one), len(other)))
    context = one[differ_at - _CONTEXT : differ_at]
    begin = differ_at - _CONTEXT if context.isprintable() else differ_at
    return f"...{shorten(one[begin:])}", f"...{shorten(other[begin:])}"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def listed(names: Iterable[str], limit: int = _MAX_LISTED) -> str:
    """Return the first of some names, with commas between them, and dots behind them if there are others."""
    first = [*islice(names, limit + 1)]
    return ", ".join(first[:limit]) + ", ..." * (len(first) > limit)


def describe(value: object, *, of_many: bool = False) -> str:
    """Say what a value is, and show the beginning of it, unless it holds others, as text does `of_many`."""
    match value:
        case None:
            shown = "null"
        case bool():
            shown = f"boolean {str(value).lower()}"
        case int() if value.bit_length() > MAX_BITS:
            shown = "a number of thousands of digits"
        case int() | float() | Decimal():
            shown = f"number {shorten(str(value))}"
        case str():
            shown = _describe_text(value, of_many=of_many)
        case Unwritable() | UnrepresentableNumber():
            shown = value.description
        case dict():
            shown = f"an object with {counted(len(value), 'field')}"
        case list() | tuple():
            shown = f"an array of {len(value)}"
        case date():
            shown = f"{'date and time' if isinstance(value, datetime) else 'date'} {value}"
        case _:
            shown = f"a Python {shorten(type(value).__name__)}"
    return shown


def describe_key(values: Mapping[str, object]) -> str:
    """Return a key of the tap's, such as `return_id R-17`; nothing if a value is one that no message shows."""
    if not all(type(value) is int or (type(value) is str and _is_shown(value)) for value in values.values()):
        return ""
    return ", ".join(f"{shorten(column)} {shorten(str(value))}" for column, value in values.items())


def _describe_text(text: str, *, of_many: bool) -> str:
    broken = "" if is_text(text) else " with a broken character"
    is_json = text.lstrip().startswith(_JSON_STARTS)
    if not of_many and _is_shown(text):
        return f'text{broken} "{shorten(text)}"'
    return (
        f"text{broken} of {counted(len(text), 'character')}{' that looks like JSON' * is_json}"
        if text
        else "empty text"
    )


def _is_shown(text: str) -> bool:
    return not text.lstrip().startswith(_JSON_STARTS) and "@" not in text and any(map(str.isdigit, text))


def is_text(text: str) -> bool:
    """Tell whether UTF-8 has it, so that there are no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
