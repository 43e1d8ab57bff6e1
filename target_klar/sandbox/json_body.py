"""JSON as it comes in: every number keeps its digits, and no body is too odd to be answered."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

    from target_klar.sandbox.shapes import Json

MAX_DEPTH = 100
"""How many levels a body may be nested: Klar's objects have six, and Python's own stack ends at some hundreds."""

_MAX_DIGITS = 4000
"""A longer integer is a `Decimal`: Python reads and writes an `int` of up to 4,300 digits."""


class Number(Decimal):
    """A number that is written as it came: `1e3`, `1E+3` and `1000.` are one value, and each is its own text."""

    written: str

    def __new__(cls, written: str) -> Self:
        """Reads a JSON number; one whose exponent has 20 digits is 0 or infinite, as JavaScript reads it."""
        try:
            number = super().__new__(cls, written)
        except InvalidOperation:
            digits, _, exponent = written.lower().partition("e")
            vanishes = exponent.startswith("-") or not digits.strip("-0.")
            number = super().__new__(cls, 0 if vanishes else "Infinity")
        number.written = written
        return number

    def __str__(self) -> str:
        return self.written


def read_json(body: bytes) -> Json:
    """Return what a body says, or raise `ValueError` with what is wrong with it."""
    try:
        value = json.loads(body, parse_int=_integer, parse_float=Number, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body is not JSON: {error}") from None
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in _held(outer)]
        if not level:
            return value
    raise ValueError(f"the body is nested more than {MAX_DEPTH} levels deep")


def _held(outer: dict[str, Json] | list[Json]) -> list[Json]:
    return list(outer.values()) if isinstance(outer, dict) else outer


def _integer(written: str) -> int | Decimal:
    return Number(written) if written == "-0" or len(written) > _MAX_DIGITS else int(written)


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not a JSON number")
