"""What Klar accepts: the objects of each stream, and what is wrong with one that it refuses.

Written from Klar's Refunds and Transaction Costs pages alone. Nothing here is shared with the target's own
contract, so that each of the two shows where the other misreads Klar.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet

Json = Any
"""A parsed JSON value; its fractional numbers are `Decimal`, so that no digit is lost."""

MOST_OBJECTS = 1000
"""How many objects one request may carry (Klar's Refunds and Transaction Costs pages)."""

LARGEST_NUMBER = Decimal("1.7976931348623157e308")
"""Klar reads numbers as JavaScript does, in which a larger one is infinite (our reading, undocumented)."""

FIRST_SECOND, LAST_SECOND = 100_000_000, 9_999_999_999
"""Times outside of these are dates written as numbers, or milliseconds (our reading, undocumented)."""


@dataclass(frozen=True)
class Violation:
    """One rule that one object breaks, and where."""

    index: int
    """Which object of the batch."""
    path: tuple[str | int, ...]
    """From that object down to the property at fault, which comes last."""
    target: Json
    """The object that the property belongs to: the refund, or one of its line items."""
    value: Json
    rule: str
    message: str


_Broken = tuple[str, str] | None
"""The rule that a value breaks, as class-validator calls it, and what it says after the field's name."""


class _Field(NamedTuple):
    broken: Callable[[Json], _Broken]
    required: bool = False


def _text(value: Json) -> _Broken:
    return None if isinstance(value, str) else ("isString", "must be a string")


def _key(value: Json) -> _Broken:
    return _text(value) or (None if value else ("isNotEmpty", "should not be empty"))


def _number(value: Json) -> _Broken:
    if isinstance(value, int | Decimal) and not isinstance(value, bool) and abs(Decimal(value)) <= LARGEST_NUMBER:
        return None
    return "isNumber", "must be a number conforming to the specified constraints"


def _time(value: Json) -> _Broken:
    if _number(value) is None and not FIRST_SECOND <= value <= LAST_SECOND:
        return "isUnixTime", "must be a Unix timestamp in seconds"
    return _number(value)


def _array(value: Json) -> _Broken:
    return None if isinstance(value, list) else ("isArray", "must be an array")


_LINE_ITEM = {
    "id": _Field(_text),
    "lineItemId": _Field(_text, required=True),
    "refundedQuantity": _Field(_number, required=True),
    "reasonDescriptor": _Field(_text),
    "createdAt": _Field(_time),
    "processedAt": _Field(_time),
}


@dataclass(frozen=True)
class Stream:
    """One kind of object that Klar takes."""

    name: str
    """As the target calls it."""
    segment: str
    """As Klar's paths call it."""
    key: str
    """The field whose value decides whether an object is new or overwrites one."""
    enveloped: bool
    """Whether the array is sent inside of `{"items": ...}` (for costs our reading, undocumented) or bare."""
    fields: dict[str, _Field]

    def batch(self, body: bytes) -> list[Json]:
        """Returns the objects that a body carries, or raises `ValueError` with what is wrong with it."""
        try:
            sent = json.loads(body, parse_float=Decimal, parse_constant=_refuse_constant)
        except (ValueError, ArithmeticError, RecursionError) as error:  # as JSON, an exponent of 20 digits, too deep
            raise ValueError(f"the body is not JSON: {error}") from None
        if self.enveloped:
            if not (isinstance(sent, dict) and sent.keys() == {"items"}):
                raise ValueError('the body must be an object that holds "items" and nothing else')
            sent = sent["items"]
        if not (isinstance(sent, list) and 1 <= len(sent) <= MOST_OBJECTS):
            raise ValueError(f"{'items' if self.enveloped else 'the body'} must be an array of 1 to {MOST_OBJECTS}")
        return sent

    def violations(self, objects: list[Json], extra_fields: AbstractSet[str]) -> Iterator[Violation]:
        """Yields every rule that any of the objects breaks."""
        for index, sent in enumerate(objects):
            yield from _check(index, (), sent, self.fields, extra_fields)
            items = sent.get("lineItems") if isinstance(sent, dict) and "lineItems" in self.fields else None
            for place, item in enumerate(items if isinstance(items, list) else ()):
                yield from _check(index, ("lineItems", place), item, _LINE_ITEM, extra_fields)


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not a JSON number")


def _check(
    index: int, path: tuple[str | int, ...], sent: Json, fields: dict[str, _Field], extra: AbstractSet[str]
) -> Iterator[Violation]:
    if not isinstance(sent, dict):
        name = str(path[-1]) if path else str(index)
        yield Violation(index, path, sent, sent, "isObject", f"{name} must be an object")
        return
    for name, field in fields.items():
        if name in sent or field.required:
            value = sent.get(name)
            broken = field.broken(value)
            if broken is not None:
                yield Violation(index, (*path, name), sent, value, broken[0], f"{name} {broken[1]}")
    for name in sent.keys() - fields.keys() - extra:
        message = f"property {name} should not exist"
        yield Violation(index, (*path, name), sent, sent[name], "whitelistValidation", message)


REFUNDS = Stream(
    name="refunds",
    segment="refunds",
    key="id",
    enveloped=False,
    fields={
        "id": _Field(_key, required=True),
        "createdAt": _Field(_time, required=True),
        "updatedAt": _Field(_time),
        "lineItems": _Field(_array, required=True),
    },
)
TRANSACTION_COSTS = Stream(
    name="transaction_costs",
    segment="transaction-costs",
    key="orderId",
    enveloped=True,
    fields={"orderId": _Field(_key, required=True), "transactionCosts": _Field(_number, required=True)},
)
STREAMS = {stream.name: stream for stream in (REFUNDS, TRANSACTION_COSTS)}
