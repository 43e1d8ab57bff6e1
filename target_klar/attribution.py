"""Which of the objects sent a refusal of Klar's means, in every style that its pages show.

Transaction costs come as `errors[]` whose `key` opens with the index of the object (Klar's Transaction Costs page):
that is certain. Refunds come as a tree of class-validator nodes whose `target` is the object that the property
belongs to, the refund or one of its line items (Klar's Refunds page; the meaning of `target` is our reading), and
some endpoints name ids alone (Klar's Magento module): those are hints, since a refund and a line item can look alike.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from target_klar.explain import Problem, found

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_INDEX = re.compile(r"(\d+)(?:\.(.*))?$", re.DOTALL)
_FAILED_IDS = re.compile(r"failed\w*Ids$")


class Blame(NamedTuple):
    """Who is meant, by index into the objects sent: for certain, and by a hint that names exactly one of them."""

    certain: dict[int, list[Problem]]
    hinted: dict[int, list[Problem]]
    unknown: list[Problem]
    """What Klar said without naming an object that was sent."""


class _Fault(NamedTuple):
    problem: Problem
    position: int | None = None
    target: Any = None
    name: Any = None


def blame(content: Any, sent: Sequence[Mapping[str, Any]], key: str) -> Blame:
    """Read a refusal: `content` is Klar's JSON, or the start of the text where it was none."""
    result = Blame({}, {}, [])
    objects = [(index, part) for index, whole in enumerate(sent) for part in _objects(whole)]
    for fault in _faults(content):
        if fault.position is not None and fault.position < len(sent):
            result.certain.setdefault(fault.position, []).append(fault.problem)
        elif (meant := _meant(fault, objects, key)) is not None:
            result.hinted.setdefault(meant, []).append(fault.problem)
        else:
            result.unknown.append(fault.problem)
    if isinstance(content, str):
        result.unknown.append(Problem("", content))
    return result


def _meant(fault: _Fault, objects: list[tuple[int, Mapping[str, Any]]], key: str) -> int | None:
    """Find the one object that a target or an id names; None where none or several could be meant."""
    same = [index for index, part in objects if part == fault.target]
    if not same:
        name = fault.target.get(key) if isinstance(fault.target, dict) else fault.name
        same = [
            index for index, part in objects if name is not None and str(part.get(key, part.get("id"))) == str(name)
        ]
    return same[0] if len(same) == 1 else None


def _objects(whole: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield an object that was sent and the objects in its lists."""
    yield whole
    for value in whole.values():
        if isinstance(value, list):
            yield from (part for part in value if isinstance(part, dict))


def _faults(node: Any, path: str = "", target: Any = None) -> Iterator[_Fault]:
    if isinstance(node, list):
        for item in node:
            yield from _faults(item, path, target)
    if not isinstance(node, dict):
        return
    target = node.get("target", target)
    path = _joined(path, node.get("property"))
    constraints = node.get("constraints")
    if isinstance(constraints, dict):
        for message in constraints.values():
            yield _Fault(Problem(path, _worded(message, node)), target=target)
    elif "message" in node and ("key" in node or "id" in node):
        match = _INDEX.match(str(node.get("key", "")))
        where = (match[2] or "") if match else str(node.get("key", ""))
        yield _Fault(
            Problem(where, _worded(node["message"], node)),
            position=int(match[1]) if match else None,
            name=node.get("id"),
        )
    for name, value in node.items():
        if name in ("errors", "children"):
            yield from _faults(value, path, target)
        elif _FAILED_IDS.match(name) and isinstance(value, list):
            for failed in value:
                yield _Fault(Problem("", "Klar named it among those that failed"), name=failed)


def _worded(message: object, node: Mapping[str, Any]) -> str:
    if "value" not in node:
        return str(message)
    return f"{message} (found {found(node['value'])})"


def _joined(path: str, name: object) -> str:
    if name is None:
        return path
    if str(name).isdigit():
        return f"{path}[{name}]" if path else ""
    return f"{path}.{name}" if path else str(name)
