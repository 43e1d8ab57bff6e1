"""What Klar accepts: the objects of each stream, and what is wrong with one that it refuses.

Written from Klar's pages alone. Nothing here is shared with the target's own contract, so that each of the two shows
where the other misreads Klar.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING

from target_klar.sandbox import shapes
from target_klar.sandbox.json_body import read_json
from target_klar.sandbox.shapes import PERSONAL, Json, ListOf, Shape

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from target_klar.sandbox.shapes import Rule

MAX_OBJECTS = 1000
"""How many objects one request may carry (Klar's Refunds and Transaction Costs pages)."""


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


@dataclass(frozen=True)
class Stream:
    """One kind of object that Klar takes."""

    name: str
    """As the target calls it."""
    segment: str
    """As Klar's paths call it."""
    key: str
    """The field whose value decides whether an object is new or overwrites one."""
    shape: Shape
    _: KW_ONLY
    enveloped: bool = False
    """Whether the array is in `{"items": ...}` (for transaction costs our reading, undocumented), or is the body."""
    says_valid: bool = False
    """Whether a load that was taken is answered with `VALID`, or with an empty body (Klar's pages)."""
    valid_status: int | None = None
    """The HTTP status of a validation that finds nothing wrong; None where there is no such endpoint (Klar's pages)."""

    def at(self, version: str) -> Stream:
        """Returns the stream as a version of its endpoint, MM.YYYY, knows it."""
        return replace(self, shape=self.shape.at(version))

    def identity(self, sent: Json) -> str:
        """Returns what an object overwrites: the one of the same key (that of COGS is our reading)."""
        also = [f"{name}={sent[name]}" for name in self.shape.one_of if name in sent]
        return " ".join([str(sent[self.key]), *also])

    def batch(self, body: bytes) -> list[Json]:
        """Returns the objects that a body carries, or raises `ValueError` with what is wrong with it."""
        sent = read_json(body)
        if self.enveloped:
            if not (isinstance(sent, dict) and sent.keys() == {"items"}):
                raise ValueError('the body must be an object that holds "items" and nothing else')
            sent = sent["items"]
        if not (isinstance(sent, list) and 1 <= len(sent) <= MAX_OBJECTS):
            raise ValueError(f"{'items' if self.enveloped else 'the body'} must be an array of 1 to {MAX_OBJECTS}")
        return sent

    def violations(self, objects: list[Json], extra_fields: AbstractSet[str]) -> Iterator[Violation]:
        """Yields every rule that any of the objects breaks."""
        for index, sent in enumerate(objects):
            yield from _check(index, (), sent, self.shape, extra_fields)


def without_personal(sent: Json) -> Json:
    """Returns an object with personal data told and not shown."""
    return {name: "(personal data)" if name in PERSONAL else held for name, held in sent.items()}


def _check(
    index: int, path: tuple[str | int, ...], sent: Json, shape: Shape, extra: AbstractSet[str]
) -> Iterator[Violation]:
    if not isinstance(sent, dict):
        name = str(path[-1]) if path else str(index)
        yield Violation(index, path, sent, sent, "isObject", f"{name} must be an object")
        return
    for name, rule in shape.fields.items():
        if name in sent or name in shape.required:
            yield from _check_value(index, (*path, name), sent, sent.get(name), rule, extra)
    if shape.one_of and not any(name in sent for name in shape.one_of):
        name = shape.one_of[0]
        yield Violation(index, (*path, name), sent, None, "isDefined", f"{' or '.join(shape.one_of)} should be defined")
    for name in [name for name in sent if name not in shape.fields and name not in extra]:
        message = f"property {name} should not exist"
        yield Violation(index, (*path, name), sent, sent[name], "whitelistValidation", message)


def _check_value(  # where it stands, what it is, what it should be
    index: int, path: tuple[str | int, ...], target: Json, value: Json, rule: Rule, extra: AbstractSet[str]
) -> Iterator[Violation]:
    if isinstance(rule, Shape):
        yield from _check(index, path, value, rule, extra)
    elif isinstance(rule, ListOf) and isinstance(value, list):
        for place, item in enumerate(value):
            yield from _check_value(index, (*path, place), target, item, rule.item, extra)
    else:
        broken = ("isArray", "must be an array") if isinstance(rule, ListOf) else rule(value)
        if broken is not None:
            yield Violation(index, path, target, value, broken[0], f"{path[-1]} {broken[1]}")


REFUNDS = Stream("refunds", "refunds", "id", shapes.REFUND, valid_status=200)
TRANSACTION_COSTS = Stream(
    "transaction_costs", "transaction-costs", "orderId", shapes.TRANSACTION_COSTS, enveloped=True, says_valid=True
)
LOGISTICS_COSTS = Stream(
    "logistics_costs", "logistics-costs", "orderId", shapes.LOGISTICS_COSTS, enveloped=True, valid_status=202
)
COGS = Stream("cogs", "cogs", "orderId", shapes.COGS, enveloped=True, valid_status=202)
ORDERS = Stream("orders", "orders", "id", shapes.ORDER, says_valid=True, valid_status=201)
STREAMS = {stream.name: stream for stream in (REFUNDS, TRANSACTION_COSTS, LOGISTICS_COSTS, COGS, ORDERS)}
