"""What Klar answers: bodies as its pages show them, and refusals in each style that it is known to use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from target_klar.sandbox.objects import Stream, Violation
    from target_klar.sandbox.shapes import Json

MAX_REFUSAL = 16 * 1024 * 1024
"""A refusal names no more violations once it is longer than so many characters (our reading, undocumented)."""

JSON_TYPE = "application/json; charset=utf-8"

Style = Literal["index", "tree", "tree-item", "ids", "failed-ids", "opaque", "207"]
"""How a refusal is written.

- `index`: a flat `errors` whose `key` opens with the object's index (Klar's Transaction Costs page).
- `tree`: the nested tree of class-validator, refund outermost (Klar's Refunds page).
- `tree-item`: the same with the outer levels elided, as that page prints it, so that the outermost `target`
  may be a line item (our reading).
- `ids`: a flat `errors` that names ids and no index (our reading).
- `failed-ids`: `failedOrderIds` and no reason (Klar's Magento module).
- `opaque`: the message "Bad Request".
- `207`: the other objects are stored, the failed ids named (Klar's Magento module, there for orders).
"""
STYLES: tuple[Style, ...] = get_args(Style)


@dataclass(frozen=True)
class Answer:
    """A status, a body and the headers beyond the usual ones."""

    status: int
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def phrase(self) -> str:
        """The words that HTTP has for the status."""
        return HTTPStatus(self.status).phrase

    @property
    def takes(self) -> bool:
        """Whether it says that a load was taken, at least in part."""
        return self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def is_partial(self) -> bool:
        """Whether it says that a load was taken in part."""
        return self.status == HTTPStatus.MULTI_STATUS


def json_text(value: Json) -> str:
    """Writes a JSON value with every number digit for digit as it came in."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)}: {json_text(held)}" for name, held in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(json_text, value)) + "]"
    return json.dumps(value)


def json_answer(status: int, value: Json) -> Answer:
    """Returns an answer whose body is this value as JSON."""
    return Answer(status, json_text(value).encode())


def failure(status: int, message: str | None = None) -> Answer:
    """Returns an answer that is not about records, in a form common beside class-validator (our reading)."""
    return json_answer(status, {"statusCode": status, "message": message or HTTPStatus(status).phrase})


def acceptance(stream: Stream) -> Answer:
    """Returns what Klar says of a load that it took: `VALID`, or nothing (Klar's pages)."""
    return json_answer(201, {"status": "VALID"}) if stream.says_valid else Answer(201)


def key_of(stream: Stream, sent: Json) -> Json:
    """Returns the value of an object's key field, whatever it is, or None."""
    return sent.get(stream.key) if isinstance(sent, dict) else None


def partial(stream: Stream, objects: Sequence[Json], failed: set[int]) -> Answer:
    """Returns the answer that takes all but some objects and names both by id (Klar's Magento module)."""
    ids = [key_of(stream, sent) for sent in objects]
    return json_answer(
        207 if len(failed) < len(objects) else 400,
        {
            "status": "PARTIALLY_VALID" if len(failed) < len(objects) else "INVALID",
            "failedOrderIds": [name for index, name in enumerate(ids) if index in failed],
            "successfulOrderIds": [name for index, name in enumerate(ids) if index not in failed],
        },
    )


def fewer(stream: Stream, objects: Sequence[Json]) -> Answer:
    """Returns an acceptance whose list of ids leaves out the first object (no page shows one)."""
    names = [key_of(stream, sent) for sent in objects[1:]]
    return json_answer(201, {"status": "VALID", "successfulOrderIds": names or ["another"]})


def refusal(stream: Stream, objects: Sequence[Json], violations: Sequence[Violation], style: Style | None) -> Answer:
    """Returns the answer that refuses a batch, by default in the style of the stream's own page."""
    style = style or ("tree" if stream.name == "refunds" else "index")
    failed = sorted({violation.index for violation in violations})
    if style == "opaque":
        return failure(400)
    if style == "207":
        return partial(stream, objects, set(failed))
    if style == "tree":
        return Answer(400, _array(_branch(objects[violation.index], violation) for violation in violations).encode())
    if style == "tree-item":
        return Answer(400, _array({"children": [_leaf(violation)]} for violation in violations).encode())
    if style == "failed-ids":
        ids = [key_of(stream, objects[index]) for index in failed]
        return json_answer(400, {"status": "INVALID", "failedOrderIds": ids})
    errors = _array(_flat(stream, objects, violation, with_index=style == "index") for violation in violations)
    return Answer(400, f'{{"status": "INVALID", "errors": {errors}}}'.encode())


def _array(values: Iterable[Json]) -> str:
    """Writes as many values as an answer may have; each repeats what was sent, so all could fill the memory."""
    written, length = [], 0
    for value in values:
        written.append(json_text(value))
        length += len(written[-1])
        if length > MAX_REFUSAL:
            break
    return f"[{', '.join(written)}]"


def _flat(stream: Stream, objects: Sequence[Json], violation: Violation, *, with_index: bool) -> dict[str, Json]:
    where = {"key": ".".join(map(str, (violation.index, *violation.path)))} if with_index else {}
    return {
        "id": key_of(stream, objects[violation.index]),
        **where,
        "message": violation.message,
        "value": violation.value,
    }


def _leaf(violation: Violation) -> dict[str, Json]:
    return {
        "target": violation.target,
        "value": violation.value,
        "property": str(violation.path[-1]) if violation.path else str(violation.index),
        "children": [],
        "constraints": {violation.rule: violation.message},
    }


def _branch(sent: Json, violation: Violation) -> dict[str, Json]:
    """Wraps a violation in one node per level above it, as class-validator nests them."""
    node = _leaf(violation)
    above, value = [], sent
    for step in violation.path[:-1]:
        above.append((value, step))
        value = value[step]
    for target, step in reversed(above):
        node = {"target": target, "value": target[step], "property": str(step), "children": [node]}
    return node
