"""Why Klar would not take a record: where, what was expected, what is there.

jsonschema finds the places, this module has the words. It is imported with the first rejection, since it takes long.
"""

from __future__ import annotations

import math
import operator
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from jsonschema import Draft202012Validator, TypeChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import create

from target_klar.contract.schema import LARGEST_NUMBER, UNIX_SECONDS, is_time
from target_klar.records.formatting import (
    MAX_BITS,
    Problem,
    Unusable,
    Unwritable,
    describe,
    is_text,
    shorten,
)
from target_klar.records.times import parse_time
from target_klar.records.values import LARGEST_EXACT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from target_klar.contract.schema import Node

_MAX_PROBLEMS: Final = 20
_EARLIEST: Final[int] = UNIX_SECONDS["minimum"]
_LATEST: Final[int] = UNIX_SECONDS["maximum"]
_DIGITS: Final = re.compile(r"\s*(\d+)(?:\.\d*)?\s*", re.ASCII)
_EXPECTED: Final = {
    "object": "must be an object",
    "array": "must be an array",
    "string": "must be text",
    "number": "must be a number",
    "boolean": "must be true or false",
}


def _is_number(_: object, value: object) -> bool:
    """Numbers that JSON has, so neither booleans nor NaN."""
    if type(value) is int:
        return value.bit_length() <= MAX_BITS
    return (type(value) is float and math.isfinite(value)) or (type(value) is Decimal and value.is_finite())


def _is_text(_: object, value: object) -> bool:
    return type(value) is str and is_text(value)


def _is_array(_: object, value: object) -> bool:
    """Arrays as stream maps make them, too: a tuple is written as one."""
    return type(value) in (list, tuple)


def _bounded(fits: Callable[[float, float], bool]) -> Callable[..., Iterator[ValidationError]]:
    """Return a rule of jsonschema that compares numbers as Klar reads them: as doubles."""

    def rule(_: object, bound: float, value: Any, __: object) -> Iterator[ValidationError]:
        if _is_number(None, value):
            try:
                double = float(value)
            except OverflowError:
                double = math.inf if value > 0 else -math.inf
            if not fits(double, bound):
                yield ValidationError("out of bounds")

    return rule


_TYPES: Final[TypeChecker] = Draft202012Validator.TYPE_CHECKER.redefine_many(
    {"number": _is_number, "string": _is_text, "array": _is_array}
)
Validator: Final = create(
    meta_schema=Draft202012Validator.META_SCHEMA,
    validators={
        **Draft202012Validator.VALIDATORS,
        "minimum": _bounded(operator.ge),
        "maximum": _bounded(operator.le),
    },
    type_checker=_TYPES,
)


def explain(schema: Node, record: object) -> list[Problem]:
    """Return what keeps the record from meeting the schema, one problem a field and 20 at the most."""
    problems: dict[str, Problem] = {}
    try:
        for error in Validator(schema).iter_errors(_unwrapped(record)):
            for problem in _problems(error, schema):
                problems.setdefault(problem.path, problem)
            if len(problems) >= _MAX_PROBLEMS:
                break
    except (ValueError, RecursionError):
        # An integer of 5,000 digits, which jsonschema cannot show, or nesting deeper than it can go.
        return [Problem("record", "holds a value that JSON cannot express")]
    return list(problems.values())[:_MAX_PROBLEMS]


def _unwrapped(record: object) -> object:
    """Return a converted record with the values that JSON does not have, each in its place."""
    match record:
        case Unusable():
            return record  # which meets no schema, not even where one takes anything
        case Unwritable():
            return record.value
        case dict():
            return {name: _unwrapped(value) for name, value in record.items()}
        case list():
            return list(map(_unwrapped, record))
    return record


