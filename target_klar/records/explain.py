"""Why Klar would not take a record, in words: where, what was expected, what was found.

jsonschema finds the places, this module has the words. A value is shown shortened and on one line; of an object, an
array, and of text that is JSON or stands where one of them should, only the size: it may hold a whole customer.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jsonschema import Draft202012Validator, TypeChecker
from jsonschema.validators import create

from target_klar.contract.streams import UNIX_SECONDS, is_time
from target_klar.records.exact import Unheld
from target_klar.records.times import moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from jsonschema.exceptions import ValidationError

_MOST_PROBLEMS: Final = 20
_MOST_CHARACTERS: Final = 40
_MOST_BITS: Final = 14_000  # about 4,200 digits: Python writes no longer integers
_EARLIEST: Final[int] = UNIX_SECONDS["minimum"]
_LATEST: Final[int] = UNIX_SECONDS["maximum"]
_DIGITS: Final = re.compile(r"\s*(\d+)(?:\.\d*)?\s*", re.ASCII)
_JSON_OF_MANY: Final = ("[", "{", '"')  # text in quotes may be JSON once more
_EXPECTED: Final = {
    "object": "must be an object",
    "array": "must be an array",
    "string": "must be text",
    "number": "must be a number",
}


class Problem(NamedTuple):
    """One thing that is wrong with a record: the field as a path, and what is wrong there."""

    path: str
    message: str

    def __str__(self) -> str:
        # Klar's own words begin with the field's name, which is the end of the path.
        return f"{self.path} {self.message.removeprefix(self.path.rpartition('.')[2] + ' ')}".lstrip()


@dataclass(frozen=True)
class Ambiguous:
    """Stands in a record where two spellings of a field hold different values. Meets no contract."""

    spellings: tuple[str, str]

    @property
    def told(self) -> str:
        """What it is, in words."""
        return "different values in {} and {}".format(*map(shorten, self.spellings))


def shorten(text: str, limit: int = _MOST_CHARACTERS) -> str:
    """Return the beginning of a text, on one line and without control characters."""
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text[: limit + 1]
    )
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


def found(value: object, *, of_many: bool = False) -> str:
    """Say what a value is, and show the beginning of it unless it holds others, as text does `of_many`."""
    match value:
        case None:
            shown = "null"
        case bool():
            shown = f"boolean {str(value).lower()}"
        case int() if value.bit_length() > _MOST_BITS:
            shown = "a number of thousands of digits"
        case int() | float() | Decimal():
            shown = f"number {shorten(str(value))}"
        case str():
            shown = _found_text(value, of_many=of_many)
        case Ambiguous() | Unheld():
            shown = value.told
        case dict():
            shown = f"an object with {len(value)} field{'s' * (len(value) != 1)}"
        case list() | tuple():
            shown = f"an array of {len(value)}"
        case date():
            shown = f"{'date and time' if isinstance(value, datetime) else 'date'} {value}"
        case _:
            shown = f"a Python {shorten(type(value).__name__)}"
    return shown


def _found_text(text: str, *, of_many: bool) -> str:
    broken = "" if _is_text(None, text) else " with a broken character"
    is_json = text.lstrip().startswith(_JSON_OF_MANY)
    if is_json or of_many:
        size = f"{len(text):,} character{'s' * (len(text) != 1)}"
        return f"text{broken} of {size}{' that looks like JSON' * is_json}"
    return f'text{broken} "{shorten(text)}"'


def _is_number(_: object, value: object) -> bool:
    """Numbers that JSON has, so neither booleans nor NaN: as jsonschema-rs has it."""
    if type(value) is int:
        return value.bit_length() <= _MOST_BITS
    return (type(value) is float and math.isfinite(value)) or (type(value) is Decimal and value.is_finite())


def _is_text(_: object, value: object) -> bool:
    """Text that UTF-8 has, so no lone surrogates."""
    if type(value) is not str:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_array(_: object, value: object) -> bool:
    """Arrays as stream maps make them, too: a tuple is written as one."""
    return type(value) in (list, tuple)


_TYPES: Final[TypeChecker] = Draft202012Validator.TYPE_CHECKER.redefine_many(
    {"number": _is_number, "string": _is_text, "array": _is_array}
)
Validator: Final = create(
    meta_schema=Draft202012Validator.META_SCHEMA,
    validators=Draft202012Validator.VALIDATORS,
    type_checker=_TYPES,
)


def explain(schema: dict[str, Any], record: object) -> list[Problem]:
    """Return what keeps the record from meeting the schema, one problem a field and 20 at the most."""
    problems: dict[str, Problem] = {}
    try:
        for error in Validator(schema).iter_errors(record):
            for problem in _problems(error):
                problems.setdefault(problem.path, problem)
            if len(problems) >= _MOST_PROBLEMS:
                break
    except (ValueError, RecursionError):
        # An integer of 5,000 digits, which jsonschema cannot show, or nesting deeper than it can go.
        return [Problem("record", "holds a value that JSON cannot express")]
    return list(problems.values())[:_MOST_PROBLEMS]


def _problems(error: ValidationError) -> Iterator[Problem]:
    schema: Any = error.schema
    value: Any = error.instance
    place = list(error.absolute_path)
    if error.validator == "required":
        for name in schema["required"]:
            if name not in value:
                yield Problem(_path([*place, name]), "is required")
    elif error.validator == "additionalProperties":
        for name in value:
            if name not in schema["properties"]:
                yield Problem(_path([*place, name]), "is no field that Klar knows")
    elif error.validator == "propertyNames" or "propertyNames" in error.relative_schema_path:
        yield Problem(_path(place), "has a field whose name is not text")
    else:
        told = found(value, of_many=schema.get("type") in ("array", "object"))
        yield Problem(_path(place), f"{_expected(schema)} (found {told}{_hint(schema, value)})")


def _path(parts: Iterable[object]) -> str:
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{shorten(str(part))}"
    return path.removeprefix(".") or "record"


def _expected(schema: Mapping[str, Any]) -> str:
    if is_time(schema):
        also = ", or true or false" if "boolean" in schema["type"] else ""
        return f"must be a time, as Unix seconds or as a date{also}"
    expected = _EXPECTED.get(str(schema.get("type")), "must be something that JSON can express")
    return f"{expected} that is not empty" if schema.get("minLength") else expected


def _hint(schema: Mapping[str, Any], value: object) -> str:
    """Say what a value that is no time looks like instead, where that is plain to see."""
    if not is_time(schema):
        return ""
    if isinstance(value, str) and (digits := _DIGITS.fullmatch(value)):
        value = Decimal(digits[1])
    if isinstance(value, int | float | Decimal) and _is_number(None, value):
        if value > _LATEST:
            return ", which looks like milliseconds, not seconds"
        return ", which looks like a date, not seconds" if 1 <= value < _EARLIEST else ""
    if moment(value) is None:
        return ""
    first, last = (datetime.fromtimestamp(bound, timezone.utc).year for bound in (_EARLIEST, _LATEST))
    return f", which is not between {first} and {last}"
