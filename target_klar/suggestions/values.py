"""What the values of a column say about it: forms that Klar does not read, and numbers that mean something else."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from target_klar.records.values import number
from target_klar.suggestions.words import word_set, words_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Path: TypeAlias = tuple[str, ...]
"""A column, or a member of one that holds an object."""
Values: TypeAlias = dict[Path, list[Any]]
"""The columns of some records, each with the values that it has, without those that say that there is none."""

NO_VALUES: Final[tuple[object, ...]] = (None, "", [], {})
_AMOUNT: Final = word_set("amount net gross total sum fee price cost value")
_COMMA: Final = re.compile(r"-?(?:\d+|\d{1,3}(?P<groups>(?:\.\d{3})+))(?:,(?P<decimals>\d+))?", re.ASCII)
_DOTTED: Final = re.compile(r"\d{1,2}\.\d{1,2}\.\d{4}(?P<minutes> \d{1,2}:\d\d(?P<seconds>:\d\d)?)?", re.ASCII)
_WHOLE: Final = re.compile(r"-?\d+", re.ASCII)
_GROUP: Final = 3
_MAX_DIGITS: Final = 40
_LEAST_MINOR: Final = 50
"""Where whole numbers stand alone: few fees are 50 and more in euros, and few are less in cents."""
# ISO 4217: those without a minor unit.
_WITHOUT_MINOR: Final = word_set("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF")


def values_of(records: Iterable[Mapping[str, Any]]) -> Values:
    """Return the columns of records, and the members of those that hold objects, with their values."""
    found: Values = {}
    for record in records:
        for column, value in record.items():
            held = found.setdefault((column,), [])
            if value not in NO_VALUES:
                held.append(value)
    members = [column for (column,), held in found.items() if held and all(isinstance(each, dict) for each in held)]
    for column in members:
        for each in found[column,]:
            for name, value in each.items():
                held = found.setdefault((column, name), [])
                if value not in NO_VALUES:
                    held.append(value)
    return found


def sign(value: object) -> int | None:
    """Return -1, 0 or 1 for a number, also for one in text; None for anything else."""
    read = number(value)
    return (read > 0) - (read < 0) if isinstance(read, (int, float, Decimal)) else None


def minor_units(path: Path, values: Values) -> int | None:
    """Return an amount of a column that looks as if all of it were in minor units (199 for 1.99).

    It does if its name says so; or if its amounts are whole, and so are all others beside it, or there are none and
    these are not small. Where the currency has no minor unit, whole amounts are what they are.
    """
    whole = [_whole(each) for each in values[path]]
    amounts = [each for each in whole if each]
    if None in whole or not amounts or _has_no_minor_unit(values):
        return None
    beside = [_whole(each) for other, held in values.items() if other != path and _is_amount(other) for each in held]
    alone = not any(each != 0 for each in beside)
    minor = min(map(abs, amounts)) >= _LEAST_MINOR if alone else None not in beside
    return amounts[0] if minor or "minor" in words_of(" ".join(path)) else None


def decimal_comma(values: Sequence[object]) -> tuple[str, str] | None:
    """Return a number with a decimal comma, and the end of the expression that reads all of them with all digits.

    None where they are not clearly that: `1,234` alone may be a thousand.
    """
    found = [_COMMA.fullmatch(each) if isinstance(each, str) else None for each in values]
    matches = [each for each in found if each]
    clear = next(
        (each for each in matches if each["decimals"] and (each["groups"] or len(each["decimals"]) != _GROUP)), None
    )
    if clear is None or len(matches) < len(values):
        return None
    without_groups = ".replace('.', '')" if any(each["groups"] for each in matches) else ""
    return clear[0], f"{without_groups}.replace(',', '.')"


def dotted_date(values: Sequence[object]) -> tuple[str, str] | None:
    """Return a date such as 04.05.2026, and the format that reads all of them, if there is one."""
    first = values[0] if values else None
    found = _DOTTED.fullmatch(first) if isinstance(first, str) else None
    if found is None:
        return None
    form = f"%d.%m.%Y{' %H:%M' if found['minutes'] else ''}{':%S' if found['seconds'] else ''}"
    return (found[0], form) if all(isinstance(each, str) and _reads(each, form) for each in values) else None


def _is_amount(path: Path) -> bool:
    words = words_of(" ".join(path))
    return "amount" in words or not _AMOUNT.isdisjoint(words[-1:])


def _reads(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)  # noqa: DTZ007  # only whether it can be read
    except ValueError:
        return False
    return True


def _whole(value: object) -> int | None:
    """Return a number that is written without decimals; `199.0` is how some sources write 199."""
    if isinstance(value, str) and len(value) <= _MAX_DIGITS and _WHOLE.fullmatch(value):
        return int(value)
    if isinstance(value, Decimal):
        exponent = value.as_tuple().exponent  # a letter where it is not finite
        few = isinstance(exponent, int) and exponent >= -1 and value.adjusted() < _MAX_DIGITS
        return int(value) if few and value == int(value) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _has_no_minor_unit(values: Values) -> bool:
    currencies = {
        str(each).upper() for path, held in values.items() if "currency" in words_of(" ".join(path)) for each in held
    }
    return bool(currencies) and currencies <= _WITHOUT_MINOR