def _problems(error: ValidationError, root: Node) -> Iterator[Problem]:
    schema: Any = error.schema
    value: Any = error.instance
    place = list(error.absolute_path)
    match error.validator:
        case "required":
            for name in schema["required"]:
                if name not in value:
                    yield Problem(_path([*place, name]), "is required")
        case "anyOf":
            names = " or ".join(name for each in schema["anyOf"] for name in each["required"])
            yield Problem(_path([*place, names]), "is required")
        case "additionalProperties":
            for name in value:
                if name not in schema["properties"]:
                    yield Problem(_path([*place, name]), "is not a field that Klar knows")
        case "not" if "enum" not in schema["not"]:
            yield Problem(_path(place), schema["description"], schema["advice"])
        case _ if "propertyNames" in error.absolute_schema_path:
            yield Problem(_path(place), "has a field whose name is not text")
        case _:
            yield Problem(_path(place), *_mismatch(error, root))


def _mismatch(error: ValidationError, root: Node) -> tuple[str, str]:
    """Say what was expected and what is there, and what the data quality rule that wants it advises, if one does."""
    schema: Any = error.schema
    value: Any = error.instance
    name, advice = "", value.advice if isinstance(value, Unusable) else ""
    if isinstance(value, Unusable) and value.node:
        schema, value = value.node, value.value
    rule = schema.get("rule")
    if rule and error.validator in rule["limits"]:
        name, advice = f" [{rule['name']}]", rule["advice"]
    elif rule:
        schema = rule["without"]
    if error.validator == "not":
        return f'must not be "{value}"{name}', advice
    return f"{_expected(schema)}{name} (found {_describe(error, root)}{_hint(schema, value)})", advice


def _describe(error: ValidationError, root: Node) -> str:
    """Describe the value, of personal data no more than the kind and the length."""
    value: Any = error.instance
    personal = _is_personal(error, root)
    if personal and isinstance(value, int | float | Decimal | date):
        return "a value that is not shown"
    schema: Any = error.schema
    return describe(value, of_many=personal or schema.get("type") in ("array", "object"))


def _is_personal(error: ValidationError, root: Node) -> bool:
    """Tell whether a node on the way to the error is one of personal data."""
    node: Any = root
    for step in error.absolute_schema_path:
        if isinstance(node, dict) and (node.get("personal") or step not in node):  # else it leads on by a reference
            break
        node = node[step]
    return isinstance(node, dict) and bool(node.get("personal"))


def _path(parts: Iterable[object]) -> str:
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{shorten(str(part))}"
    return path.removeprefix(".") or "record"


def _expected(schema: Mapping[str, Any]) -> str:
    if is_time(schema):
        also = ", or true or false" if "boolean" in schema["type"] else ""
        return f"must be a time, as Unix seconds or as a date{also}"
    if schema.get("minimum") == 0:
        return "must be a number, 0 or more"
    expected = _EXPECTED.get(str(schema.get("type")), "must be something that JSON can express")
    return f"{expected} that is not empty" if schema.get("minLength") else expected


def _hint(schema: Mapping[str, Any], value: Any) -> str:
    """Say what a value that is not a time, or not an id, looks like instead, if that is clear."""
    is_float = _is_number(None, value) and not isinstance(value, int)  # written with an exponent or a fraction
    if schema.get("type") == "string" and is_float and LARGEST_EXACT < abs(value) <= LARGEST_NUMBER:
        return ", which went through a float, so that it may be another id now"
    if not is_time(schema):
        return ""
    if isinstance(value, str) and (digits := _DIGITS.fullmatch(value)):
        value = Decimal(digits[1])
    if isinstance(value, int | float | Decimal) and _is_number(None, value):
        if value > _LATEST:
            return ", which looks like milliseconds, not seconds"
        return ", which is too small for Unix seconds: a date, perhaps" if 1 <= value < _EARLIEST else ""
    if parse_time(value) is None:
        return ""
    first, last = (datetime.fromtimestamp(bound, UTC).year for bound in (_EARLIEST, _LATEST))
    return f", which is not between {first} and {last}"
