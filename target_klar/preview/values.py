"""What a preview shows of a value: numbers, times, booleans and ids. Any other text may be about a person."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from target_klar.contract.schema import UNIX_SECONDS
from target_klar.contract.streams import CONTRACTS
from target_klar.records.convert import fold
from target_klar.records.formatting import MAX_BITS, counted, describe, listed, shorten
from target_klar.records.json_codec import read_strictly
from target_klar.records.times import parse_time
from target_klar.suggestions.words import word_set, words_of

if TYPE_CHECKING:
    from target_klar.records.formatting import Problem

_MAX_CHARACTERS: Final = 80
_MAX_ITEMS: Final = 4
_MAX_DEPTH: Final = 5
_FOUND_TEXT: Final = re.compile(r'(\(found text[^"]*) "(.*)"', re.DOTALL)
_ISO_DATE: Final = re.compile(r"(?:19|20)\d\d-", re.ASCII)
# Digits alone may be a phone number or a postal code, and with a leading zero both.
_PLAIN: Final = re.compile(
    r"true|false|-?(?:\d{1,3}|(?:0|[1-9]\d{0,8})[.,]\d{1,4})|\d{1,2}\.\d{1,2}\.(?:19|20)\d\d", re.ASCII | re.IGNORECASE
)
_ID: Final = re.compile(r"[^\s@]+")
_HAVE_NUMBERS: Final = word_set(
    "credit customer delivery document invoice item line memo note number order payment payout position product "
    "purchase refund return row sale shipment sku supplier transaction variant"
)
"""Whose number is an id; that of a phone or a house is not."""


def shown(value: object, name: str = "") -> str:
    """Return what is shown of a value of the column `name`, on one line: of most text its kind and length."""
    return shorten(_shown(value, name, _MAX_DEPTH), _MAX_CHARACTERS)


def shown_problem(problem: Problem) -> tuple[str, str, str]:
    """Return a problem without its value, the same for every record; after a comma what was found; then the advice."""
    plain = problem._replace(advice="")
    hidden = _FOUND_TEXT.sub(lambda found: found[0] if is_plain(found[2]) else found[1], str(plain))
    _, _, found = hidden.partition(" (found ")
    advice = f"; {problem.advice}" if problem.advice else ""
    return plain.reason(), f", found {found.removesuffix(')')}" if found else "", advice


def _shown(value: object, name: str, depth: int) -> str:
    held = read_strictly(value) if isinstance(value, str) and value.lstrip()[:1] in ("[", "{") else None
    match value if held is None else held:
        case str() as text:
            return _shown_text(text, name)
        case bool() as true:
            return str(true).lower()
        case int() | float() | Decimal() as number:
            return _shown_number(number, name)
        case dict() as fields if fields and depth and fold(name) not in _PERSONAL:
            members = (f"{shown_key(key)}: {_shown(fields[key], key, depth - 1)}" for key in fields)
            return f"{{{listed(members, _MAX_ITEMS)}}}"
        case list() as items if items and depth and fold(name) not in _PERSONAL:
            return f"[{listed((_shown(item, name, depth - 1) for item in items), _MAX_ITEMS)}]"
        case other:
            return str(other) if other in ([], {}) else describe(other)


def shown_key(key: str) -> str:
    """Return what is shown of the name of a member, which may be data itself."""
    return shorten(key) if _ID.fullmatch(key) else _length(key)


def _shown_number(number: float | Decimal, name: str) -> str:
    if fold(name) in _PERSONAL:
        return "a number"
    if isinstance(number, int) and number.bit_length() > MAX_BITS:
        return describe(number)
    return f"{number}{_as_date(number) if fold(name) in _TIMES else ''}"


def _shown_text(text: str, name: str) -> str:
    if fold(name) not in _PERSONAL and (is_plain(text) or (_says_id(name) and _ID.fullmatch(text))):
        return shorten(text)
    return _length(text) if text else "empty text"


def _length(text: str) -> str:
    return f"text, {counted(len(text), 'character')}"


def is_plain(text: str) -> bool:
    """Tell whether a text is a number, a time or a boolean, and nothing else."""
    return bool(_PLAIN.fullmatch(text) or (_ISO_DATE.match(text) and parse_time(text)))


def _says_id(name: str) -> bool:
    words = words_of(name)
    return words[-1:] in (("id",), ("sku",)) or (words[-1:] == ("number",) and _HAVE_NUMBERS.issuperset(words))


def _as_date(seconds: float | Decimal) -> str:
    if not UNIX_SECONDS["minimum"] <= seconds <= UNIX_SECONDS["maximum"]:
        return ""
    return f" ({datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%d %H:%M:%S} UTC)"


_PERSONAL: Final = {fold(name) for contract in CONTRACTS.values() for name in contract.personal}
_TIMES: Final = {fold(name) for contract in CONTRACTS.values() for name in contract.times}
